"""Events: what the budget authority tells the ledger, through the outbox, in order.

An event's body is JSON. `reserved`, `settled`, `released`, `in_doubt` and `refused` are about
one attempt and carry its `attempt_id`; the others stand for themselves.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

EventKind = Literal[
    "reserved",  # body: Opened.as_json()
    "settled",  # body: Settlement
    "released",  # body: Settlement
    "in_doubt",  # body: Settlement, or {"attempt_id", "by": "sweep" | "fence"} from the authority itself
    "refused",  # body: Opened.as_json() plus "refusal": {...}
    "posted",  # body: {"posting_id", "attempt_id", "kind": "adjust", "amount_nano_usd", "counters"}
    "switch",  # body: {"name", "old", "new", "expires_at_ms"}
    "alert",  # body: {"rule", "scope", "evidence": {...}}
    "top_up",  # body: {"top_up_id", "counter", "amount_nano_usd", "by"}
]


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the outbox, or its copy in a process's memory.

    id: the stream's entry id ('' for a copy in memory). (epoch, seq): its place in the order of
    all decisions. day: the accounting day of the attempt, YYYY-MM-DD ('' where there is none).
    """

    kind: EventKind
    body: dict[str, Any]
    epoch: int = 0
    seq: int = 0
    at_ms: int = 0
    day: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """Everything about an attempt that is known when its money is held (or refused)."""

    attempt_id: str
    call_key: str
    number: int
    process_id: str
    agent: str
    tier: str
    deployment: str
    provider: str
    model: str
    asked_nano_usd: int
    counters: tuple[str, ...] = ()
    run_id: str = ""
    step: int = 0
    team: str = ""
    user: str = ""
    key_id: str = ""
    session: str = ""
    endpoint: str = ""
    application: str = ""
    feature: str = ""
    mode: str = "live"
    tags: dict[str, str] = field(default_factory=dict)
    trace_id: str = ""
    span_id: str = ""
    prompt_version: str = ""
    temperature: float | None = None
    max_output_tokens: int | None = None
    price_id: str = ""
    queued_ms: int | None = None  # Unix milliseconds at which the call reached the gateway
