"""`breaker:` in curb.yaml: when a deployment is left out for some seconds, or `off`."""

from pydantic import Field

from gateway.policy.breaker import BreakerRules
from worker.config_values import Ratio, Seconds, Section

_RULES = BreakerRules()
_MOST_CALLS = 1_000


class BreakerSection(Section):
    """At least `failures` of the last `of` calls, and this share of them, were bad: left out for `open`,
    twice as long after each bad try, `longest` at most. failures 0: never."""

    failures: int = Field(default=_RULES.failures, ge=0, le=_MOST_CALLS)
    of: int = Field(default=_RULES.of, ge=1, le=_MOST_CALLS)
    ratio: Ratio = _RULES.ratio
    remember: Seconds = _RULES.remember_seconds
    open: Seconds = _RULES.open_seconds
    longest: Seconds = _RULES.longest_seconds


def off_is_never(written: object) -> object:
    """`off` (YAML reads it as false) instead of a mapping."""
    return {"failures": 0} if written in ("off", False) else written


def breaker_rules(section: BreakerSection) -> BreakerRules:
    """The rules; `of` is at least `failures`, or none could ever open."""
    return BreakerRules(
        failures=section.failures,
        of=max(section.of, section.failures),
        ratio=section.ratio,
        remember_seconds=section.remember,
        open_seconds=section.open,
        longest_seconds=max(section.longest, section.open),
    )
