"""Routing: which deployments may answer, in which order."""

from collections.abc import Container, Mapping, Sequence
from typing import Protocol


class TierLike(Protocol):
    """gateway.config.Tier is one."""

    @property
    def name(self) -> str: ...
    @property
    def deployments(self) -> tuple[str, ...]: ...


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
    tier = next((tier for tier in tiers if tier.name == name), None)
    named = (name,) if tier is None else tier.deployments
    return tuple(each for each in named if each in deployments and each not in off)


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
