"""Cost thresholds: tell somebody when a scope has spent so much of a period. They refuse nothing.

REQUIREMENTS 1; `alert_rules` in curb.yaml add to them. Amounts are whole nano-dollars: no floats.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.policy.anomaly import Finding, Severity
from gateway.policy.money import NanoUsd, usd

SpendPeriod = Literal["hour", "day", "month"]
_PER_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class CostThreshold:
    """One threshold: an amount, or a share (millionths) of the scope's limit for the period.

    scope: `global`, `agent:coder`, or `user:*` for every user by itself. channels: who is told
    instead of whom the routes say; () leaves it to them.
    """

    name: str
    scope: str
    period: SpendPeriod
    amount_nano_usd: NanoUsd | None = None
    share_millionths: int | None = None
    severity: Severity = "warning"
    channels: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return self.scope.partition(":")[0]

    @property
    def of_each(self) -> bool:
        return self.scope.endswith(":*")


@dataclass(frozen=True, slots=True)
class Spent:
    """What one scope has spent in a period's present window (`2026-11-21T10`, `2026-11-21`, `2026-11`)."""

    scope: str
    period: SpendPeriod
    window: str
    spent_nano_usd: int


Limits = Mapping[tuple[str, str], int]
"""Limits by scope and period, wildcards (`user:*`) among them; nano-dollars."""

DEFAULT_THRESHOLDS = (
    CostThreshold("hourly warning", "global", "hour", usd(10)),
    CostThreshold("hourly critical", "global", "hour", usd(50), severity="critical"),
    CostThreshold("daily warning", "global", "day", usd(100)),
    CostThreshold("daily critical", "global", "day", usd(500), severity="critical"),
    CostThreshold("monthly warning", "global", "month", usd(1_000)),
    CostThreshold("monthly critical", "global", "month", usd(5_000), severity="critical"),
    CostThreshold("daily user", "user:*", "day", usd(10)),
)


def over_thresholds(
    thresholds: Iterable[CostThreshold], spent: Iterable[Spent], limits: Limits
) -> list[Finding]:
    """The worst threshold that each scope is above in each window: the most severe, then the highest."""
    by_period: dict[tuple[str, SpendPeriod], list[CostThreshold]] = {}
    for threshold in thresholds:
        by_period.setdefault((threshold.kind, threshold.period), []).append(threshold)
    findings = []
    for each in spent:
        asked = by_period.get((each.scope.partition(":")[0], each.period), ())
        over = [
            (threshold.severity == "critical", amount, threshold)
            for threshold in asked
            if (amount := _amount(threshold, each.scope, limits)) is not None and each.spent_nano_usd > amount
        ]
        if over:
            _, amount, worst = max(over, key=lambda found: found[:2])
            findings.append(_finding(worst, each, amount))
    return findings


def least_amount(thresholds: Sequence[CostThreshold]) -> int:
    """Whoever has spent no more than this in any period is above none of them (0 where shares are asked)."""
    return min((0 if t.amount_nano_usd is None else t.amount_nano_usd for t in thresholds), default=0)


def _amount(threshold: CostThreshold, scope: str, limits: Limits) -> int | None:
    """What the threshold means for this scope; None where it is not about it, or it has no limit."""
    if not threshold.of_each and threshold.scope != scope:
        return None
    if threshold.share_millionths is None:
        return threshold.amount_nano_usd
    kind = scope.partition(":")[0]
    limit = limits.get((scope, threshold.period), limits.get((f"{kind}:*", threshold.period)))
    return None if limit is None else limit * threshold.share_millionths // _PER_MILLION


def _finding(threshold: CostThreshold, spent: Spent, amount: int) -> Finding:
    evidence: dict[str, object] = {
        "name": threshold.name,
        "period": spent.period,
        "window": spent.window,
        "threshold_nano_usd": amount,
        "actual_nano_usd": spent.spent_nano_usd,
        "overage_nano_usd": spent.spent_nano_usd - amount,
    }
    if threshold.channels:
        evidence["channels"] = list(threshold.channels)
    return Finding("cost_threshold", spent.scope, threshold.severity, evidence, window=spent.window)
