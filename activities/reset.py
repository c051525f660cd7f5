"""The daily reset: what is done when an accounting day is over. Every part can be done again.

Nothing of it is needed for anybody to go on: the new day has counters of its own, switches for a
spent day expire at its end, and runs wake by themselves.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Literal

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.dependencies import Dependencies
from activities.heartbeats import heartbeating
from activities.messages import Wire
from activities.signals import signal_run
from activities.supervision import Supervision
from gateway.closing import close_window, windows_to_close
from gateway.policy.resets import Cause, agent_of, day_scoped, still_stands
from gateway.policy.scopes import Period, Window

DRAINED_WITHIN_SECONDS = 600.0
SETTLED_WITHIN_SECONDS = 240.0  # calls that were admitted before the end and go on: a call's whole patience
_POLL_SECONDS = 0.1
_SWITCHES_AT_ONCE = 1_000
_CLOCKS_APART_MS = 300_000  # those of Redis and Temporal, at most

log = structlog.get_logger(__name__)


class WindowToClose(Wire):
    """A day or a month. Times in Unix milliseconds."""

    period: Literal["day", "month"]
    id: str
    start_ms: int
    end_ms: int


class ResetPlan(Wire):
    """day_start: when the accounting day began in which the reset is done; it is keyed by that."""

    day_start: datetime
    windows: tuple[WindowToClose, ...]


class Reopened(Wire):
    """What was done for the new day at once."""

    lifted: tuple[str, ...] = ()
    woken: int = 0
    forgotten: int = 0


class Closed(Wire):
    """How a window was closed. new: by this reset, and not by an earlier one."""

    window: str
    new: bool
    scopes: int
    spent_nano_usd: int
    verified: bool
    differences: int


class ResetOutcome(Wire):
    """The result of a reset. failed: windows that could not be closed; the next reset tries them again."""

    day_start: datetime
    reopened: Reopened
    closed: tuple[Closed, ...] = ()
    failed: tuple[str, ...] = ()


class ResetActivities:
    """What the workflow DailyReset asks for."""

    def __init__(self, dependencies: Dependencies, supervision: Supervision) -> None:
        self._deps = dependencies
        self._authority = dependencies.authority
        self._store = dependencies.store
        self._calendar = dependencies.gateway.calendar

    @activity.defn
    async def plan_reset(self, at: datetime) -> ResetPlan:
        """Which ended days and months are not closed yet. Fails for good for a time that is yet to come."""
        at_ms = round(at.timestamp() * 1000)
        if at_ms > await self._authority.clock_ms() + _CLOCKS_APART_MS:
            raise ApplicationError(
                f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC has not come",
                type="TooEarly",
                non_retryable=True,
            )
        windows = await windows_to_close(self._store, self._calendar, at_ms)
        return ResetPlan(
            day_start=_moment(self._calendar.windows(Period.DAY, at_ms)[1].start_ms),
            windows=tuple(
                WindowToClose(period=_name(period), id=each.id, start_ms=each.start_ms, end_ms=each.end_ms)
                for period, each in windows
            ),
        )

    @activity.defn
    async def reopen(self, day_start: datetime) -> Reopened:
        """Lift what curb set for the day that is over, wake the runs that wait for the reset, and have
        Redis forget what is past its life. Not what was set since `day_start`.
        """
        async with heartbeating():
            lifted = await self._lift(day_start)
            woken = await self._wake()
            return Reopened(lifted=tuple(lifted), woken=woken, forgotten=await self._authority.prune())

    @activity.defn
    async def close_books(self, given: WindowToClose) -> Closed:
        """Wait until everything of the window is on the books, compare, and keep the snapshot."""
        period, window = Period(given.period), Window(given.id, given.start_ms, given.end_ms)
        async with heartbeating():
            await self._until_drained(window)
            await self._until_settled(period, window)
            done = await close_window(self._authority, self._store, self._calendar, period, window)
        return Closed(
            window=given.id,
            new=done.new,
            scopes=done.scopes,
            spent_nano_usd=done.spent_nano_usd,
            verified=done.verified,
            differences=done.differences,
        )

    @activity.defn
    async def record_reset(self, outcome: ResetOutcome) -> bool:
        """Write down that the reset of this day is done; False: it had been already."""
        body = outcome.model_dump(mode="json")
        return await self._store.days.record_work("daily_reset", outcome.day_start, body)

    # -- lifting and waking --------------------------------------------------------------------

    async def _lift(self, day_start: datetime) -> list[str]:
        known = await self._authority.known_switches()
        names = {f"{kind}:agent:{name}" for name in self._deps.agents for kind in ("kill", "throttle")}
        lifted: list[str] = []
        ordered = sorted(names | known.keys())
        for start in range(0, len(ordered), _SWITCHES_AT_ONCE):
            present = await self._authority.read_switches(ordered[start : start + _SWITCHES_AT_ONCE])
            for name, value in present.items():
                cause = day_scoped(name, value)
                if cause is None or not await self._is_over(name, value, cause, day_start):
                    continue
                # Compare and delete: what somebody else has set meanwhile stays.
                if await self._authority.clear_switch(name, expected=value):
                    lifted.append(name)
        return lifted

    async def _is_over(self, name: str, value: str, cause: Cause, day_start: datetime) -> bool:
        last = await self._store.events.switch_changes(name, limit=1)
        if last and last[0].new == value and last[0].at >= day_start:
            return False
        use = await self._authority.utilization(agent_of(name))
        return not still_stands(
            cause,
            limit_nano_usd=use.limit_nano_usd,
            used_nano_usd=use.spent_nano_usd,
            velocity_nano_usd=use.velocity_nano_usd,
            alert_nano_usd=self._deps.gateway.config.velocity.alert_nano_usd,
        )

    async def _wake(self) -> int:
        """Runs look again at once; whoever is refused again waits on."""
        waiting = [
            run.id
            for run in await self._store.runs.watched()
            if (scope := run.waits_for("exhausted")) and not scope.startswith("run:")
        ]
        woken = [await signal_run(activity.client(), self._store, run_id, "wake") for run_id in waiting]
        return sum(woken)

    # -- waiting -------------------------------------------------------------------------------

    async def _until_drained(self, window: Window) -> None:
        """Until Redis says that the window is over, and nothing of it waits in the outbox."""
        deadline = time.monotonic() + DRAINED_WITHIN_SECONDS
        while not await self._is_drained(window):
            if time.monotonic() >= deadline:
                raise ApplicationError(
                    f"events of {window.id} are not on the books after {DRAINED_WITHIN_SECONDS:.0f} s",
                    type="NotDrained",
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def _is_drained(self, window: Window) -> bool:
        if await self._authority.clock_ms() < window.end_ms:
            return False
        oldest_ms = await self._authority.oldest_event_ms()
        return oldest_ms is None or oldest_ms >= window.end_ms

    async def _until_settled(self, period: Period, window: Window) -> None:
        """Until no call that the window admitted is in flight. One that takes too long is shown as held."""
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        while pending := await self._store.days.pending(period, window):
            if time.monotonic() >= deadline:
                log.warning("closing with calls in flight", window=window.id, pending=pending)
                return
            await asyncio.sleep(_POLL_SECONDS)


def _name(period: Period) -> Literal["day", "month"]:
    return "day" if period is Period.DAY else "month"


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
