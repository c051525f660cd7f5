"""pydantic-ai: the same; one agent for each model."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from pydantic_ai import Agent
    from pydantic_ai.durable_exec.temporal import PydanticAIWorkflow, TemporalDurability
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

_MODELS = {
    "brief": "gpt-5-mini@say-12",
    "slow": "gpt-5-mini@say-60+slow-stream-40",
    "dear": "gpt-5-mini@say-400",
    "invalid": "gpt-5-mini@say-12+invalid",
}


def _agent(name: str, model: str) -> Agent[None, str]:
    chat = OpenAIChatModel(model, provider=OpenAIProvider(api_key="unused"))
    return Agent(chat, name=name, instructions="Be brief.", capabilities=[TemporalDurability()])


AGENTS = {model: _agent(name, model) for name, model in _MODELS.items()}


@workflow.defn
class AskPydantic(PydanticAIWorkflow):
    __pydantic_ai_agents__ = tuple(AGENTS.values())

    @workflow.run
    async def run(self, model: str, times: int) -> list[str]:
        return [(await AGENTS[model].run(f"Part {number}.")).output for number in range(times)]
