"""OpenAI Agents on Temporal, under curb: all that is new is one plugin.

curb dev                                                    # in one terminal: servers and simulated models
python examples/frameworks/openai_agents.py "What is a budget?"    # in another

`pip install temporalio-openai-agents` first. While it runs, try with the id that the script prints

    curb show RUN
    curb kill RUN
    curb switch set agent Research --reason look    # it waits; `curb switch clear agent Research`
"""

import asyncio
import os
import sys
import uuid

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from agents import Agent, OpenAIProvider, RunConfig, Runner
    from temporalio.openai_agents import OpenAIAgentsPlugin

    from curb import SupervisorPlugin


@workflow.defn
class Research:
    """A question, and a second look at the answer. The model is a tier of curb's."""

    @workflow.run
    async def run(self, question: str) -> str:
        agent = Agent[None](name="researcher", instructions="Answer in one sentence.", model="balanced")
        config = RunConfig(tracing_disabled=True)
        first = await Runner.run(agent, question, run_config=config)
        second = await Runner.run(agent, f"Improve on this: {first.final_output}", run_config=config)
        return str(second.final_output)


async def main(question: str) -> None:
    frameworks = OpenAIAgentsPlugin(model_provider=OpenAIProvider(api_key="curb has the keys"))
    client = await Client.connect(
        os.environ.get("CURB_TEMPORAL_ADDRESS", "127.0.0.1:7233"), plugins=[frameworks, SupervisorPlugin()]
    )
    run_id = f"research-{uuid.uuid4().hex[:8]}"
    sys.stdout.write(f"{run_id}\n")
    async with Worker(client, task_queue="research", workflows=[Research]):
        answer = await client.execute_workflow(
            Research.run,
            question,
            id=run_id,
            task_queue="research",
            memo={"curb": {"budget_usd": "0.05", "max_steps": 10, "user": "ada"}},
        )
        sys.stdout.write(f"{answer}\n")


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "What is a budget?"))
