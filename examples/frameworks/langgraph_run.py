"""LangGraph on Temporal, under curb: one plugin, and chat models that send through curb (langgraph_nodes.py).

curb dev                                                    # in one terminal: servers and simulated models
python examples/frameworks/langgraph_run.py "What is a budget?"    # in another

`pip install temporalio-langgraph langchain-openai` first.
"""

import asyncio
import os
import sys
import uuid

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from langgraph_nodes import research_graph  # type: ignore[import-not-found]
    from temporalio.langgraph import LangGraphPlugin, graph

    from curb import SupervisorPlugin


@workflow.defn
class ResearchWithLangGraph:
    """A question, and a second look at the answer."""

    @workflow.run
    async def run(self, question: str) -> str:
        asked = graph("research").compile()
        first = await asked.ainvoke({"text": question})
        second = await asked.ainvoke({"text": f"Improve on this: {first['text']}"})
        return str(second["text"])


async def main(question: str) -> None:
    frameworks = LangGraphPlugin(graphs={"research": research_graph()})
    client = await Client.connect(
        os.environ.get("CURB_TEMPORAL_ADDRESS", "127.0.0.1:7233"),
        plugins=[frameworks, SupervisorPlugin(agent="researcher")],
    )
    run_id = f"research-{uuid.uuid4().hex[:8]}"
    sys.stdout.write(f"{run_id}\n")
    async with Worker(client, task_queue="research-langgraph", workflows=[ResearchWithLangGraph]):
        answer = await client.execute_workflow(
            ResearchWithLangGraph.run,
            question,
            id=run_id,
            task_queue="research-langgraph",
            memo={"curb": {"budget_usd": "0.05", "max_steps": 10, "user": "ada"}},
        )
        sys.stdout.write(f"{answer}\n")


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "What is a budget?"))
