"""What is done on a schedule, and when: computed from the configuration alone.

worker.temporal_schedules brings Temporal to what is wanted here.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from worker.config import Config
from worker.config_schedules import WEEKDAYS, ScheduleChange, Weekday

DAY_SECONDS = 86_400
_HOUR = 3_600.0
_FORM = 1  # of what is written to Temporal; a higher one makes every schedule be written again
_NOTES = {
    "daily-reset": (
        "Closes the accounting day: compares counters with the ledger, keeps what every budget came to, and "
        "lifts what curb switched for the day. Budgets are fresh from the new day's first second without it."
    ),
    "anomaly-sweep": (
        "Looks for what is strange: costs that jump, calls that fail, models that slow down. Raises alerts, "
        "and does what is configured for them."
    ),
    "provider-health": (
        "Asks every provider whether it is there. Switches off who is not, and lifts only what curb itself "
        "has set."
    ),
    "cost-report-daily": (
        "Makes the report of the day that is over, keeps it and sends it to the channels for reports."
    ),
    "cost-report-weekly": (
        "Makes the report of the week that is over, keeps it and sends it to the channels for reports."
    ),
    "reconcile": (
        "Settles what is in doubt by what the providers report, and compares counters, ledger and their "
        "usage. Differences alert."
    ),
    "retention": (
        "Removes what was kept long enough, class by class, in small batches. Ledger, audit and reports stay."
    ),
}


@dataclass(frozen=True, slots=True)
class Every:
    """At the multiples of so many seconds."""

    seconds: float

    @property
    def words(self) -> str:
        named = {60.0: "every minute", 3_600.0: "every hour", 86_400.0: "every 24 hours"}
        return named.get(self.seconds) or f"every {duration_words(self.seconds)}"

    @property
    def shortest_gap_seconds(self) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class At:
    """Every day, or on one day of the week, at a time of the zone: seconds after midnight."""

    seconds: int
    zone: str
    weekday: Weekday | None = None

    @property
    def words(self) -> str:
        day = f"every {self.weekday.capitalize()}" if self.weekday else "every day"
        return f"{day} at {self.time_of_day:%H:%M:%S}".removesuffix(":00") + f" ({self.zone})"

    @property
    def shortest_gap_seconds(self) -> float:
        return 20 * _HOUR  # a day with a change of the clock, at least

    @property
    def time_of_day(self) -> time:
        minutes, second = divmod(self.seconds, 60)
        return time(*divmod(minutes, 60), second)


When = Every | At


@dataclass(frozen=True, slots=True)
class WantedSchedule:
    """One piece of scheduled work. argument: what its workflow is given.

    note: what it does, for the Temporal UI. catch_up: how late it is begun when Temporal was away.
    timeout: when an execution is given up.
    """

    name: str
    workflow: str
    when: When
    note: str
    catch_up_seconds: float
    timeout_seconds: float
    jitter_seconds: float = 0.0
    argument: Mapping[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """When it is done, for people."""
        late = f", up to {duration_words(self.jitter_seconds)} later" if self.jitter_seconds else ""
        return self.when.words + late

    @property
    def digest(self) -> str:
        """The same for two that are the same in everything."""
        text = json.dumps([_FORM, type(self.when).__name__, asdict(self)], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def starts(self, after: datetime, until: datetime, *, limit: int) -> list[datetime]:
        """The times it is due with after <= t <= until, in UTC, oldest first; `limit` + 1 of them at most."""
        if isinstance(self.when, Every):
            return _multiples(self.when.seconds, after, until, limit + 1)
        return _times_of_day(self.when, after, until, limit + 1)


def wanted_schedules(config: Config) -> tuple[WantedSchedule, ...]:
    """Everything that is to be scheduled under this configuration."""
    zone = config.gateway.timezone
    found = (_changed(each, config.schedules.get(each.name), zone) for each in _defaults(config))
    return tuple(each for each in found if each is not None)


def _defaults(config: Config) -> tuple[WantedSchedule, ...]:
    """DESIGN 5 and REQUIREMENTS 7. Catch-up windows are shorter than the time to the next start."""
    day = At(config.gateway.day_start_seconds, config.gateway.timezone)
    week = replace(day, weekday="monday")
    night = replace(day, seconds=12_600)
    return (
        _work("daily-reset", "DailyReset", day, catch_up=12 * _HOUR, timeout=20 * _HOUR),
        _work("anomaly-sweep", "AnomalySweep", Every(60), catch_up=60, timeout=600, jitter=5),
        _work(
            "provider-health", "ProviderHealth", Every(config.health.slot_seconds), catch_up=30, timeout=300
        ),
        _work(
            "cost-report-daily", "CostReport", _after(day, 600), catch_up=12 * _HOUR, timeout=12 * _HOUR,
            argument={"kind": "daily"},
        ),
        _work(
            "cost-report-weekly", "CostReport", _after(week, 1_200), catch_up=72 * _HOUR, timeout=24 * _HOUR,
            argument={"kind": "weekly"},
        ),
        _work("reconcile", "Reconcile", Every(_HOUR), catch_up=1_800, timeout=3 * _HOUR, jitter=300),
        _work("retention", "Retention", night, catch_up=6 * _HOUR, timeout=12 * _HOUR, jitter=300),
    )  # fmt: skip


def _work(
    name: str,
    workflow: str,
    when: When,
    *,
    catch_up: float,
    timeout: float,
    jitter: float = 0.0,
    argument: Mapping[str, Any] | None = None,
) -> WantedSchedule:
    return WantedSchedule(name, workflow, when, _NOTES[name], catch_up, timeout, jitter, argument or {})


def _changed(wanted: WantedSchedule, change: ScheduleChange | None, zone: str) -> WantedSchedule | None:
    """What the file makes of a default; None: it is off."""
    if change is None:
        return wanted
    if change.off:
        return None
    when = wanted.when
    if change.every_seconds is not None:
        when = Every(change.every_seconds)
    elif change.at_seconds is not None:
        same_day = when.weekday if isinstance(when, At) else None
        when = At(change.at_seconds, zone, change.weekday or same_day)
    jitter = wanted.jitter_seconds if change.jitter_seconds is None else change.jitter_seconds
    if isinstance(when, Every) and change.jitter_seconds is None:
        jitter = min(jitter, when.seconds / 10)
    catch_up = wanted.catch_up_seconds if change.catch_up_seconds is None else change.catch_up_seconds
    return replace(wanted, when=when, jitter_seconds=jitter, catch_up_seconds=catch_up)


def _after(at: At, seconds: int) -> At:
    """So much later, perhaps on the next day."""
    days, rest = divmod(at.seconds + seconds, DAY_SECONDS)
    day = WEEKDAYS[(WEEKDAYS.index(at.weekday) + days) % 7] if at.weekday else None
    return At(rest, at.zone, day)


def _multiples(seconds: float, after: datetime, until: datetime, limit: int) -> list[datetime]:
    step = timedelta(seconds=seconds)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    first = -((epoch - after) // step)  # rounded up
    last = (until - epoch) // step
    return [epoch + number * step for number in range(first, min(last, first + limit - 1) + 1)]


def _times_of_day(at: At, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """As Temporal has it: a time that a clock change skips is not due, one that it repeats at the second."""
    zone = ZoneInfo(at.zone)
    day, last = after.astimezone(zone).date(), until.astimezone(zone).date()
    found: list[datetime] = []
    while day <= last and len(found) < limit:
        local = datetime.combine(day, at.time_of_day, zone).replace(fold=1)
        moment = local.astimezone(UTC)
        is_day = at.weekday is None or WEEKDAYS[day.weekday()] == at.weekday
        if is_day and after <= moment <= until and moment.astimezone(zone).time() == local.time():
            found.append(moment)
        day += timedelta(days=1)
    return found


def duration_words(seconds: float) -> str:
    """`90 s`, `5 min`, `12 h`, `3 days`: whole units where it is whole."""
    for size, unit in ((DAY_SECONDS, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"
