"""Budgets: which lines a call is charged to, and which tier the money that is left allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from gateway.policy.periods import Calendar
from gateway.policy.scopes import BudgetLine, Period, Scope, ScopeKind

QUICK_BELOW = Fraction(20, 100)
BALANCED_BELOW = Fraction(50, 100)


class Payer(Protocol):
    """Who is charged; gateway.calls.Caller is one. Empty strings are scopes that are not there."""

    @property
    def agent(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def ancestors(self) -> tuple[str, ...]: ...
    @property
    def team(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def key_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Purchase:
    """What is bought: a deployment of a provider, as part of a tier ('' when asked for by its own name).

    tier_budget_nano_usd: the tier's daily budget where the authority knows no other limit.
    cheapest: nothing is cheaper, so the soft budgets only alert.
    """

    deployment: str
    provider: str
    tier: str = ""
    tier_budget_nano_usd: int | None = None
    cheapest: bool = False


def lines_for(
    payer: Payer,
    purchase: Purchase,
    *,
    run_budget_nano_usd: int | None,
    calendar: Calendar,
    now_ms: int,
) -> tuple[BudgetLine, ...]:
    """Build every line that one attempt is checked against and charged to, each counter once.

    The run and its ancestors; agent, team, user, key and global by day and month; provider, tier
    and deployment (scope kind `model`) by day, the last two soft. A line without a limit is
    still there, so that it is counted. now_ms: Unix milliseconds.
    """
    return (
        *_run_lines(payer, run_budget_nano_usd, calendar, now_ms),
        *_period_lines(payer, purchase, calendar, now_ms),
        *_soft_lines(purchase, calendar, now_ms),
    )


def _run_lines(payer: Payer, budget: int | None, calendar: Calendar, now_ms: int) -> list[BudgetLine]:
    windows = calendar.windows(Period.RUN, now_ms)
    runs = dict.fromkeys(run for run in (payer.run_id, *payer.ancestors) if run)
    return [
        BudgetLine(
            Scope(ScopeKind.RUN, run),
            Period.RUN,
            windows,
            default_limit_nano_usd=budget if run == payer.run_id else None,
        )
        for run in runs
    ]


def _period_lines(payer: Payer, purchase: Purchase, calendar: Calendar, now_ms: int) -> list[BudgetLine]:
    days = calendar.windows(Period.DAY, now_ms)
    months = calendar.windows(Period.MONTH, now_ms)
    lines = [BudgetLine(Scope(ScopeKind.PROVIDER, purchase.provider), Period.DAY, days)]
    for kind, name in (
        (ScopeKind.AGENT, payer.agent),
        (ScopeKind.TEAM, payer.team),
        (ScopeKind.USER, payer.user),
        (ScopeKind.KEY, payer.key_id),
        (ScopeKind.GLOBAL, ""),
    ):
        if name or kind is ScopeKind.GLOBAL:
            scope = Scope(kind, name)
            lines += [BudgetLine(scope, Period.DAY, days), BudgetLine(scope, Period.MONTH, months)]
    return lines


def _soft_lines(purchase: Purchase, calendar: Calendar, now_ms: int) -> list[BudgetLine]:
    days = calendar.windows(Period.DAY, now_ms)
    model = Scope(ScopeKind.MODEL, purchase.deployment)
    lines = [BudgetLine(model, Period.DAY, days, soft=True, alert_only=purchase.cheapest)]
    if purchase.tier:
        tier = Scope(ScopeKind.TIER, purchase.tier)
        limit = purchase.tier_budget_nano_usd
        lines.append(BudgetLine(tier, Period.DAY, days, limit, soft=True, alert_only=purchase.cheapest))
    return lines


def next_cheaper(tiers: Sequence[str], tier: str) -> str | None:
    """Return the tier one to the left (tiers: cheapest first); None for the cheapest and for strangers."""
    index = tiers.index(tier) if tier in tiers else 0
    return tiers[index - 1] if index else None


def pressure_tier(tiers: Sequence[str], tier: str) -> str | None:
    """Return the tier to take instead when an agent's day is nearly spent; None: stay.

    One step down from the dear tiers (`max` -> `frontier`, `frontier` -> `balanced`), never
    into the cheapest: REQUIREMENTS 1.
    """
    cheaper = next_cheaper(tiers, tier)
    return cheaper if cheaper is not None and cheaper != tiers[0] else None


def under_pressure(committed_nano_usd: int, limit_nano_usd: int | None, at_ratio: float) -> bool:
    """Whether spent + held + in doubt has reached a share of the limit (0.8: REQUIREMENTS 1)."""
    if limit_nano_usd is None:
        return False
    return committed_nano_usd >= Fraction(str(at_ratio)) * limit_nano_usd


def affordable_tier(tiers: Sequence[str], asked: str, left_nano_usd: int, limit_nano_usd: int | None) -> str:
    """Choose a tier by the money that is left, never a dearer one than asked (cost-aware choice).

    Less than 20 % left: the cheapest; less than 50 %: at most the second; else as asked. No limit,
    or a tier that is not among them: as asked. REQUIREMENTS 1.
    """
    if limit_nano_usd is None or asked not in tiers:
        return asked
    highest = len(tiers) - 1
    if left_nano_usd < QUICK_BELOW * limit_nano_usd:
        highest = 0
    elif left_nano_usd < BALANCED_BELOW * limit_nano_usd:
        highest = 1
    return tiers[min(tiers.index(asked), highest)]
