"""The circuit breaker of a deployment: when it is left out, and when it is tried again.

closed: calls go through. open: none does, until a moment. half-open: after that moment one call at a time
is let through; a good one closes the circuit, a bad one opens it for twice as long. paused: the
deployment said itself when to come again (Retry-After); nothing is held against it.

A matter of seconds, learned from calls. Whether a whole provider is down is another question
(gateway.policy.health), asked by probes.
"""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["good", "bad", "unknown"]
Circuit = Literal["closed", "open", "half_open", "paused"]


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a circuit opens: at least `failures` of the last `of` calls, and this share of them, were bad.

    remember_seconds: how long after the last bad call they are counted together. open_seconds: how long
    it opens at first, doubled with every bad try until longest_seconds, which also bounds a pause.
    failures 0: never. Shares decide about no money.
    """

    failures: int = 5
    of: int = 20
    ratio: float = 0.5
    remember_seconds: float = 600.0
    open_seconds: float = 10.0
    longest_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class BreakerState:
    """One circuit as it stands. until_ms: when it is tried again, Unix milliseconds (0: now).

    bad, calls: how many of the last calls were bad. trips: how often it opened in a row. probing: whether a
    call is trying it. why: of the last bad call.
    """

    deployment: str
    circuit: Circuit = "closed"
    until_ms: int = 0
    bad: int = 0
    calls: int = 0
    trips: int = 0
    probing: bool = False
    why: str = ""
