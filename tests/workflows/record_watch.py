"""Record ProviderHealth and Reconcile for tests/workflows: `python -m tests.workflows.record_watch`.

Servers of its own, as in `record.py`, which also says when to record. A history each goes to
`histories/watch/SCENARIO.json`.
"""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from temporalio.client import Client

from gateway.policy.health import HealthPlan
from gateway.store.migrate import migrate
from tests.integration.runs import serving
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from tests.workflows.record import HISTORIES, links, write
from worker.config import Config
from worker.stack import FREE_PORTS, Stack
from worker.temporal import connect
from worker.wiring import Servers
from workflows.queues import SUPERVISION
from workflows.scheduled import Scheduled

WATCH = HISTORIES / "watch"
# The workflow, how long ago it was due (None: whenever it starts), whether a provider is down.
SCENARIOS: dict[str, tuple[str, timedelta | None, bool]] = {
    "providers_up": ("ProviderHealth", timedelta(0), False),
    "provider_down": ("ProviderHealth", timedelta(seconds=-30), True),
    "slot_long_over": ("ProviderHealth", timedelta(hours=1), False),
    "hour": ("Reconcile", timedelta(0), False),
    "hour_again": ("Reconcile", timedelta(0), False),
    "due_by_itself": ("Reconcile", None, False),
}


async def record() -> None:
    """Play every scenario and write its history."""
    provider = SimulatedProvider()
    try:
        async with _stack() as stack:
            client = await connect(stack.temporal_address)
            gateway = config(provider.url, ("quick", ["gpt-5-mini@say", "claude-sonnet-4-5@say"]))
            plan = HealthPlan(dict.fromkeys(gateway.providers, "models"), tries=1)
            made = Config(gateway, {}, {}, health=plan)
            servers = Servers(stack.redis_url, stack.database_url)
            async with serving(client, servers, gateway, [], config=made):
                for name in SCENARIOS:
                    await _play(client, name, f"{provider.url}/outages/anthropic")
                    [history] = await links(client, name)
                    write(WATCH / f"{name}.json", history)
                    sys.stdout.write(f"{name}\n")
    finally:
        provider.stop()


async def _play(client: Client, name: str, outage: str) -> None:
    workflow, ago, down = SCENARIOS[name]
    given = Scheduled() if ago is None else Scheduled(at=(datetime.now(UTC) - ago).isoformat())
    async with httpx.AsyncClient() as provider:
        if down:
            await provider.put(outage, json={"mode": "down"})
        await client.execute_workflow(workflow, given, id=name, task_queue=SUPERVISION)
        await provider.delete(outage)


@contextlib.asynccontextmanager
async def _stack() -> AsyncIterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="curb-record-") as directory:
        servers = ("valkey", "postgres", "temporal")
        async with Stack(Path(directory), servers=servers, ports=FREE_PORTS) as stack:
            migrate(stack.database_url)
            yield stack


if __name__ == "__main__":
    asyncio.run(record())
