"""The instant that a sweep looks at, in the terms that usage is kept in: hours of UTC, accounting days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from gateway.policy.cost_thresholds import SpendPeriod
from gateway.policy.periods import Calendar
from gateway.policy.scopes import Period, Window

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant. hour: when its hour of UTC began. windows: ids of the present hour, day and month.

    days: complete accounting days before today, the newest first, each with the hour that lies in it
    where the present hour lies in today. late: the instant is past by so much that usage_hours may
    hold what came after it.
    """

    now: datetime
    hour: datetime
    today: date
    month_begins: date
    windows: Mapping[SpendPeriod, str]
    days: Mapping[date, datetime]
    late: bool = False


def moment(calendar: Calendar, now: datetime, *, days: int, late: bool = False) -> Moment:
    """now: aware. days: how many days before today are looked at."""
    now_ms = (now - _EPOCH) // timedelta(milliseconds=1)
    today = calendar.windows(Period.DAY, now_ms)[1]
    month = calendar.windows(Period.MONTH, now_ms)[1]
    hour = _full_hour(now.astimezone(UTC))
    into = hour - _first_hour(today)
    before = calendar.ended(Period.DAY, now_ms, limit=days)
    return Moment(
        now=now,
        hour=hour,
        today=date.fromisoformat(today.id),
        month_begins=date.fromisoformat(f"{month.id}-01"),
        windows={"hour": f"{hour:%Y-%m-%dT%H}:00Z", "day": today.id, "month": month.id},
        days={date.fromisoformat(day.id): _first_hour(day) + into for day in reversed(before)},
        late=late,
    )


def _first_hour(window: Window) -> datetime:
    return _full_hour(_EPOCH + timedelta(milliseconds=window.start_ms))


def _full_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
