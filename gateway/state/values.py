"""What goes into the budget authority and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.calls import BudgetLeft
from gateway.events import Opened
from gateway.policy.rate_limits import InFlightLine, RateLine
from gateway.policy.scopes import BudgetLine, Period

LeaseState = Literal["held", "in_doubt", "fenced", "closed"]
CloseResult = Literal["applied", "already", "unknown", "refused"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What one attempt asks for.

    opened: `attempt_id` and `counters` are filled in by the authority; `number` is how many
    attempts of this call the caller knows of already (0: ask the authority alone).
    downgrade_at_ratio: refuse with PRESSURE once the agent's day is used this far; None: never.
    daily_switch: whether the agent is switched off for the rest of the day at 100 %. rates, in_flight:
    how often, and how much at once. circuit: whether the deployment's breaker is looked at. hold_seconds:
    of work that its provider does in its own time: so long nobody renews the lease, and it is no call in
    flight; None: the configured lease.
    """

    opened: Opened
    lines: tuple[BudgetLine, ...]
    downgrade_at_ratio: float | None = None
    daily_switch: bool = True
    rates: tuple[RateLine, ...] = ()
    in_flight: tuple[InFlightLine, ...] = ()
    circuit: bool = True
    hold_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money held for one attempt.

    lease_until: time.monotonic() after which the owner must not send. alerts: scopes of
    alert-only lines that this attempt went over. watched: the deployment's breaker wants to know how
    it ends. left: of the hard budget that has least left while this is held; None where there is none.
    """

    attempt_id: str
    number: int
    opened: Opened
    counters: tuple[str, ...]
    day: str
    asked_nano_usd: int
    lease_until: float
    alerts: tuple[str, ...] = ()
    watched: bool = False
    left: BudgetLeft | None = None


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """What Redis says of itself. limit_bytes 0: no limit. evicted_keys: since it began."""

    used_bytes: int
    limit_bytes: int
    evicted_keys: int
    connections: int


@dataclass(frozen=True, slots=True)
class BudgetState:
    """One counter, all numbers of one instant. limit None: unlimited. ends_ms 0: no end."""

    counter: str
    scope: str
    period: Period
    window: str
    limit_nano_usd: int | None
    spent_nano_usd: int
    held_nano_usd: int
    in_doubt_nano_usd: int
    topped_nano_usd: int = 0
    ends_ms: int = 0

    @property
    def left_nano_usd(self) -> int | None:
        """What can still be held; never below zero; None where there is no limit."""
        if self.limit_nano_usd is None:
            return None
        used = self.spent_nano_usd + self.held_nano_usd + self.in_doubt_nano_usd
        return max(0, self.limit_nano_usd - used)


@dataclass(frozen=True, slots=True)
class AgentUse:
    """How much of its day an agent has used, and what it spent in the last velocity window."""

    agent: str
    limit_nano_usd: int | None
    spent_nano_usd: int
    held_nano_usd: int
    in_doubt_nano_usd: int
    velocity_nano_usd: int
    velocity_window_seconds: int

    @property
    def ratio(self) -> float:
        """Used part of the limit, 0 without a limit. For people and metrics, not for decisions."""
        used = self.spent_nano_usd + self.held_nano_usd + self.in_doubt_nano_usd
        return used / self.limit_nano_usd if self.limit_nano_usd else 0.0


@dataclass(frozen=True, slots=True)
class TopUpResult:
    """The counter after a top-up. applied: False when this top-up had been done before."""

    applied: bool
    limit_nano_usd: int | None
    spent_nano_usd: int
    held_nano_usd: int
    in_doubt_nano_usd: int


@dataclass(frozen=True, slots=True)
class SwitchChange:
    """A switch that changed since anybody last looked; '' is unset. expires_at_ms 0: never."""

    name: str
    old: str
    new: str
    expires_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class EpochState:
    """Whether admission is open; the number of the epoch and of its last decision."""

    open: bool
    epoch: int
    seq: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CounterLoad:
    """A counter as a rebuild computed it. Held and in doubt follow from the reservations."""

    counter: str
    spent_nano_usd: int = 0
    topped_nano_usd: int = 0
    default_limit_nano_usd: int | None = None
    ends_ms: int = 0


@dataclass(frozen=True, slots=True)
class ReservationLoad:
    """An open attempt as a rebuild found it."""

    attempt_id: str
    call_key: str
    number: int
    state: Literal["pending", "in_doubt"]
    amount_nano_usd: int
    counters: tuple[str, ...]
    day: str
    agent: str
    process_id: str
    deployment: str = ""
    provider: str = ""
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class EpochSnapshot:
    """Everything that Redis must know again, computed from Postgres alone.

    closed: attempt ids settled or released lately (48 h), for idempotence and for the numbering
    of attempts. top_ups and postings: ids done lately (40 days). switches: value and end (Unix
    milliseconds, 0: never), restored only where none is set.
    """

    epoch: int
    limits_version: int = 0
    limits: Mapping[tuple[str, Period], int] = field(default_factory=dict)
    counters: tuple[CounterLoad, ...] = ()
    reservations: tuple[ReservationLoad, ...] = ()
    closed: tuple[str, ...] = ()
    top_ups: tuple[str, ...] = ()
    postings: tuple[str, ...] = ()
    switches: Mapping[str, tuple[str, int]] = field(default_factory=dict)
