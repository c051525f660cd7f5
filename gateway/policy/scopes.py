"""Scopes: what a budget counts, for how long, and under which name it is counted.

A counter is one scope in one window of its period, for example `agent:coder|day|2026-11-21`.
The window's identity is part of the name, so a reset never wipes anything: the next day is
another counter.
"""

from dataclasses import dataclass
from enum import StrEnum


class ScopeKind(StrEnum):
    """What a budget can count."""

    RUN = "run"
    AGENT = "agent"
    TIER = "tier"
    MODEL = "model"
    PROVIDER = "provider"
    TEAM = "team"
    USER = "user"
    KEY = "key"
    GLOBAL = "global"


class Period(StrEnum):
    """For how long a budget counts."""

    RUN = "run"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """A thing with a budget: `agent:coder`, `run:7f..`, `global`."""

    kind: ScopeKind
    id: str = ""

    def __str__(self) -> str:
        return self.kind.value if self.kind is ScopeKind.GLOBAL else f"{self.kind.value}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Scope":
        """Read `kind:id` or `global`; raises ValueError that names the kinds."""
        kind, _, name = text.partition(":")
        try:
            scope = cls(ScopeKind(kind), name)
        except ValueError:
            raise ValueError(
                f"scope {text!r}: write global, or one of "
                f"{', '.join(k.value for k in ScopeKind if k is not ScopeKind.GLOBAL)} then ':' and a name"
            ) from None
        if (scope.kind is ScopeKind.GLOBAL) == bool(name):
            raise ValueError(f"scope {text!r}: global takes no name, every other kind needs one")
        return scope


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of a period, half open: start <= t < end, in Unix milliseconds.

    `id` names it for ever: `run`, `2026-11-21`, `2026-11`. A run's window has end 0: no end.
    """

    id: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One scope and period that an admission is checked against and charged to.

    windows: the candidate windows around now; the authority picks the one that holds its own
    clock. default_limit_nano_usd: the limit where the authority knows none of just this scope (a
    run's launch budget); it wins over a wildcard's. None and no wildcard means unlimited. soft: a
    refusal here means "take a cheaper tier", not "no". alert_only: pass in any case and raise
    an alert (the tier `quick`).
    """

    scope: Scope
    period: Period
    windows: tuple[Window, ...]
    default_limit_nano_usd: int | None = None
    soft: bool = False
    alert_only: bool = False


def counter_name(scope: Scope, period: Period, window_id: str) -> str:
    """The name a counter has in Redis, in reservations and in `curb ledger verify`."""
    return f"{scope}|{period.value}|{window_id}"
