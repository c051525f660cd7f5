"""The gateway's no, as a value whose numbers were true at the instant it was given."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.policy.money import format_usd
from gateway.policy.rate_limits import Rate


class RefusalKind(StrEnum):
    """Why nothing was bought, and with it what the caller should do."""

    EXHAUSTED = "exhausted"  # spent + asked > limit: wait for the reset, a top-up or a raised limit
    CONTENDED = "contended"  # only others' holds or doubts stand in the way: retry in seconds
    NEVER_FITS = "never_fits"  # asked > limit: this call can never pass
    SWITCHED = "switched"  # a kill switch is set
    THROTTLED = "throttled"  # the agent is throttled and has a call in flight
    RATE_LIMITED = "rate_limited"
    IN_FLIGHT = "in_flight"  # a living attempt of the same call: wait for its answer
    PRESSURE = "pressure"  # the budget is nearly spent: ask again one tier down
    UNAVAILABLE = "unavailable"  # Redis, Postgres, every provider, or the outbox is full
    INVALID = "invalid"  # the request itself: no price, no output limit, image without a token count


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused, by which scope, and the numbers. Amounts are nano-dollars.

    retry_at_ms: Unix milliseconds after which asking again can succeed; None when only a
    person can change it (or nobody). attempts: how many attempts at providers had been made
    (and paid for, or are in doubt) before this answer. rate_*: of RATE_LIMITED, as in
    gateway.policy.rate_limits; rule `in_flight` counts calls at once and has no window.
    """

    kind: RefusalKind
    scope: str = ""
    period: str = ""
    limit_nano_usd: int = 0
    spent_nano_usd: int = 0
    held_nano_usd: int = 0
    in_doubt_nano_usd: int = 0
    asked_nano_usd: int = 0
    retry_at_ms: int | None = None
    detail: str = ""
    attempts: int = 0
    rate_rule: str = ""
    rate_tier: str = ""
    rate_limit: int = 0
    rate_window_ms: int = 0

    def __str__(self) -> str:
        if self.kind in (RefusalKind.EXHAUSTED, RefusalKind.CONTENDED, RefusalKind.NEVER_FITS):
            per = "" if self.period in ("", "run") else f" per {self.period}"
            return (
                f"{self.kind.value}: {self.scope}{per} has a limit of {format_usd(self.limit_nano_usd)}, "
                f"spent {format_usd(self.spent_nano_usd)}, held {format_usd(self.held_nano_usd)}, "
                f"in doubt {format_usd(self.in_doubt_nano_usd)}; the call asked for "
                f"{format_usd(self.asked_nano_usd)}"
            )
        detail = self._rate() if self.kind is RefusalKind.RATE_LIMITED and self.rate_rule else self.detail
        return ": ".join(part for part in (self.kind.value, self.scope, detail) if part)

    def _rate(self) -> str:
        if self.rate_rule == "in_flight":
            return f"{self.rate_limit:,} calls may be in flight at once"
        of = f"{self.rate_tier} tier" if self.rate_tier else "limit"
        expensive = " of expensive calls" if self.rate_rule == "expensive" else ""
        return f"the {of}{expensive} is {Rate(self.rate_limit, self.rate_window_ms)}"


def invalid(detail: str) -> Refusal:
    """The request itself cannot be done."""
    return Refusal(RefusalKind.INVALID, detail=detail)
