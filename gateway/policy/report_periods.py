"""The periods that reports are about: an accounting day, or a week of them from Monday to Sunday."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from gateway.policy.periods import Calendar
from gateway.policy.scopes import Period, Window

ReportKind = Literal["daily", "weekly"]

_WEEK = 7


class NoSuchDay(ValueError):
    """The zone skipped this date."""


@dataclass(frozen=True, slots=True)
class ReportPeriod:
    """One or seven accounting days that touch. name: 2026-11-21, or 2026-W47 (ISO 8601)."""

    kind: ReportKind
    name: str
    days: tuple[Window, ...]

    @property
    def first_day(self) -> date:
        return date.fromisoformat(self.days[0].id)

    @property
    def last_day(self) -> date:
        return date.fromisoformat(self.days[-1].id)

    @property
    def starts_ms(self) -> int:
        """Unix milliseconds."""
        return self.days[0].start_ms

    @property
    def ends_ms(self) -> int:
        """Unix milliseconds; the first instant after the period."""
        return self.days[-1].end_ms


def holding(kind: ReportKind, calendar: Calendar, day: date) -> ReportPeriod:
    """The period that an accounting day lies in. Raises NoSuchDay."""
    if kind == "daily":
        return ReportPeriod("daily", day.isoformat(), (day_window(calendar, day),))
    monday = day - timedelta(days=day.weekday())
    found = tuple(
        window
        for step in range(_WEEK)
        if (window := _find(calendar, monday + timedelta(days=step))) is not None
    )
    year, week, _ = monday.isocalendar()
    return ReportPeriod("weekly", f"{year}-W{week:02d}", found)


def last_complete(kind: ReportKind, calendar: Calendar, at_ms: int) -> ReportPeriod:
    """The last period that was over at an instant (Unix milliseconds)."""
    before, today, _ = calendar.windows(Period.DAY, at_ms)
    if kind == "daily":
        return ReportPeriod("daily", before.id, (before,))
    return holding("weekly", calendar, date.fromisoformat(today.id) - timedelta(days=_WEEK))


def running(kind: ReportKind, calendar: Calendar, at_ms: int) -> ReportPeriod:
    """The period that goes on at an instant (Unix milliseconds)."""
    return holding(kind, calendar, date.fromisoformat(calendar.windows(Period.DAY, at_ms)[1].id))


def before(period: ReportPeriod, calendar: Calendar) -> ReportPeriod:
    """The period right before another."""
    return last_complete(period.kind, calendar, period.starts_ms)


def day_window(calendar: Calendar, day: date) -> Window:
    """The window of an accounting day. Raises NoSuchDay."""
    found = _find(calendar, day)
    if found is None:
        raise NoSuchDay(f"{day} did not happen in {calendar.zone}")
    return found


def _find(calendar: Calendar, day: date) -> Window | None:
    window = calendar.window_on(Period.DAY, day)
    return window if window.end_ms > window.start_ms else None
