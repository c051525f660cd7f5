"""How long what is kept (REQUIREMENTS 12; docs/decisions/010-retention.md says why).

The ledger, the audit log, reports, closed days with their budgets, and policy versions are kept for
ever: there is no class for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class DataClass:
    """One kind of data. keep_days: None is for ever. floor_days: less would take away what is needed,
    for what `floor_why` says.
    """

    name: str
    what: str
    keep_days: float | None
    floor_days: float = 0.0
    floor_why: str = ""


_MONTHS = "the counters of this month and the last are computed again from them"

CLASSES: tuple[DataClass, ...] = (
    DataClass("conversations", "prompts, answers and tool results of runs that have ended", 90),
    DataClass(
        "attempts", "all but the account of attempts; those that cost nothing go whole", 90, 70, _MONTHS
    ),
    DataClass("run_events", "escalations, approvals and shadow actions of runs that have ended", 90),
    DataClass("runs", "the record of runs that have ended", 365, 40, "Redis is loaded again from them"),
    DataClass(
        "alerts", "events, alerts that are resolved, what was told to whom", 365, 2, "people are still told"
    ),
    DataClass("switch_events", "changes of switches, but for the last of each switch", 365),
    DataClass("top_ups", "top-ups of windows and runs that are over", 365, 70, _MONTHS),
    DataClass("dead_events", "events that could not be booked", None),
    DataClass("probes", "looks at providers", 30),
    DataClass("usage", "usage by hour, by user, and latencies", 365, 35, "a report compares two months"),
    DataClass(
        "reconciliations", "what was compared with the providers' usage", 365, 7, "a week is looked back on"
    ),
    DataClass("violations", "refusals by rate limits, with their addresses", 90),
    DataClass("traces", "what could not be told to whoever keeps traces", 90),
    DataClass("files", "files of batches, with their prompts and answers; batches that have ended", 30),
    DataClass("scheduled_work", "which scheduled work was done when", 90, 2, "work must not be done twice"),
)
BY_NAME: Mapping[str, DataClass] = {each.name: each for each in CLASSES}
ALWAYS = ("http_answers", "housekeeping")
"""Classes without a choice: answers for idempotency keys and of the cache whose time is over, and what is
left of processes and epochs that are gone."""


def _defaults() -> dict[str, float | None]:
    return {each.name: None if each.keep_days is None else each.keep_days * DAY_SECONDS for each in CLASSES}


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """keep_seconds: by class; None is for ever."""

    keep_seconds: Mapping[str, float | None] = field(default_factory=_defaults)

    def before(self, at: datetime) -> dict[str, datetime]:
        """By class, the time before which data may go; classes that are kept for ever are left out."""
        cut = {
            name: at - timedelta(seconds=seconds)
            for name, seconds in self.keep_seconds.items()
            if seconds is not None
        }
        return cut | dict.fromkeys(ALWAYS, at)
