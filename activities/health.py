"""Watching providers, as activities: one looks, the other judges. Both are keyed by the slot."""

from datetime import UTC, datetime, timedelta

import structlog
from pydantic import BaseModel, ConfigDict
from temporalio import activity

from activities.dependencies import Dependencies
from activities.supervision import Supervision
from gateway.health import Watch

log = structlog.get_logger(__name__)

_TOO_OLD = timedelta(minutes=10)


class Judged(BaseModel):
    """How many targets were looked at, and which providers are what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slot: str
    probed: int = 0
    up: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    skipped: bool = False


class HealthActivities:
    """Over gateway.health.Watch."""

    def __init__(self, dependencies: Dependencies, supervision: Supervision) -> None:
        self._plan = supervision.health
        self._store = dependencies.store
        self._watch = Watch(dependencies.gateway, supervision.health)

    @activity.defn
    async def probe_providers(self, at: datetime) -> int:
        """Look at every provider that was not looked at in this slot; -1 for a slot that is long over.

        A look tells of now: what a backfill asks about the past cannot be seen any more.
        """
        if datetime.now(UTC) - at > _TOO_OLD:
            return -1
        return await self._watch.probe(self._slot(at))

    @activity.defn
    async def judge_providers(self, at: datetime) -> Judged:
        """Judge them by what was seen until this slot; switch and tell what follows."""
        slot = self._slot(at)
        held = [each for each in await self._watch.judge(slot) if not each.deployment]
        for each in held:
            if each.since == slot:
                log.info("provider health", provider=each.provider, status=each.status, reason=each.reason)
        names = {
            status: tuple(each.provider for each in held if each.status == status)
            for status in ("up", "degraded", "down")
        }
        return Judged(slot=slot.isoformat(), **names)

    def _slot(self, at: datetime) -> datetime:
        """The slot that an instant belongs to: the same for everything that is done for it."""
        seconds = self._plan.slot_seconds
        return datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)
