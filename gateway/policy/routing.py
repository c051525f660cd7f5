"""Routing: which deployments may answer, in which order."""

import hashlib
import math
from collections.abc import Container, Mapping, Sequence
from typing import Protocol, TypeVar


class TierLike(Protocol):
    """gateway.config.Tier is one."""

    @property
    def name(self) -> str: ...
    @property
    def deployments(self) -> tuple[str, ...]: ...
    @property
    def larger(self) -> tuple[str, ...]: ...


TierT = TypeVar("TierT", bound=TierLike)
_BYTES_PER_TOKEN = 4


def candidates(
    asked: str,
    tiers: Sequence[TierLike],
    deployments: Container[str],
    aliases: Mapping[str, str] | None = None,
    *,
    off: Container[str] = (),
) -> tuple[str, ...]:
    """Name the deployments that may answer, best first; () when there is none.

    asked: a tier, a deployment, or an alias of either; a tier wins over a deployment of its name. A
    tier gives its deployments in its order (those that are configured), a deployment only itself.
    off: deployments that are switched off.
    """
    name = resolve(asked, tiers, deployments, aliases)
    tier = find(asked, tiers, deployments, aliases)
    named = (name,) if tier is None else tier.deployments
    return tuple(each for each in named if each in deployments and each not in off)


def shared_out(names: Sequence[str], weights: Mapping[str, int], key: str) -> tuple[str, ...]:
    """Put deployments in an order in which each comes first as often as its weight says (0: last).

    One without a weight has 1. Drawn from the call's key, so that a retry of the call, in whichever
    process, asks in the same order; the others follow by the same draw, which is how a failing one's
    share goes to all.
    """

    def late(name: str) -> tuple[bool, float]:
        weight = weights.get(name, 1)
        if weight <= 0:
            return True, 0.0
        drawn = int.from_bytes(hashlib.blake2b(f"{key}\0{name}".encode(), digest_size=8).digest())
        return False, -math.log((drawn + 1) / 2.0**64) / weight

    return tuple(sorted(names, key=late))


def larger(
    asked: str,
    tiers: Sequence[TierLike],
    deployments: Container[str],
    aliases: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Name the deployments beyond a tier that take what is too long for its own; () for a deployment."""
    tier = find(asked, tiers, deployments, aliases)
    return () if tier is None else tuple(each for each in tier.larger if each in deployments)


def likely_fits(size: int, output_tokens: int, window_tokens: int | None) -> bool:
    """Guess whether a prompt of that many bytes and its answer fit into a context window.

    Four bytes are a token of most text. Only a guess: it may put a deployment last, never leave it out.
    """
    return window_tokens is None or size // _BYTES_PER_TOKEN + output_tokens <= window_tokens


def no_larger(window_tokens: int | None, refusing_tokens: int | None) -> bool:
    """Whether one is known to take no more than another, which has just said that it is too much."""
    return window_tokens is not None and refusing_tokens is not None and window_tokens <= refusing_tokens


def find(
    asked: str,
    tiers: Sequence[TierT],
    deployments: Container[str],
    aliases: Mapping[str, str] | None = None,
) -> TierT | None:
    """Return the tier that was asked for; None where it is a deployment or nothing known."""
    name = resolve(asked, tiers, deployments, aliases)
    return next((tier for tier in tiers if tier.name == name), None)


def resolve(
    asked: str,
    tiers: Sequence[TierLike],
    deployments: Container[str],
    aliases: Mapping[str, str] | None = None,
) -> str:
    """Return what an alias stands for; names of tiers and deployments stand for themselves."""
    if asked in deployments or any(tier.name == asked for tier in tiers):
        return asked
    return (aliases or {}).get(asked, asked)


def tier_of(deployment: str, tiers: Sequence[TierLike]) -> str:
    """Return the cheapest tier that has a deployment, '' when none has."""
    return next((tier.name for tier in tiers if deployment in tier.deployments), "")
