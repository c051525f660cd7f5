"""The part of a report that looks ahead: what the month will have cost, against its budgets. Pure."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

from activities.reports.document import Outlook, Point
from gateway.policy.forecast import DAYS, RunningDay, forecast
from gateway.policy.scopes import Period
from gateway.store import Limits

_KINDS = ("agent", "team")
Days = Mapping[str, Mapping[date, int]]
"""What each day came to in nano-dollars, by scope; days without any are left out."""


def month_start(day: date) -> date:
    return day.replace(day=1)


def first_day_needed(last_day: date) -> date:
    """The first day that the outlook at the end of `last_day` looks at."""
    return min(month_start(last_day), last_day - timedelta(days=DAYS))


def outlooks(
    days: Days,
    limits: Limits,
    topped_nano_usd: Mapping[str, int],
    *,
    last_day: date,
    elapsed: float | None = None,
) -> tuple[Outlook, ...]:
    """The outlook of everything, then of each agent and team that has a monthly budget.

    last_day: the last day with spend in it; elapsed: which share of it has passed, None when all.
    topped_nano_usd: by counter. Nothing while there is no complete day to tell from.
    """
    scopes = {"global": None, **dict.fromkeys(_budgeted(days, limits))}
    made = (
        _outlook(
            scope, days.get(scope, {}), _limit(scope, limits, topped_nano_usd, last_day), last_day, elapsed
        )
        for scope in scopes
    )
    return tuple(each for each in made if each is not None)


def counters(days: Days, last_day: date) -> list[str]:
    """The counters whose top-ups `outlooks` wants to know."""
    return [_counter(scope, last_day) for scope in ("global", *days)]


def _budgeted(days: Days, limits: Limits) -> Iterator[str]:
    for scope in sorted(days):
        if scope.partition(":")[0] in _KINDS and _plain_limit(scope, limits) is not None:
            yield scope


def _plain_limit(scope: str, limits: Limits) -> int | None:
    kind, _, name = scope.partition(":")
    own = limits.get((scope, Period.MONTH))
    return limits.get((f"{kind}:*", Period.MONTH)) if own is None and name else own


def _limit(scope: str, limits: Limits, topped: Mapping[str, int], day: date) -> int | None:
    plain = _plain_limit(scope, limits)
    return None if plain is None else plain + topped.get(_counter(scope, day), 0)


def _counter(scope: str, day: date) -> str:
    return f"{scope}|{Period.MONTH}|{day.isoformat()[:7]}"


def _outlook(
    scope: str, spent: Mapping[date, int], limit: int | None, last_day: date, elapsed: float | None
) -> Outlook | None:
    first = month_start(last_day)
    days_to_come = (month_start(first + timedelta(days=32)) - last_day).days - 1
    so_far = sum(amount for day, amount in spent.items() if first <= day <= last_day)
    running = None if elapsed is None else RunningDay(elapsed, spent.get(last_day, 0))
    complete = last_day if running is None else last_day - timedelta(days=1)
    made = forecast(
        _recent(spent, complete), spent_nano_usd=so_far, days_to_come=days_to_come, running=running
    )
    if made is None:
        return None
    return Outlook(
        scope=scope,
        month=first.isoformat()[:7],
        days_to_come=days_to_come,
        spent_nano_usd=so_far,
        expected_nano_usd=made.expected_nano_usd,
        low_nano_usd=made.low_nano_usd,
        high_nano_usd=made.high_nano_usd,
        limit_nano_usd=limit,
        days=tuple(_days(spent, first, last_day)) if scope == "global" else (),
    )


def _days(spent: Mapping[date, int], first: date, last: date) -> Iterator[Point]:
    for step in range((last - first).days + 1):
        day = first + timedelta(days=step)
        yield Point(name=day.isoformat(), cost_nano_usd=spent.get(day, 0))


def _recent(spent: Mapping[date, int], complete: date) -> list[int]:
    """The last complete days, none from before the first spend that is known."""
    known = [day for day in spent if day <= complete]
    if not known:
        return []
    first = max(min(known), complete - timedelta(days=DAYS - 1))
    return [spent.get(first + timedelta(days=step), 0) for step in range((complete - first).days + 1)]
