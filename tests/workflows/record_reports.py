"""Record the histories of reports that tests/workflows replays: `python -m tests.workflows.record_reports`.

Servers of its own, as in `record.py`, which also says when to record. A history each goes to
`histories/reports/SCENARIO.json`.
"""

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

from temporalio.client import Client, WorkflowFailureError

from gateway.store.migrate import migrate
from tests.integration.receivers import Answer, Receiver, receiver
from tests.integration.runs import serving
from tests.workflows.record import HISTORIES, links, write
from worker.config import parse_config
from worker.settings import Settings
from worker.stack import FREE_PORTS, Stack
from worker.temporal import connect
from worker.wiring import Servers
from workflows.cost_report import ReportTask
from workflows.queues import SUPERVISION

REPORTS = HISTORIES / "reports"
SCENARIOS: dict[str, tuple[ReportTask, tuple[Answer, ...]]] = {
    "delivered": (ReportTask(at="2024-06-04T00:10:00Z"), ()),
    "again": (ReportTask(at="2024-06-04T00:10:00Z"), ()),
    "weekly_kept": (ReportTask(kind="weekly", at="2024-06-10T00:20:00Z"), ()),
    "busy": (ReportTask(at="2024-06-05T00:10:00Z"), (Answer(429, "wait", {"Retry-After": "1"}),)),
    "refused": (ReportTask(at="2024-06-06T00:10:00Z"), (Answer(403, "go away"),)),
    "too_early": (ReportTask(at="2999-06-04T00:10:00Z"), ()),
}


async def record() -> None:
    """Play every scenario and write its history."""
    for old in REPORTS.glob("*.json"):
        old.unlink()
    REPORTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="curb-record-") as directory:
        servers = ("valkey", "postgres", "temporal")
        async with Stack(Path(directory), servers=servers, ports=FREE_PORTS) as stack, receiver() as chat:
            migrate(stack.database_url)
            client = await connect(stack.temporal_address)
            await _play(client, Servers(stack.redis_url, stack.database_url), chat)


async def _play(client: Client, servers: Servers, chat: Receiver) -> None:
    config = parse_config("reports: {weekly: {channels: []}}")
    settings = Settings.model_validate({"metrics_port": 0, "CURB_SLACK_WEBHOOK_URL": chat.url})
    async with serving(client, servers, config.gateway, [], config=config, settings=settings):
        for name, (task, answers) in SCENARIOS.items():
            chat.says(*answers)
            handle = await client.start_workflow(
                "CostReport", task, id=f"replay-report-{name}", task_queue=SUPERVISION
            )
            with contextlib.suppress(WorkflowFailureError):
                await handle.result()
            [part] = await links(client, handle.id)
            write(REPORTS / f"{name}.json", part)
            sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    asyncio.run(record())
