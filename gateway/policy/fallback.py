"""What to do when the authority says no to one deployment: a cheaper tier, another one, wait, give up."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.policy.budgets import next_cheaper
from gateway.policy.refusals import Refusal, RefusalKind

_BUDGET = frozenset({RefusalKind.EXHAUSTED, RefusalKind.CONTENDED, RefusalKind.NEVER_FITS})
_ELSEWHERE = frozenset({RefusalKind.SWITCHED, RefusalKind.RATE_LIMITED, RefusalKind.UNAVAILABLE})
_SOFT_SCOPES = ("tier:", "model:", "provider:")


@dataclass(frozen=True, slots=True)
class TakeTier:
    """Ask again at this tier."""

    name: str


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave this deployment out and take the tier's next."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A living attempt of the same call will answer."""


@dataclass(frozen=True, slots=True)
class Return:
    """It is the caller's turn."""


def is_soft(refusal: Refusal) -> bool:
    """Whether a soft budget (of a tier, a deployment or a provider) stands in the way."""
    return refusal.kind in _BUDGET and refusal.scope.startswith(_SOFT_SCOPES)


def after_refusal(refusal: Refusal, tier: str, tiers: Sequence[str]) -> TakeTier | Skip | Wait | Return:
    """Choose the next move after a refusal of one deployment of this tier."""
    cheaper = next_cheaper(tiers, tier)
    if refusal.kind is RefusalKind.IN_FLIGHT:
        return Wait()
    if refusal.kind in _ELSEWHERE and refusal.scope.startswith(("provider:", "model:")):
        return Skip()
    if refusal.kind is RefusalKind.PRESSURE:
        return TakeTier(cheaper) if cheaper is not None else Skip()
    if is_soft(refusal):
        if refusal.scope.startswith("tier:"):
            return TakeTier(cheaper) if cheaper is not None else Return()
        return Skip()
    return Return()
