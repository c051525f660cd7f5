"""What a month will have cost when it ends: an estimate for people, never a decision about money.

Method: every day to come costs the mean of the last seven complete days, each of them pulled to
within three robust deviations (1.4826 x MAD) of their median first, so that one burst does not
become every day's. What is left of the running day is that level and the day's own rate, weighted
by how much of the day has passed. The range is the forecast error that the back-test left outside
in one case of ten on either side (bench/forecast.py; docs/reports.md has the figures), in units of
the deviation of the last days.

Floats are used: these are statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, median, stdev

from gateway.policy.money import NanoUsd

DAYS = 7
FEWEST_FOR_DEVIATION = 3
# Back-tested residuals at 10 % and 90 %, in deviations: costs jump up further than they fall.
LOW_RESIDUAL, HIGH_RESIDUAL = -1.4, 2.6

_MAD_TO_DEVIATION = 1.4826
_DEVIATIONS_KEPT = 3.0
_LEAST_DEVIATION = 0.05  # of the level, where all days were alike


@dataclass(frozen=True, slots=True)
class RunningDay:
    """The day that is not over. elapsed: its share that has passed, 0 to 1. spent in nano-dollars."""

    elapsed: float
    spent_nano_usd: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """A period's total at its end; low and high hold it in about eight cases of ten. Nano-dollars."""

    expected_nano_usd: NanoUsd
    low_nano_usd: NanoUsd
    high_nano_usd: NanoUsd


def forecast(
    recent_nano_usd: Sequence[int],
    *,
    spent_nano_usd: int,
    days_to_come: int,
    running: RunningDay | None = None,
) -> Forecast | None:
    """Forecast the total of a period of days.

    recent_nano_usd: what each of the last complete days cost, oldest first, none from before there
    was any spend; at most DAYS count. spent_nano_usd: of the period so far, the running day's part
    included. days_to_come: whole days after the last complete (and the running) one. None when
    there is something to come and no complete day to tell from.
    """
    share_to_come = days_to_come + (1 - running.elapsed if running else 0.0)
    if share_to_come <= 0:
        return _certain(spent_nano_usd)
    recent = [float(amount) for amount in recent_nano_usd[-DAYS:]]
    if not recent:
        return None
    usual = level(recent)
    rest = usual * days_to_come + (_rest_of(running, usual) if running else 0.0)
    spread = deviation(recent, usual) * sqrt(share_to_come + share_to_come**2 / len(recent))
    return Forecast(
        expected_nano_usd=_sum(spent_nano_usd, rest),
        low_nano_usd=_sum(spent_nano_usd, rest + LOW_RESIDUAL * spread),
        high_nano_usd=_sum(spent_nano_usd, rest + HIGH_RESIDUAL * spread),
    )


def level(days: Sequence[float]) -> float:
    """What a usual day costs: the mean of days that are pulled towards their median."""
    middle = median(days)
    reach = _DEVIATIONS_KEPT * _MAD_TO_DEVIATION * median(abs(day - middle) for day in days)
    return fmean(min(max(day, middle - reach), middle + reach) for day in days)


def deviation(days: Sequence[float], usual: float) -> float:
    """How far days lie apart, bursts included; all of a day's cost while there are too few to tell."""
    if len(days) < FEWEST_FOR_DEVIATION:
        return max(days)
    return max(stdev(days), _LEAST_DEVIATION * usual)


def _rest_of(running: RunningDay, usual: float) -> float:
    left = 1 - running.elapsed
    return left * (left * usual + running.spent_nano_usd)


def _certain(spent_nano_usd: int) -> Forecast:
    spent = NanoUsd(spent_nano_usd)
    return Forecast(spent, spent, spent)


def _sum(spent_nano_usd: int, rest: float) -> NanoUsd:
    """What is spent stays spent: nothing below it is possible."""
    return NanoUsd(spent_nano_usd + max(0, round(rest)))
