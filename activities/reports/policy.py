"""How reports are made and to whom they go; read from curb.yaml (worker/config_reports.py)."""

from collections.abc import Collection
from dataclasses import dataclass

from gateway.policy.report_periods import ReportKind

USUAL_CHANNELS = ("email", "slack")


@dataclass(frozen=True, slots=True)
class ReportPolicy:
    """channels: None is the usual ones, as far as they are configured. top: names per table."""

    daily: tuple[str, ...] | None = None
    weekly: tuple[str, ...] | None = None
    top: int = 10

    def channels(self, kind: ReportKind, configured: Collection[str]) -> tuple[str, ...]:
        """Where a report goes."""
        named = self.daily if kind == "daily" else self.weekly
        if named is not None:
            return tuple(dict.fromkeys(named))
        return tuple(name for name in USUAL_CHANNELS if name in configured)
