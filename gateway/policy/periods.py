"""Accounting periods: the windows of a day and a month in a zone, safe across clock changes.

An accounting day begins `day_start_seconds` after local midnight and is named by the local date
on which it begins; an accounting month begins with the accounting day of its first. A boundary
that falls into the hour that a clock change skips is read by the clock before the change; one
that falls into the repeated hour lies in its first pass. So windows touch, never overlap, and are
as long as the local day really is (23 to 25 hours, and 0 where a zone skipped a whole date).
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from gateway.policy.scopes import Period, Window

SECONDS_PER_DAY = 86_400

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RUN = (Window("run", 0, 0),)


def windows(period: Period, now_ms: int, zone: ZoneInfo, day_start_seconds: int = 0) -> tuple[Window, ...]:
    """Return the previous, the current and the next window of a period; a run has only one.

    now_ms: Unix milliseconds. day_start_seconds: 0 to 86399. Raises ValueError outside of that.
    """
    if not 0 <= day_start_seconds < SECONDS_PER_DAY:
        raise ValueError(f"day_start_seconds {day_start_seconds}: 0 to {SECONDS_PER_DAY - 1} are possible")
    if period is Period.RUN:
        return _RUN
    clock = _Clock(period, zone, day_start_seconds)
    current = clock.holding(now_ms)
    return clock.beside(current, -1), clock.window(current), clock.beside(current, 1)


def reset_ms(period: Period, now_ms: int, zone: ZoneInfo, day_start_seconds: int = 0) -> int | None:
    """When the current window ends, in Unix milliseconds; None for a run, which nothing resets."""
    if period is Period.RUN:
        return None
    return windows(period, now_ms, zone, day_start_seconds)[1].end_ms


def ended(
    period: Period, at_ms: int, zone: ZoneInfo, day_start_seconds: int = 0, *, limit: int
) -> tuple[Window, ...]:
    """Return the last windows of a period that ended at or before an instant, the oldest first."""
    if period is Period.RUN:
        return ()
    found: list[Window] = []
    start_ms = windows(period, at_ms, zone, day_start_seconds)[1].start_ms
    for _ in range(limit):
        found.append(windows(period, start_ms - 1, zone, day_start_seconds)[1])
        start_ms = found[-1].start_ms
    return tuple(reversed(found))


def window_on(period: Period, day: date, zone: ZoneInfo, day_start_seconds: int = 0) -> Window:
    """Return the accounting day of this date, or the accounting month that it is in."""
    if period is Period.RUN:
        return _RUN[0]
    first = day if period is Period.DAY else day.replace(day=1)
    return _Clock(period, zone, day_start_seconds).window(first)


@dataclass(slots=True)
class Calendar:
    """The periods of one zone, which remembers the windows it computed last.

    Asked on every model call, and the answer changes once a day.
    """

    zone: ZoneInfo
    day_start_seconds: int = 0
    _last: dict[Period, tuple[Window, ...]] = field(default_factory=dict, repr=False, compare=False)

    def windows(self, period: Period, now_ms: int) -> tuple[Window, ...]:
        """Return the same as the function `windows`."""
        if period is Period.RUN:
            return _RUN
        last = self._last.get(period)
        if last is None or not last[1].start_ms <= now_ms < last[1].end_ms:
            last = self._last[period] = windows(period, now_ms, self.zone, self.day_start_seconds)
        return last

    def reset_ms(self, period: Period, now_ms: int) -> int | None:
        """Return when the current window ends, in Unix milliseconds; None for a run."""
        return None if period is Period.RUN else self.windows(period, now_ms)[1].end_ms

    def ended(self, period: Period, at_ms: int, *, limit: int) -> tuple[Window, ...]:
        """Return the same as the function `ended`."""
        return ended(period, at_ms, self.zone, self.day_start_seconds, limit=limit)

    def window_on(self, period: Period, day: date) -> Window:
        """Return the same as the function `window_on`."""
        return window_on(period, day, self.zone, self.day_start_seconds)


@dataclass(frozen=True, slots=True)
class _Clock:
    """Windows of one period by the date on which they begin."""

    period: Period
    zone: ZoneInfo
    day_start_seconds: int

    def holding(self, now_ms: int) -> date:
        """Find the first date of the window that holds an instant."""
        local = (_EPOCH + now_ms * _MILLISECOND).astimezone(self.zone)
        first = self._first((local - timedelta(seconds=self.day_start_seconds)).date())
        while self._start_ms(first) > now_ms:
            first = self._shift(first, -1)
        while self._start_ms(self._shift(first, 1)) <= now_ms:
            first = self._shift(first, 1)
        return first

    def beside(self, first: date, step: int) -> Window:
        """Return the nearest neighbour that has any length (Samoa had no 30 December in 2011)."""
        window = self.window(first := self._shift(first, step))
        return window if window.end_ms > window.start_ms else self.window(self._shift(first, step))

    def window(self, first: date) -> Window:
        name = first.isoformat() if self.period is Period.DAY else first.isoformat()[:7]
        return Window(name, self._start_ms(first), self._start_ms(self._shift(first, 1)))

    def _first(self, day: date) -> date:
        return day if self.period is Period.DAY else day.replace(day=1)

    def _shift(self, first: date, step: int) -> date:
        if self.period is Period.DAY:
            return first + timedelta(days=step)
        return (first + timedelta(days=32 if step > 0 else -1)).replace(day=1)

    def _start_ms(self, day: date) -> int:
        minutes, second = divmod(self.day_start_seconds, 60)
        start = time(*divmod(minutes, 60), second)
        return (datetime.combine(day, start, self.zone) - _EPOCH) // _MILLISECOND
