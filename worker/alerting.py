"""The dispatcher: makes alerts of events, and has a workflow follow each of them.

It reads the rows of `events` and `switch_events` that nobody has noticed, whoever wrote them, counts
each of them in its alert, starts or wakes the alert's workflow, and only then notes the rows as
noticed. A crash anywhere in between repeats a step that changes nothing the second time.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import replace

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from activities.alert_messages import AlertInput
from activities.alert_text import workflow_id
from activities.channels import Channel
from gateway.agents import Agent
from gateway.errors import ConfigurationError, CurbError, NotFound, StateUnavailable
from gateway.policy.alert_routes import AlertPolicy
from gateway.policy.alerts import Consequence, Event, Reader, Sighting, SwitchEvent
from gateway.state.authority import Authority
from gateway.store import Store, StoreRejected
from worker.config import Config
from worker.config_alerts import alert_policy, channels_asked_for
from worker.config_channels import channel_type
from worker.config_errors import dotted
from worker.config_teams import owners_mailboxes, owners_routes
from worker.wiring import Parts
from workflows.queues import SUPERVISION

log = structlog.get_logger(__name__)

_INTERVAL_SECONDS = 0.5
_LEASE_MS = 1_500  # two who lead for a moment do no harm
_BATCH = 200
_BATCHES_PER_ROUND = 10
_FOLLOWED_AT_ONCE = 20
# A workflow looks at its alert by itself; one that has not for so long is gone, or nobody serves it.
_OVERLOOKED_SECONDS = 60.0
_SUMMARY_BYTES = 200
# Evidence is what anybody wrote down: numbers that no words can be found for, or no mapping at all.
_UNREADABLE = (StoreRejected, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Dispatcher:
    """One of all processes does the work; the others stand by. reader: knows agents and days.

    overlooked_seconds: how often it is looked for alerts that nobody has looked at for so long.
    """

    def __init__(
        self,
        client: Client,
        authority: Authority,
        store: Store,
        reader: Reader,
        *,
        overlooked_seconds: float = _OVERLOOKED_SECONDS,
    ) -> None:
        self._client = client
        self._authority = authority
        self._store = store
        self._reader = reader
        self._overlooked_seconds = overlooked_seconds
        self._next_inspection = 0.0  # monotonic

    async def run(self) -> None:
        """Work until cancelled; servers that are down are tried again half a second later."""
        while True:
            try:
                if await self._leads():
                    await self.round()
                    await self.inspect()
            except (CurbError, RPCError) as error:
                log.warning("alerts wait", error=str(error))
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def round(self) -> int:
        """Take what is new, until nothing is; returns how many rows were new."""
        taken = 0
        for _ in range(_BATCHES_PER_ROUND):
            unnoticed = await self._store.alerts.unnoticed(limit=_BATCH)
            if not unnoticed.rows:
                break
            alerts = [alert for row in unnoticed.rows if (alert := await self._take(row))]
            await self._follow_all(dict.fromkeys(alerts))
            await self._store.alerts.notice(unnoticed)
            taken += len(unnoticed.rows)
        await self._follow_nudged()
        return taken

    async def _leads(self) -> bool:
        """Without Redis everybody does the work: twice is as good as once, and somebody must."""
        try:
            return await self._authority.lead("alerts", self._authority.process_id, _LEASE_MS)
        except StateUnavailable:
            return True

    async def _take(self, row: Event | SwitchEvent) -> str | None:
        """Make of a row what it is. The alert whose workflow is to look, if any."""
        try:
            if isinstance(row, Event):
                return await self._store.alerts.see(self._reader.event(row))
            found = [await self._take_said(said) for said in self._reader.switch(row)]
            return next(filter(None, found), None)
        except _UNREADABLE as error:  # the rows behind it must not wait for ever
            log.error("an event makes no alert", key=row.key, error=str(error) or type(error).__name__)
            return None

    async def _take_said(self, said: Sighting | Consequence) -> str | None:
        if isinstance(said, Sighting):
            return await self._store.alerts.see(said)
        attached = await self._store.alerts.attach(said)
        if attached or said.otherwise is None:
            return None
        return await self._store.alerts.see(said.otherwise)

    async def _follow_nudged(self) -> None:
        """Somebody acknowledged, or ended a silence: perhaps no worker was there to be told."""
        nudged = await self._store.alerts.nudged()
        await self._follow_all(nudged)
        for alert, since in nudged.items():
            await self._store.alerts.end_nudge(alert, since)

    async def inspect(self) -> None:
        """Now and then: follow what nobody follows (its workflow was terminated, or Temporal lost it)."""
        if time.monotonic() >= self._next_inspection:
            self._next_inspection = time.monotonic() + self._overlooked_seconds
            await self._follow_all(await self._store.alerts.overlooked(self._overlooked_seconds))

    async def _follow_all(self, alerts: Collection[str]) -> None:
        places = asyncio.Semaphore(_FOLLOWED_AT_ONCE)

        async def follow(alert: str) -> None:
            async with places:
                await self._follow(alert)

        await asyncio.gather(*(follow(alert) for alert in alerts))

    async def _follow(self, alert: str) -> None:
        """Have the alert's workflow look now; start it where none is running."""
        try:
            record = await self._store.alerts.get(alert)
        except NotFound:
            return
        await self._client.start_workflow(
            "Alert",
            AlertInput(alert=alert),
            id=workflow_id(alert),
            task_queue=SUPERVISION,
            start_signal="seen",
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=_summary(record.title),
        )


def _summary(title: str) -> str:
    """As much of a title as Temporal takes, which counts bytes."""
    return title.encode()[:_SUMMARY_BYTES].decode(errors="ignore")


def dispatcher(client: Client, parts: Parts, agents: Mapping[str, Agent]) -> Dispatcher:
    """The dispatcher of a process."""
    reader = Reader({agent.name: agent.team for agent in agents.values()}, parts.gateway.calendar)
    return Dispatcher(client, parts.authority, parts.store, reader)


def alerts_here(config: Config, channels: Mapping[str, Channel]) -> AlertPolicy:
    """How alerts are told by a process with these channels (none: it does not tell anybody).

    Raises ConfigurationError for a route to a channel that is not there.
    """
    for path, name in channels_asked_for(config.alerts, config.alert_rules):
        if channels and name not in channels:
            raise ConfigurationError(f"{dotted(path)}: there is no channel {name} here; {_remedy(name)}")
    for name, team in config.teams.items():
        for owner in team.owners:
            if channels and owner not in channels:
                raise ConfigurationError(
                    f"teams.{name}.owner: there is no channel {owner} here; {_remedy(owner)}"
                )
    mailboxes = owners_mailboxes(config.teams)
    kinds = {name: channel_type(name, config.channels) for name in channels if name not in mailboxes}
    policy = alert_policy(config.alerts, kinds, config.gateway.timezone)
    return replace(policy, routes=(*owners_routes(config.teams), *policy.routes))


def _remedy(name: str) -> str:
    variables = {"slack": "CURB_SLACK_WEBHOOK_URL", "email": "CURB_SMTP_URL and CURB_ALERT_EMAIL"}
    return f"set {variables[name]}" if name in variables else "add it to `alerts: channels:`"
