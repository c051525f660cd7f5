"""OpenAI Agents: so many questions, one after another."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from agents import Agent, RunConfig, Runner


@workflow.defn
class AskOpenAI:
    @workflow.run
    async def run(self, model: str, times: int) -> list[str]:
        agent = Agent[None](name="helper", instructions="Be brief.", model=model)
        said = []
        for number in range(times):
            answer = await Runner.run(agent, f"Part {number}.", run_config=RunConfig(tracing_disabled=True))
            said.append(str(answer.final_output))
        return said
