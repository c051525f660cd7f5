"""Record DailyReset and Retention for tests/workflows: `python -m tests.workflows.record_nights`.

Servers of its own, as in `record.py`, which also says when to record. A history each goes to
`histories/nights/SCENARIO.json`.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from gateway.config import GatewayConfig
from gateway.store.migrate import migrate
from tests.integration.past_days import attempt, days_ago, today
from tests.integration.runs import Factory, serving
from tests.workflows.record import HISTORIES, links, write
from worker.config import Config
from worker.stack import FREE_PORTS, Stack
from worker.temporal import connect
from worker.wiring import Servers
from workflows.queues import SUPERVISION
from workflows.scheduled import Scheduled

NIGHTS = HISTORIES / "nights"
# Workflow, and the day at whose first moment it works.
SCENARIOS = {
    "two_days_closed": ("DailyReset", today()),
    "nothing_to_close": ("DailyReset", today()),
    "month_closed": ("DailyReset", today().replace(day=1)),
    "retention": ("Retention", today()),
}


async def record() -> None:
    """Play every scenario and write its history."""
    with tempfile.TemporaryDirectory(prefix="curb-record-") as directory:
        servers = ("valkey", "postgres", "temporal")
        async with Stack(Path(directory), servers=servers, ports=FREE_PORTS) as stack:
            migrate(stack.database_url)
            client = await connect(stack.temporal_address)
            gateway = GatewayConfig({}, {}, ())
            own = Servers(stack.redis_url, stack.database_url)
            async with serving(client, own, gateway, [], config=Config(gateway, {}, {})) as factory:
                await _play(factory)


async def _play(factory: Factory) -> None:
    # Redis does not know of it: the closing says that counters differ, and goes on.
    await factory.store.ledger.apply_events(attempt("a", days_ago(2), 400))
    for name, (workflow, day) in SCENARIOS.items():
        handle = await factory.client.start_workflow(
            workflow, Scheduled(at=f"{day.isoformat()}T00:00:00Z"), id=name, task_queue=SUPERVISION
        )
        await handle.result()
        [history] = await links(factory.client, name)
        write(NIGHTS / f"{name}.json", history)
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    asyncio.run(record())
