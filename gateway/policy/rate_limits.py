"""Rate limits: how often something may be asked for, and how much of it at once.

A rate is a number of requests in any stretch of time of its window: nothing is smoothed inside the
window, and no more pass at its edges (docs/decisions/015-rate-limits.md). Defaults are those of
REQUIREMENTS 4.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

_V = TypeVar("_V")
SECOND_MS = 1_000
HOUR_MS = 3_600_000
_UNITS = ((86_400_000, "day"), (HOUR_MS, "hour"), (60_000, "minute"), (SECOND_MS, "second"))


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in any stretch of window_ms milliseconds. limit 0: none ever."""

    limit: int
    window_ms: int

    def __str__(self) -> str:
        return f"{self.limit:,} request{'' if self.limit == 1 else 's'} {window_words(self.window_ms)}"


def _hourly(**limits: int) -> dict[str, Rate]:
    return {tier: Rate(limit, HOUR_MS) for tier, limit in limits.items()}


@dataclass(frozen=True, slots=True)
class Expensive:
    """The stricter class: calls of these model tiers, or that may cost as much as `from_nano_usd`.

    They count here as well as in the tier's own limit. rates: by rate tier; one that is not there
    has no such limit. from_nano_usd None: only the model tiers decide.
    """

    model_tiers: frozenset[str] = frozenset({"max"})
    from_nano_usd: int | None = None
    rates: Mapping[str, Rate] = field(
        default_factory=lambda: _hourly(anonymous=1, free=1, pro=10, enterprise=100)
    )


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Every limit that is configured.

    tiers: what a key (without one: an address) may ask for, by its rate tier; for callers of the
    front door only. scopes: by `global`, `agent:coder` or `agent:*` (agent, model, user, team, key,
    address), for everybody. in_flight: how many calls at once, by agent and key.
    anonymous: the tiers that callers without a key may ask for; None: they are not let in.
    """

    tiers: Mapping[str, Rate] = field(
        default_factory=lambda: _hourly(anonymous=3, free=10, pro=100, enterprise=1_000)
    )
    expensive: Expensive = field(default_factory=Expensive)
    scopes: Mapping[str, tuple[Rate, ...]] = field(default_factory=dict)
    in_flight: Mapping[str, int] = field(default_factory=dict)
    anonymous: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class RateLine:
    """One rate that one attempt is checked against and counted in.

    rule: tier, expensive, or the kind of scope; scope: whose requests are counted. tier: of the
    caller, where the rule goes by it. each_attempt: count every attempt at a provider; otherwise a
    call counts once, however often it is tried.
    """

    rule: str
    scope: str
    rate: Rate
    tier: str = ""
    each_attempt: bool = False


@dataclass(frozen=True, slots=True)
class InFlightLine:
    """How many calls of an agent or a key may be in flight. scope: `agent:coder` or `key:k123`."""

    scope: str
    limit: int


class Asker(Protocol):
    """Who asks; gateway.calls.Caller is one. rate_tier: '' for whoever does not come by the front door."""

    @property
    def agent(self) -> str: ...
    @property
    def team(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def key_id(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def rate_tier(self) -> str: ...


def rate_lines(
    limits: RateLimits, asker: Asker, *, deployment: str, model_tier: str, asked_nano_usd: int
) -> tuple[RateLine, ...]:
    """Build every rate that one attempt at a deployment is checked against."""
    by_scope = [] if not limits.scopes else _scope_lines(limits, asker, deployment)
    if not asker.rate_tier:
        return tuple(by_scope)
    return (*_tier_lines(limits, asker, model_tier, asked_nano_usd), *by_scope)


def in_flight_lines(limits: RateLimits, asker: Asker) -> tuple[InFlightLine, ...]:
    """Build every limit on calls in flight that holds for this caller."""
    if not limits.in_flight:
        return ()
    named = (("agent", asker.agent), ("key", asker.key_id))
    found = [(f"{kind}:{name}", _limit_of(limits.in_flight, kind, name)) for kind, name in named if name]
    return tuple(InFlightLine(scope, limit) for scope, limit in found if limit is not None)


def network_of(address: str) -> str:
    """What an address counts as: itself, in IPv6 its /64, which one household or machine has whole.

    'unknown' where it is none (a socket file), so that all of these count together.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


def window_words(window_ms: int) -> str:
    """`per hour`, `in 10 minutes`: how long a window is."""
    for unit_ms, name in _UNITS:
        if window_ms == unit_ms:
            return f"per {name}"
        if window_ms % unit_ms == 0:
            return f"in {window_ms // unit_ms:,} {name}s"
    return f"in {window_ms:,} ms"


def _tier_lines(limits: RateLimits, asker: Asker, model_tier: str, asked_nano_usd: int) -> list[RateLine]:
    tier, rules = asker.rate_tier, {"tier": limits.tiers.get(asker.rate_tier)}
    dear = limits.expensive
    over = dear.from_nano_usd is not None and asked_nano_usd >= dear.from_nano_usd
    if over or model_tier in dear.model_tiers:
        rules["expensive"] = dear.rates.get(tier)
    # Whoever has no key of their own is known by the address alone.
    own_key = asker.key_id if tier != "anonymous" else ""
    scope = f"key:{own_key}" if own_key else f"address:{network_of(asker.address)}"
    return [RateLine(rule, scope, rate, tier) for rule, rate in rules.items() if rate is not None]


def _scope_lines(limits: RateLimits, asker: Asker, deployment: str) -> list[RateLine]:
    names = {
        "global": "",
        "agent": asker.agent,
        "model": deployment,
        "user": asker.user,
        "team": asker.team,
        "key": asker.key_id,
        "address": network_of(asker.address) if asker.address else "",
    }
    lines: list[RateLine] = []
    for kind, name in names.items():
        if kind != "global" and not name:
            continue
        scope = f"{kind}:{name}" if name else kind
        rates = limits.scopes.get(scope) if not name else _limit_of(limits.scopes, kind, name)
        lines += [RateLine(kind, scope, rate, each_attempt=kind == "model") for rate in rates or ()]
    return lines


def _limit_of(table: Mapping[str, _V], kind: str, name: str) -> _V | None:
    """The limit of exactly this one, else that of everyone who has none of their own."""
    exact = table.get(f"{kind}:{name}")
    return table.get(f"{kind}:*") if exact is None else exact
