"""pydantic-ai on Temporal, under curb: all that is new is one plugin.

curb dev                                                     # in one terminal: servers and simulated models
python examples/frameworks/pydantic_agent.py "What is a budget?"    # in another

`pip install "pydantic-ai-slim[openai,temporal]"` first. The model is a tier of curb's; the key is never used.
"""

import asyncio
import os
import sys
import uuid

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from pydantic_ai import Agent
    from pydantic_ai.durable_exec.temporal import PydanticAIPlugin, PydanticAIWorkflow, TemporalDurability
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from curb import SupervisorPlugin

model = OpenAIChatModel("balanced", provider=OpenAIProvider(api_key="curb has the keys"))
researcher = Agent(
    model, name="researcher", instructions="Answer in one sentence.", capabilities=[TemporalDurability()]
)


@workflow.defn
class ResearchWithPydantic(PydanticAIWorkflow):
    """A question, and a second look at the answer."""

    __pydantic_ai_agents__ = (researcher,)

    @workflow.run
    async def run(self, question: str) -> str:
        first = await researcher.run(question)
        return (await researcher.run(f"Improve on this: {first.output}")).output


async def main(question: str) -> None:
    client = await Client.connect(
        os.environ.get("CURB_TEMPORAL_ADDRESS", "127.0.0.1:7233"),
        plugins=[PydanticAIPlugin(), SupervisorPlugin(agent="researcher")],
    )
    run_id = f"research-{uuid.uuid4().hex[:8]}"
    sys.stdout.write(f"{run_id}\n")
    async with Worker(client, task_queue="research-pydantic", workflows=[ResearchWithPydantic]):
        answer = await client.execute_workflow(
            ResearchWithPydantic.run,
            question,
            id=run_id,
            task_queue="research-pydantic",
            memo={"curb": {"budget_usd": "0.05", "max_steps": 10, "user": "ada"}},
        )
        sys.stdout.write(f"{answer}\n")


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "What is a budget?"))
