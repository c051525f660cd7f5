"""`schedules:` in curb.yaml: when scheduled work is done, or that it is not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator

from worker.config_errors import Problem, suggestion
from worker.config_values import Seconds, Section, TimeOfDay

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[Weekday, ...] = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)
NAMES = (
    "daily-reset",
    "anomaly-sweep",
    "provider-health",
    "cost-report-daily",
    "cost-report-weekly",
    "reconcile",
    "retention",
)
"""What there is to be scheduled; worker.schedules says what each does."""


@dataclass(frozen=True, slots=True)
class ScheduleChange:
    """What the file says about one schedule; None keeps the default. at: seconds after midnight."""

    off: bool = False
    every_seconds: float | None = None
    at_seconds: int | None = None
    weekday: Weekday | None = None
    jitter_seconds: float | None = None
    catch_up_seconds: float | None = None


class ScheduleSection(Section):
    """`every` or `at` (in the configured zone; `on` a day of the week). jitter: begin up to that much
    later. catch_up: how late it is still begun when the server was away. Or just `off`.
    """

    off: bool = False
    every: Seconds | None = None
    at: TimeOfDay | None = None
    on: Weekday | None = None
    jitter: Seconds | None = None
    catch_up: Seconds | None = None


def _off_by_itself(written: object) -> object:
    return {"off": True} if written in ("off", False) else written


Schedule = Annotated[ScheduleSection, BeforeValidator(_off_by_itself)]
"""A mapping, or `off`."""


def schedule_changes(sections: Mapping[str, ScheduleSection]) -> dict[str, ScheduleChange]:
    """The sections as values, by name."""
    return {
        name: ScheduleChange(
            off=section.off,
            every_seconds=section.every,
            at_seconds=section.at,
            weekday=section.on,
            jitter_seconds=section.jitter,
            catch_up_seconds=section.catch_up,
        )
        for name, section in sections.items()
    }


def schedule_checks(sections: Mapping[str, ScheduleSection]) -> Iterator[Problem]:
    """Names that are none, and times that contradict each other."""
    for name, section in sections.items():
        path = ("schedules", name)
        if name not in NAMES:
            yield Problem(path, f"there is no schedule {name}{suggestion(name, NAMES)}")
        if section.every is not None and (section.at is not None or section.on is not None):
            yield Problem(path, "write `every` (a duration) or `at` (a time of day), one of them")
        if section.on is not None and section.at is None:
            yield Problem((*path, "on"), "write `at` (a time of day) too")
        if section.every is not None and not section.every >= 1:
            yield Problem((*path, "every"), "once a second is the most that can be scheduled")
        if section.catch_up is not None and section.catch_up < 10:
            yield Problem((*path, "catch_up"), "write 10s or more: Temporal knows nothing shorter")
