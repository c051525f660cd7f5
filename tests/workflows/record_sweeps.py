"""Record AnomalySweep for tests/workflows: `python -m tests.workflows.record_sweeps`.

Servers of its own, as in `record.py`, which also says when to record. A schedule is triggered while a
table is there or not; a history each goes to `histories/sweeps/SCENARIO.json`.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

import psycopg
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WorkflowExecutionStatus,
)

from gateway.config import GatewayConfig
from gateway.store.migrate import migrate
from tests.integration.runs import eventually, serving
from tests.workflows.record import HISTORIES, links, write
from worker.config import Config
from worker.stack import FREE_PORTS, Stack
from worker.temporal import connect
from worker.wiring import Servers
from workflows.queues import SUPERVISION

SWEEPS = HISTORIES / "sweeps"
# In this order; whether the sweep can work.
SCENARIOS = {"swept": True, "failed": False, "failed_again": False, "works_again": True}
_TRACE = re.compile(r'"stackTrace": "(?:[^"\\]|\\.)*"')  # where this machine keeps its files
_NAMES = {True: ("usage_gone", "usage_frozen"), False: ("usage_frozen", "usage_gone")}


async def record() -> None:
    """Play every scenario and write its history."""
    with tempfile.TemporaryDirectory(prefix="curb-record-") as directory:
        servers = ("valkey", "postgres", "temporal")
        async with Stack(Path(directory), servers=servers, ports=FREE_PORTS) as stack:
            migrate(stack.database_url)
            client = await connect(stack.temporal_address)
            gateway = GatewayConfig({}, {}, ())
            own = Servers(stack.redis_url, stack.database_url)
            async with serving(client, own, gateway, [], config=Config(gateway, {}, {})):
                await _play(client, stack.database_url)


async def _play(client: Client, database_url: str) -> None:
    action = ScheduleActionStartWorkflow("AnomalySweep", id="sweep", task_queue=SUPERVISION)
    schedule = await client.create_schedule("sweeps", Schedule(action=action, spec=ScheduleSpec()))
    could = True
    for number, (name, can) in enumerate(SCENARIOS.items(), start=1):
        if can is not could:
            await _rename(database_url, *_NAMES[can])
        could = can
        await schedule.trigger()

        async def over(number: int = number) -> bool:
            started = [each.action for each in (await schedule.describe()).info.recent_actions]
            if len(started) < number:
                return False
            assert isinstance(started[-1], ScheduleActionExecutionStartWorkflow)
            workflow = client.get_workflow_handle(started[-1].workflow_id)
            return (await workflow.describe()).status is not WorkflowExecutionStatus.RUNNING

        await eventually(over, 60)
        last = (await schedule.describe()).info.recent_actions[-1].action
        assert isinstance(last, ScheduleActionExecutionStartWorkflow)
        [history] = await links(client, last.workflow_id)
        write(SWEEPS / f"{name}.json", _TRACE.sub('"stackTrace": ""', history))
        sys.stdout.write(f"{name}\n")


async def _rename(database_url: str, old: str, new: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(f"ALTER TABLE {old} RENAME TO {new}".encode())


if __name__ == "__main__":
    asyncio.run(record())
