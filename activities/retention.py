"""Retention: what is removed, class by class, in small batches and within a time."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog
from temporalio import activity

from activities.dependencies import Dependencies
from activities.heartbeats import heartbeating
from activities.messages import Wire
from activities.supervision import Supervision
from gateway.policy.scopes import Period
from gateway.store.retention import ATTEMPTS, STATEMENTS

BATCH = 2_000
CLASS_SECONDS = 600.0  # of one class; the next day goes on

log = structlog.get_logger(__name__)


class ClassToRetire(Wire):
    """A class of data, and the time before which it may go."""

    name: str
    before: datetime


class RetentionPlan(Wire):
    """day_start: of the accounting day that the work is for."""

    day_start: datetime
    classes: tuple[ClassToRetire, ...]


class Retired(Wire):
    """What was done with a class. thinned: rows that lost all but their account. finished: nothing is left
    to do; False: the time was over.
    """

    name: str
    removed: int
    thinned: int = 0
    finished: bool = True


class RetentionOutcome(Wire):
    """The result of a day's retention. failed: classes that could not be worked through."""

    day_start: datetime
    retired: tuple[Retired, ...]
    failed: tuple[str, ...] = ()


class RetentionActivities:
    """What the workflow Retention asks for. Everything may be done again: what is gone is gone."""

    def __init__(self, dependencies: Dependencies, supervision: Supervision) -> None:
        self._store = dependencies.store
        self._calendar = dependencies.gateway.calendar
        self._policy = supervision.retention

    @activity.defn
    async def plan_retention(self, at: datetime) -> RetentionPlan:
        """What may go, by this process's configuration."""
        before = self._policy.before(at)
        start_ms = self._calendar.windows(Period.DAY, round(at.timestamp() * 1000))[1].start_ms
        return RetentionPlan(
            day_start=datetime.fromtimestamp(start_ms / 1000, UTC),
            classes=tuple(
                ClassToRetire(name=name, before=before[name])
                for name in (ATTEMPTS, *STATEMENTS)
                if name in before
            ),
        )

    @activity.defn
    async def retire(self, given: ClassToRetire) -> Retired:
        """Remove what may go of one class, as far as the time reaches."""
        deadline = time.monotonic() + CLASS_SECONDS
        async with heartbeating():
            if given.name == ATTEMPTS:
                done = await self._thin_attempts(given.before, deadline)
            else:
                done = await self._remove(given, deadline)
        log.info("retired", **done.model_dump(), before=given.before.isoformat())
        return done

    @activity.defn
    async def record_retention(self, outcome: RetentionOutcome) -> bool:
        """Write down what was removed and how far back each class goes now; False: it had been already."""
        oldest = {name: at.isoformat() for name, at in (await self._store.retention.oldest()).items()}
        body = {**outcome.model_dump(mode="json"), "oldest": oldest}
        return await self._store.days.record_work("retention", outcome.day_start, body)

    async def _thin_attempts(self, before: datetime, deadline: float) -> Retired:
        await self._store.usage.freeze_before(before)
        removed = thinned = 0
        more = True
        while more and time.monotonic() < deadline:
            step = await self._store.retention.thin_attempts(before, limit=BATCH)
            removed, thinned, more = removed + step.removed, thinned + step.thinned, step.more
        return Retired(name=ATTEMPTS, removed=removed, thinned=thinned, finished=not more)

    async def _remove(self, given: ClassToRetire, deadline: float) -> Retired:
        removed, finished = 0, True
        for statement in STATEMENTS[given.name]:
            gone, done = await _until_done(self._step(statement, given.before), deadline)
            removed, finished = removed + gone, finished and done
        return Retired(name=given.name, removed=removed, finished=finished)

    def _step(self, statement: str, before: datetime) -> Callable[[], Awaitable[int]]:
        return lambda: self._store.retention.remove(statement, before, limit=BATCH)


async def _until_done(step: Callable[[], Awaitable[int]], deadline: float) -> tuple[int, bool]:
    """Batches until one is not full, or the time is over: how many rows, and whether nothing is left."""
    gone = 0
    while time.monotonic() < deadline:
        batch = await step()
        gone += batch
        if batch < BATCH:
            return gone, True
    return gone, False
