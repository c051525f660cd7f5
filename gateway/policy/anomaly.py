"""What is strange about an agent's spending, judged from its own past.

Statistics are floats here: nothing is refused by them. The defaults were chosen on recorded
traffic (docs/anomalies.md); amounts keep an agent that spends cents from waking anybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, pstdev
from typing import Literal

from gateway.policy.money import NanoUsd, usd

Severity = Literal["warning", "critical"]
_MAD_OF_SIGMA = 1.4826  # the median deviation of normal noise, times this, is its standard deviation
_LEAST_SPREAD = 0.1  # of the median: a past without any noise says little about noise


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that holds for a scope, with the numbers that decided.

    window: of a threshold's period; each is told by itself. acts: whether the action that is
    configured for the rule is for this, too.
    """

    rule: str
    scope: str
    severity: Severity
    evidence: Mapping[str, object]
    window: str = ""
    acts: bool = True


@dataclass(frozen=True, slots=True)
class DayBefore:
    """An earlier accounting day of an agent: all of it, its part up to the end of the hour that is the
    present one today, and that hour alone; nano-dollars."""

    whole_nano_usd: int
    so_far_nano_usd: int
    hour_nano_usd: int


@dataclass(frozen=True, slots=True)
class Spending:
    """What an agent has spent as of a moment: this hour so far, the whole hour before, today so far.

    days: complete ones since the agent was first seen, the newest first.
    """

    agent: str
    hour_nano_usd: int
    hour_before_nano_usd: int
    today_nano_usd: int
    days: Sequence[DayBefore] = ()


@dataclass(frozen=True, slots=True)
class HourlyJump:
    """This hour against the hour before. Needs no history, and fires whenever work begins after a rest."""

    times: float = 3.0
    minimum_nano_usd: NanoUsd = usd(5)

    def judge(self, spending: Spending) -> Finding | None:
        spent, before = spending.hour_nano_usd, spending.hour_before_nano_usd
        if spent < self.minimum_nano_usd or spent <= self.times * before:
            return None
        evidence = {
            "spent_nano_usd": spent,
            "hour_before_nano_usd": before,
            "limit_nano_usd": max(round(self.times * before), self.minimum_nano_usd),
            "times": self.times,
        }
        return Finding("hourly_jump", f"agent:{spending.agent}", "warning", evidence)


@dataclass(frozen=True, slots=True)
class DailySigma:
    """Today against the mean of the days before it, plus some standard deviations.

    compare: today so far with the same part of the days before, or with all of them.
    minimum_nano_usd: how much above the mean matters. history: days that are needed.
    """

    sigmas: float = 2.0
    days: int = 7
    history: int = 5
    minimum_nano_usd: NanoUsd = usd(5)
    compare: Literal["so_far", "whole_day"] = "so_far"

    def judge(self, spending: Spending) -> Finding | None:
        past = [self._part(day) for day in spending.days[: self.days]]
        if len(past) < self.history:
            return None
        spent, mean, sigma = spending.today_nano_usd, fmean(past), pstdev(past)
        limit = mean + max(self.sigmas * sigma, self.minimum_nano_usd)
        if spent <= limit:
            return None
        evidence = {
            "spent_nano_usd": spent,
            "mean_nano_usd": round(mean),
            "sigma_nano_usd": round(sigma),
            "limit_nano_usd": round(limit),
            "sigmas": self.sigmas,
            "days": len(past),
            "compared_with": "the same part of the days before" if self.compare == "so_far" else "whole days",
        }
        return Finding("daily_sigma", f"agent:{spending.agent}", "warning", evidence)

    def _part(self, day: DayBefore) -> int:
        return day.so_far_nano_usd if self.compare == "so_far" else day.whole_nano_usd


@dataclass(frozen=True, slots=True)
class Seasonal:
    """This hour against the same hour of the days before: their median and median absolute deviation.

    The excess over the median must be more than `mads` deviations, than minimum_nano_usd, and than a
    share of what the agent spends on a mean day. It is critical, and acts, above the larger of
    critical_nano_usd and critical_share.
    """

    mads: float = 5.0
    days: int = 14
    history: int = 5
    minimum_nano_usd: NanoUsd = usd(2)
    share: float = 0.1
    critical_nano_usd: NanoUsd = usd(5)
    critical_share: float = 0.25

    def judge(self, spending: Spending) -> Finding | None:
        past = spending.days[: self.days]
        if len(past) < self.history:
            return None
        hours = [day.hour_nano_usd for day in past]
        usual, mean_day = median(hours), fmean(day.whole_nano_usd for day in past)
        spread = max(_MAD_OF_SIGMA * median(abs(hour - usual) for hour in hours), _LEAST_SPREAD * usual)
        excess = spending.hour_nano_usd - usual
        limit = max(self.mads * spread, self.minimum_nano_usd, self.share * mean_day)
        if excess <= limit:
            return None
        critical = excess > max(self.critical_nano_usd, self.critical_share * mean_day)
        evidence = {
            "spent_nano_usd": spending.hour_nano_usd,
            "usual_nano_usd": round(usual),
            "spread_nano_usd": round(spread),
            "limit_nano_usd": round(usual + limit),
            "mean_day_nano_usd": round(mean_day),
            "days": len(past),
        }
        severity: Severity = "critical" if critical else "warning"
        return Finding("seasonal", f"agent:{spending.agent}", severity, evidence, acts=critical)
