"""A workflow of your own with supervised model calls.

curb dev --tools examples/own_workflow.py           # in one terminal: servers, worker, this module
python examples/own_workflow.py "Some long text"    # in another

(Should `curb dev` print another address of Temporal than 127.0.0.1:7233, set CURB_TEMPORAL_ADDRESS to it.)

Each call goes the same way as an agent's step: it is bought within every budget, waits when money or
a switch stands in its way, and is never paid for twice, whatever crashes. While it runs, try

    curb switch set agent summariser --reason look     # it waits; `curb switch clear agent summariser`
    curb kill RUN                                      # the id that the script printed

The texts travel through this workflow's history, because it is the workflow that passes them on. Keep
them out of it by storing them first and passing `conversation_id`.
"""

import asyncio
import os
import sys
import uuid

from temporalio import workflow
from temporalio.client import Client

from curb import Agent, supervised_model_call, usd

summariser = Agent(
    name="summariser",
    instructions="Summarise what you are given in one sentence, then improve on it when asked to.",
    tier="quick",
    run_budget_nano_usd=usd("0.05"),
    on_budget="pause",
)


@workflow.defn
class Summarise:
    """A summary, and a second thought about it."""

    @workflow.run
    async def run(self, text: str) -> str:
        await supervised_model_call("summariser", f"Summarise this: {text}")
        better = await supervised_model_call("summariser", "Shorter, please.")
        return better.text


async def main(text: str) -> None:
    client = await Client.connect(os.environ.get("CURB_TEMPORAL_ADDRESS", "127.0.0.1:7233"))
    run_id = f"summary-{uuid.uuid4().hex[:8]}"
    sys.stdout.write(f"{run_id}\n")
    summary = await client.execute_workflow(Summarise.run, text, id=run_id, task_queue="curb-runs")
    sys.stdout.write(f"{summary}\n")


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "curb stands between agents and the money."))
