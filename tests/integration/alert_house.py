"""A worker that tells alerts, with two channels that answer and one that may not, over real HTTP."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

from temporalio.client import Client, WorkflowHandle

from activities.alert_text import workflow_id
from gateway.policy.alert_plan import Delivery
from gateway.policy.alerts import AlertRecord, Reader
from tests.integration.receivers import Receiver, receiver
from tests.integration.runs import Factory, eventually, serving
from worker.alerting import Dispatcher
from worker.config import Config, parse_config
from worker.wiring import Servers

_CONFIG = """
agents:
  red-coder: {{team: red}}
alerts:
  channels:
    chat: {{type: webhook, url: "{chat}"}}
    pager: {{type: webhook, url: "{pager}"}}
    broken: {{type: webhook, url: "{broken}"}}
  routes:
    - {{agent: "lonely-*", channels: chat, escalate: {{after: 300ms, to: pager}}}}
    - {{agent: "patient-*", channels: chat, escalate: {{after: 30m, to: pager}}}}
    - {{agent: "half-*", channels: [broken, chat]}}
    - {{severity: critical, channels: [chat, pager]}}
    - {{channels: [chat]}}
  repeat_after: 400ms
  resolve_after: {{error_rate: 1s}}
"""


class House:
    """The worker, and what arrives at its channels."""

    def __init__(self, factory: Factory, chat: Receiver, pager: Receiver, broken: Receiver) -> None:
        self.factory, self.store = factory, factory.store
        self.chat, self.pager, self.broken = chat, pager, broken

    async def fire(self, rule: str, agent: str, **changes: Any) -> None:
        evidence = changes.pop("evidence", {"n": 1})
        await self.store.events.alert(rule, f"agent:{agent}", evidence, **changes)

    async def until(self, receiver: Receiver, agent: str, *kinds: str) -> list[Any]:
        """Wait until these kinds of messages about an agent have come, in this order."""

        async def there() -> bool:
            return len(about(receiver, agent)) >= len(kinds)

        await eventually(there)
        found = about(receiver, agent)
        assert [each["kind"] for each in found] == list(kinds), found
        return found

    async def alert(self, agent: str) -> AlertRecord:
        """The newest alert about an agent, once there is one."""
        found: list[AlertRecord] = []

        async def there() -> bool:
            found[:] = [a for a in await self.store.alerts.recent(ended=True, limit=1000) if a.agent == agent]
            return bool(found)

        await eventually(there)
        return max(found, key=lambda each: each.first_seen)

    async def until_status(self, agent: str, status: str) -> AlertRecord:
        async def so() -> bool:
            return (await self.alert(agent)).status == status

        await eventually(so)
        return await self.alert(agent)

    async def until_noticed(self) -> None:
        """Wait until the dispatcher has dealt with everything."""

        async def nothing_new() -> bool:
            return not (await self.store.alerts.unnoticed()).rows

        await eventually(nothing_new)

    async def delivery(self, agent: str, channel: str) -> Delivery:
        alert = await self.alert(agent)
        return next(
            d for d in (await self.store.alerts.deliveries([alert.id]))[alert.id] if d.channel == channel
        )

    def handle(self, alert: AlertRecord) -> WorkflowHandle[Any, Any]:
        """The workflow that follows an alert."""
        return self.factory.client.get_workflow_handle(workflow_id(alert.id))

    async def shows(self, agent: str, words: str) -> bool:
        """Whether the Temporal UI shows these words beside an agent's alert."""
        shown: Any = await self.handle(await self.alert(agent)).query("__temporal_workflow_metadata")
        return words in str(shown)

    async def has_state(self, agent: str, channel: str, state: str) -> bool:
        """What became of the last message to a channel."""
        return (await self.delivery(agent, channel)).state == state

    async def has_done(self, agent: str, action: str) -> bool:
        return (await self.alert(agent)).action == action

    def dispatcher(self, **changes: Any) -> Dispatcher:
        """Another one, as after a restart."""
        return Dispatcher(self.factory.client, self.factory.authority, self.store, Reader(), **changes)


def about(receiver: Receiver, agent: str) -> list[Any]:
    return [each.json for each in receiver.requests if each.json["data"]["agent"] == agent]


def a(kind: str) -> str:
    """An agent of this test alone."""
    return f"{kind}-{secrets.token_hex(3)}"


@contextlib.asynccontextmanager
async def alert_house(temporal: Client, servers: Servers) -> AsyncIterator[House]:
    """Serve while the block runs."""
    async with receiver() as chat, receiver() as pager, receiver() as broken:
        text = _CONFIG.format(chat=chat.url, pager=pager.url, broken=broken.url)
        config: Config = parse_config(text)
        async with serving(
            temporal, servers, config.gateway, list(config.agents.values()), supervise=True, config=config
        ) as factory:
            yield House(factory, chat, pager, broken)
