"""Record the histories of alerts that tests/workflows replays: `python -m tests.workflows.record_alerts`.

Servers of its own, as in `record.py`, which also says when to record. A history each goes to
`histories/alerts/SCENARIO[.LINK].json`.
"""

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from activities.alert_messages import AlertInput
from activities.alert_text import workflow_id
from gateway.store.migrate import migrate
from tests.integration.alert_house import House, a, alert_house
from tests.integration.receivers import Answer
from tests.integration.runs import eventually
from tests.workflows.record import HISTORIES, links, write
from worker.stack import FREE_PORTS, Stack
from worker.temporal import connect
from worker.wiring import Servers
from workflows.queues import SUPERVISION

ALERTS = HISTORIES / "alerts"


async def told_and_over(house: House, agent: str) -> None:
    await house.fire("velocity_critical", agent)
    await house.until(house.pager, agent, "firing")
    await _end(house, agent, "velocity_critical")


async def worse(house: House, agent: str) -> None:
    await house.fire("success_rate", agent)
    await house.until(house.chat, agent, "firing")
    await house.fire("success_rate", agent, severity="critical")
    await house.until(house.pager, agent, "firing")
    await _end(house, agent, "success_rate")


async def not_seen_again(house: House, agent: str) -> None:
    await house.fire("error_rate", agent)
    await house.until(house.chat, agent, "firing", "resolved")


async def escalated_then_acknowledged(house: House, agent: str) -> None:
    await house.fire("provider_down", agent)
    await house.until(house.pager, agent, "escalated")
    await _signal(house, agent, "acknowledge", "ann")
    await house.until_status(agent, "acknowledged")
    await _end(house, agent, "provider_down")


async def ended_by_hand(house: House, agent: str) -> None:
    await house.fire("provider_down", agent)
    await house.until(house.chat, agent, "firing")
    await _signal(house, agent, "resolve", "ann")


async def busy_then_refused(house: House, agent: str) -> None:
    house.broken.says(Answer(429, "wait", {"Retry-After": "1"}), Answer(403, "go away"))
    await house.fire("provider_down", agent)
    await house.until(house.broken, agent, "firing", "firing")
    await eventually(lambda: house.has_state(agent, "broken", "refused"))
    await _end(house, agent, "provider_down")


async def continued_as_new(house: House, agent: str) -> None:
    await house.fire("provider_down", agent)
    await house.until(house.chat, agent, "firing")
    handle = house.handle(await house.alert(agent))
    await handle.terminate()
    await house.factory.client.start_workflow(
        "Alert",
        AlertInput(alert=(await house.alert(agent)).id, looks_before_new=2),
        id=handle.id,
        task_queue=SUPERVISION,
    )
    await _signal(house, agent, "seen")
    await _end(house, agent, "provider_down")


Scenario = Callable[[House, str], Awaitable[None]]
SCENARIOS: dict[str, tuple[str, Scenario]] = {  # the kind of agent decides about the route
    "told_and_over": ("any", told_and_over),
    "worse": ("any", worse),
    "not_seen_again": ("any", not_seen_again),
    "escalated_then_acknowledged": ("lonely", escalated_then_acknowledged),
    "ended_by_hand": ("patient", ended_by_hand),
    "busy_then_refused": ("half", busy_then_refused),
    "continued_as_new": ("patient", continued_as_new),
}


async def _end(house: House, agent: str, rule: str) -> None:
    await house.fire(rule, agent, state="resolved")
    await house.until_status(agent, "resolved")


async def _signal(house: House, agent: str, signal: str, *arguments: Any) -> None:
    await house.handle(await house.alert(agent)).signal(signal, args=list(arguments))


async def record() -> None:
    """Play every scenario and write its histories."""
    for old in ALERTS.glob("*.json"):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="curb-record-") as directory:
        servers = ("valkey", "postgres", "temporal")
        async with Stack(Path(directory), servers=servers, ports=FREE_PORTS) as stack:
            migrate(stack.database_url)
            client = await connect(stack.temporal_address)
            async with alert_house(client, Servers(stack.redis_url, stack.database_url)) as house:
                for name, (kind, play) in SCENARIOS.items():
                    agent = a(kind)
                    await play(house, agent)
                    id = workflow_id((await house.alert(agent)).id)
                    await client.get_workflow_handle(id).result()
                    parts = await links(client, id)
                    for number, part in enumerate(parts, start=1):
                        write(ALERTS / (f"{name}.{number}.json" if len(parts) > 1 else f"{name}.json"), part)
                    sys.stdout.write(f"{name}: {len(parts)}\n")


if __name__ == "__main__":
    asyncio.run(record())
