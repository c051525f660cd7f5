"""Closing a day or a month: counters = ledger, and what every budget came to, kept for ever.

Nothing waits for it: the next window has counters of its own from its first moment. A window is
closed once; one that is closed before its end (preliminary) is replaced by its real closing. What
is settled or corrected later is in the ledger under the day that admitted it, and not in the snapshot.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import structlog

from gateway.errors import ConfigurationError
from gateway.policy.periods import Calendar
from gateway.policy.scopes import Period, Window
from gateway.reconcile import Difference, compare_window
from gateway.state.authority import Authority, BudgetState
from gateway.store import Limits, Store
from gateway.store.days import BudgetSnapshot, WindowSum, suffix

DAYS_BACK = 35
MONTHS_BACK = 2
SHOWN_DIFFERENCES = 20

_log = structlog.get_logger("gateway.closing")


@dataclass(frozen=True, slots=True)
class Closing:
    """How a window was closed. new: by this very call. spent: of everything, in nano-dollars.

    verified: whether the counters were compared; not while the window goes on, and not one of long ago.
    """

    period: Period
    window: Window
    preliminary: bool
    new: bool
    scopes: int
    spent_nano_usd: int
    verified: bool
    differences: int


async def close_day(
    authority: Authority, store: Store, calendar: Calendar, day: date, *, preliminary: bool = False
) -> Closing:
    """Close one accounting day; see `close_window`."""
    return await close_window(
        authority, store, calendar, Period.DAY, calendar.window_on(Period.DAY, day), preliminary=preliminary
    )


async def close_window(
    authority: Authority,
    store: Store,
    calendar: Calendar,
    period: Period,
    window: Window,
    *,
    preliminary: bool = False,
) -> Closing:
    """Compare the counters of a day or month with the books, and keep a snapshot of its budgets.

    A window that is closed stays as it is, unless it was preliminary. preliminary: allowed before the
    window's end. Differences raise the alert `counters_differ`, once per window. Raises
    ConfigurationError for a real closing before the end, StateUnavailable, StoreUnavailable.
    """
    now_ms = await authority.clock_ms()
    if window.start_ms > now_ms or (window.end_ms > now_ms and not preliminary):
        raise ConfigurationError(f"{period.value} {window.id} is not over; it can be closed preliminarily")
    preliminary = preliminary and window.end_ms > now_ms
    before = await store.days.closed(period, window.id)
    if before is not None and not before.preliminary:
        budgets = await store.days.budgets(period, window.id)
        return Closing(
            period,
            window,
            False,
            False,
            len(budgets),
            before.spent_nano_usd,
            before.verified,
            before.differences,
        )
    return await _close(_Window(authority, store, calendar, period, window), now_ms, preliminary=preliminary)


async def windows_to_close(store: Store, calendar: Calendar, at_ms: int) -> list[tuple[Period, Window]]:
    """Days and months that had ended at an instant and are not closed yet, the oldest first.

    The last 35 days and 2 months are looked at, from the first on which anything was booked or closed.
    """
    days = calendar.ended(Period.DAY, at_ms, limit=DAYS_BACK)
    first = await _first_with_anything(store, days)
    found = [(Period.DAY, day) for day in days if day.start_ms >= first]
    months = calendar.ended(Period.MONTH, at_ms, limit=MONTHS_BACK)
    found += [(Period.MONTH, month) for month in months if month.end_ms > first]
    closed = {
        (period, each.window_id)
        for period, among in ((Period.DAY, days), (Period.MONTH, months))
        for each in await store.days.closed_among(period, [window.id for window in among])
        if not each.preliminary
    }
    return [(period, window) for period, window in found if (period, window.id) not in closed]


@dataclass(frozen=True, slots=True)
class _Window:
    """A window and where its numbers are."""

    authority: Authority
    store: Store
    calendar: Calendar
    period: Period
    window: Window

    def can_be_compared(self, now_ms: int) -> bool:
        """While it goes on the books are always a little behind Redis; and a rebuild loads the windows
        since the first of last month only.
        """
        loaded_from_ms = self.calendar.windows(Period.MONTH, now_ms)[0].start_ms
        return self.window.end_ms <= now_ms and self.window.start_ms >= loaded_from_ms


async def _first_with_anything(store: Store, days: Sequence[Window]) -> int:
    """The start of the first of these days that was booked on or closed; of the last one without any."""
    booked = {day.isoformat() for day in await store.days.booked_among([_date(day) for day in days])}
    closed = {each.window_id for each in await store.days.closed_among(Period.DAY, [day.id for day in days])}
    return next((day.start_ms for day in days if day.id in booked | closed), days[-1].start_ms)


async def _close(given: _Window, now_ms: int, *, preliminary: bool) -> Closing:
    began = time.monotonic()
    period, window, store = given.period, given.window, given.store
    verified = given.can_be_compared(now_ms)
    if verified:
        sums, differences = await compare_window(given.authority, store, period, window)
        await _tell(store, period, window, differences)
    else:
        sums, differences = await store.days.sums(period, window), []
    states = await given.authority.budgets(suffix(period, window))
    _, limits = await store.budgets.current_limits()
    budgets = snapshots(period, window, sums, states, limits)
    spent = next((each.spent_nano_usd for each in budgets if each.scope == "global"), 0)
    new = await store.days.close(
        period,
        window,
        budgets,
        spent_nano_usd=spent,
        verified=verified,
        differences=len(differences),
        preliminary=preliminary,
    )
    _log.info(
        "closed", period=period.value, window=window.id, preliminary=preliminary, new=new,
        scopes=len(budgets), differences=len(differences), seconds=round(time.monotonic() - began, 3),
    )  # fmt: skip
    return Closing(period, window, preliminary, new, len(budgets), spent, verified, len(differences))


async def _tell(store: Store, period: Period, window: Window, differences: Sequence[Difference]) -> None:
    if not differences:
        return
    rows = [
        {
            "counter": each.subject,
            "what": each.note,
            "ledger_nano_usd": each.ledger_nano_usd,
            "counter_nano_usd": each.other_nano_usd,
        }
        for each in differences[:SHOWN_DIFFERENCES]
    ]
    evidence = {"period": period.value, "window": window.id, "differences": len(differences), "rows": rows}
    _log.error("counters differ from the ledger", **evidence)
    key = f"counters_differ:{period.value}:{window.id}"
    await store.events.alert("counters_differ", "global", evidence, key=key, severity="critical")


def snapshots(
    period: Period,
    window: Window,
    sums: Sequence[WindowSum],
    states: Sequence[BudgetState],
    limits: Limits,
) -> list[BudgetSnapshot]:
    """What every budget of a window came to: what was spent by the books, the limit as Redis knows it.

    Budgets on which nothing was spent are there too, where their limit is of just their scope.
    """
    ends = suffix(period, window)
    known = {state.counter: state for state in states}
    named = {f"{scope}{ends}" for scope, each in limits if each is period and not scope.endswith(":*")}
    by_counter = {each.counter: each for each in sums}
    return [
        _snapshot(
            counter.removesuffix(ends),
            by_counter.get(counter) or WindowSum(counter),
            _limit(counter, period, by_counter.get(counter) or WindowSum(counter), known, limits),
        )
        for counter in sorted({*by_counter, *known, *named})
    ]


def _limit(
    counter: str,
    period: Period,
    booked: WindowSum,
    known: Mapping[str, BudgetState],
    limits: Limits,
) -> int | None:
    """As Redis has it, which knows the limits that came with calls it allowed; else as the table of limits
    has it, or a refusal.
    """
    if counter in known and known[counter].limit_nano_usd is not None:
        return known[counter].limit_nano_usd
    scope = counter.rsplit("|", 2)[0]
    limit = limits.get((scope, period), limits.get((f"{scope.partition(':')[0]}:*", period)))
    return booked.told_limit_nano_usd if limit is None else limit + booked.topped_nano_usd


def _snapshot(scope: str, booked: WindowSum, limit: int | None) -> BudgetSnapshot:
    return BudgetSnapshot(
        scope=scope,
        limit_nano_usd=limit,
        topped_nano_usd=booked.topped_nano_usd,
        spent_nano_usd=booked.spent_nano_usd,
        held_nano_usd=booked.held_nano_usd,
        in_doubt_nano_usd=booked.in_doubt_nano_usd,
        overrun_nano_usd=0 if limit is None else max(0, booked.spent_nano_usd - limit),
        refusals=booked.refusals,
    )


def _date(day: Window) -> date:
    return date.fromisoformat(day.id)


__all__ = ["Closing", "close_day", "close_window", "snapshots", "windows_to_close"]
