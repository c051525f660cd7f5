"""The rate limits of curb.yaml: how often somebody may ask, and how much at once.

A rate is `100/m`: so many in any stretch of a second (s), a minute (m), an hour (h), a day (d) or of a
duration (`100/10m`); a number by itself is an hour's. Several for one scope are a list.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from gateway.config import GatewayConfig
from gateway.policy.rate_limits import HOUR_MS, Expensive, Rate, RateLimits
from gateway.policy.scopes import ScopeKind
from worker.config_errors import Path, Problem, suggestion
from worker.config_values import Limit, Section

RateTier = Literal["anonymous", "free", "pro", "enterprise"]
_MOST_REQUESTS = 100_000  # a window keeps the time of each
_LONGEST_MS = 31 * 86_400_000
_RATE = re.compile(r"(\d+)(?:\s*/\s*(\d*)(ms|s|m|h|d))?")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": HOUR_MS, "d": 24 * HOUR_MS, None: HOUR_MS}
_COUNTED = ("agent", "model", "user", "team", "key", "address")
_AT_ONCE = ("agent", "key")


def _rate(written: object) -> Rate:
    found = _RATE.fullmatch(str(written).strip())
    if found is None:
        raise ValueError("write how many in which time, for example 100/h, 10/s or 500/10m")
    rate = Rate(int(found[1]), int(found[2] or 1) * _UNITS_MS[found[3]])
    if rate.limit > _MOST_REQUESTS or not 0 < rate.window_ms <= _LONGEST_MS:
        raise ValueError(f"at most {_MOST_REQUESTS:,} requests, in 31 days or less; take a shorter window")
    return rate


def _rates(written: object) -> tuple[Rate, ...]:
    return tuple(_rate(each) for each in (written if isinstance(written, list | tuple) else (written,)))


def _rate_or_unlimited(written: object) -> Rate | None:
    return None if written == "unlimited" else _rate(written)


def _off_is_nobody(written: object) -> object:
    if written in ("off", False):
        return None
    if isinstance(written, list | tuple):
        return written
    raise ValueError("write off, or the tiers that callers without a key may ask for, for example [quick]")


TierRates = dict[RateTier, Annotated[Rate | None, BeforeValidator(_rate_or_unlimited)]]


class ExpensiveSection(Section):
    """Which calls are expensive: of these model tiers, or that can cost `from` dollars or more."""

    tiers: tuple[str, ...] = ("max",)
    from_: Limit = Field(default=None, validation_alias=AliasChoices("from", "from_"))
    limits: TierRates = Field(default_factory=dict)


class RateLimitsSection(Section):
    """How often, by whom; what is left out keeps its default."""

    anonymous: Annotated[tuple[str, ...] | None, BeforeValidator(_off_is_nobody)] = None
    tiers: TierRates = Field(default_factory=dict)
    expensive: ExpensiveSection = ExpensiveSection()
    requests: dict[str, Annotated[tuple[Rate, ...], BeforeValidator(_rates)]] = Field(default_factory=dict)
    in_flight: dict[str, Annotated[int, Field(ge=0, le=_MOST_REQUESTS)]] = Field(default_factory=dict)


def rate_limits(section: RateLimitsSection) -> RateLimits:
    """The limits that hold, with the defaults of REQUIREMENTS 4 where the file says nothing."""
    base = RateLimits()
    dear = section.expensive
    return RateLimits(
        tiers=_over(base.tiers, section.tiers),
        expensive=Expensive(frozenset(dear.tiers), dear.from_, _over(base.expensive.rates, dear.limits)),
        scopes=section.requests,
        in_flight=section.in_flight,
        anonymous=None if section.anonymous is None else frozenset(section.anonymous),
    )


def rate_limit_checks(section: RateLimitsSection, gateway: GatewayConfig) -> Iterator[Problem]:
    """Names that lead nowhere, and scopes that are none."""
    tiers = [tier.name for tier in gateway.tiers]
    for place, names in (
        (("anonymous",), section.anonymous or ()),
        (("expensive", "tiers"), section.expensive.tiers),
    ):
        for number, name in enumerate(names):
            if name not in tiers:
                path = ("rate_limits", *place, number)
                yield Problem(path, f"there is no tier {name}{suggestion(name, tiers)}")
    for scope, rates in section.requests.items():
        path = ("rate_limits", "requests", scope)
        yield from _scope_checks(path, scope, (ScopeKind.GLOBAL.value, *_COUNTED), gateway)
        if len({rate.window_ms for rate in rates}) < len(rates):
            yield Problem(path, "two rates of the same window; keep one of them")
    for scope in section.in_flight:
        yield from _scope_checks(("rate_limits", "in_flight", scope), scope, _AT_ONCE, gateway)


def _scope_checks(
    path: Path, scope: str, kinds: tuple[str, ...], gateway: GatewayConfig
) -> Iterator[Problem]:
    kind, _, name = scope.partition(":")
    if kind not in kinds or (kind == ScopeKind.GLOBAL.value) == bool(name):
        whole = ["global"] if ScopeKind.GLOBAL.value in kinds else []
        named = [f"{each}:NAME" for each in kinds if each != ScopeKind.GLOBAL.value]
        yield Problem(path, f"write {', '.join((*whole, *named))}; NAME may be *")
    elif kind == ScopeKind.MODEL.value and name not in (*gateway.deployments, "*"):
        yield Problem(path, f"there is no deployment {name}{suggestion(name, list(gateway.deployments))}")


def _over(base: Mapping[str, Rate], stated: Mapping[Any, Rate | None]) -> dict[str, Rate]:
    wanted: dict[str, Rate | None] = {**base, **stated}
    return {tier: rate for tier, rate in wanted.items() if rate is not None}
