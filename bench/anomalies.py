"""`python -m bench.anomalies [DATA]`: what the sweep's rules on spending find, and what they miss.

Twelve recorded clients (bench/recorded.py), one agent each. Every rule of the sweep, and some
combinations, look at days 8 to 14 every 10 minutes, with the pure functions that the sweep uses.

False alarms: alerts without any injection, per client and week; what is not found for an hour is over, what
comes again then is another alert. Recall: jumps are injected at random places of days 8 to 14 of the clients
that spent on at least 5 of the first 7 days; found is a jump when a rule holds during it (and an hour after)
at a time at which it does not hold without. Delay: from the beginning of the jump, median.

  x3     three times as much for 6 hours       (where the client spends at least half of its mean)
  x10    ten times as much for 2 hours         (the same)
  ramp   rising to four times within 3 days
  night  half of a mean day within an hour between 01:00 and 06:00
"""

import argparse
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from statistics import median

from bench.recorded import BUCKETS, DAYS, PER_DAY, PER_HOUR, Costs, clients
from gateway.policy.anomaly import DailySigma, DayBefore, HourlyJump, Seasonal, Spending
from gateway.policy.money import usd
from gateway.policy.sweep_rules import SweepRules

_FIRST = 7 * PER_DAY
_LOOKS_BACK = 14
_PLACES = 10
_TRIES = 500
_MINUTES = 10
_REST = round(SweepRules().rest_seconds["seasonal"]) // 600  # in buckets
_HOURS_OF_DAY = 24

Holds = Callable[[Spending], bool]


@dataclass(frozen=True, slots=True)
class Jump:
    """An injection: the costs with it, and where it is; buckets."""

    costs: Costs
    start: int
    length: int


class Agent:
    """One client's spending, looked at as the sweep does: at the end of a bucket."""

    def __init__(self, costs: Costs) -> None:
        self._sums = [0, *accumulate(costs)]
        days = [self._between(day * PER_DAY, (day + 1) * PER_DAY) for day in range(DAYS)]
        self._days = days
        self._first = next((day for day, spent in enumerate(days) if spent), DAYS)

    def at(self, bucket: int) -> Spending:
        hour, day = bucket // PER_HOUR, bucket // PER_DAY
        return Spending(
            agent="client",
            hour_nano_usd=self._between(hour * PER_HOUR, bucket + 1),
            hour_before_nano_usd=self._between((hour - 1) * PER_HOUR, hour * PER_HOUR),
            today_nano_usd=self._between(day * PER_DAY, bucket + 1),
            days=[
                self._day_before(earlier, hour % _HOURS_OF_DAY)
                for earlier in range(day - 1, max(self._first, day - 1 - _LOOKS_BACK) - 1, -1)
            ],
        )

    def _day_before(self, day: int, hour: int) -> DayBefore:
        start = day * PER_DAY
        this = start + hour * PER_HOUR
        return DayBefore(
            whole_nano_usd=self._days[day],
            so_far_nano_usd=self._between(start, this + PER_HOUR),
            hour_nano_usd=self._between(this, this + PER_HOUR),
        )

    def _between(self, start: int, end: int) -> int:
        return self._sums[end] - self._sums[start]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.anomalies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("--choices", action="store_true", help="other numbers for each rule, too")
    given = parser.parse_args()
    for dollars in (20, 5, 80):
        found = clients(given.data, dollars)
        print(f"\n## ${dollars} on a mean day\n")
        report(found, defaults())
        if given.choices and dollars == 20:
            print("\n## Other numbers, $20 on a mean day\n")
            report(found, choices())


def defaults() -> dict[str, Holds]:
    """The rules as they are configured by default, and their combinations."""
    jump, seasonal = HourlyJump(), Seasonal()
    so_far, whole = DailySigma(), DailySigma(compare="whole_day")
    pages = _pages(seasonal)
    return {
        "hourly_jump": _holds(jump),
        "daily_sigma, so far": _holds(so_far),
        "daily_sigma, whole days": _holds(whole),
        "seasonal": _holds(seasonal),
        "seasonal, critical": pages,
        "any of the three": _any(_holds(jump), _holds(so_far), _holds(seasonal)),
        "seasonal or daily_sigma": _any(_holds(so_far), _holds(seasonal)),
        "hourly_jump and seasonal": _all(_holds(jump), _holds(seasonal)),
        "seasonal critical or daily_sigma": _any(pages, _holds(so_far)),
    }


def choices() -> dict[str, Holds]:
    """What else the numbers could be."""
    jumps = {
        f"hourly_jump: {times:g} times, ${least}": _holds(HourlyJump(times, usd(least)))
        for times in (3.0, 5.0)
        for least in (1, 2, 5, 10)
    }
    sigmas = {
        f"daily_sigma: {sigmas:g} sigma, ${least}, {compare}": _holds(
            DailySigma(sigmas=sigmas, minimum_nano_usd=usd(least), compare=compare)
        )
        for compare in ("so_far", "whole_day")
        for sigmas in (2.0, 3.0)
        for least in (2, 5, 10)
    }
    base = Seasonal()
    seasonal = {
        f"seasonal: {mads:g} MAD, ${least}, {share:.0%} of a day, {history} days": _holds(
            replace(base, mads=mads, minimum_nano_usd=usd(least), share=share, history=history)
        )
        for mads, least, share, history in (
            (3.0, 2, 0.1, 5), (5.0, 2, 0.1, 5), (8.0, 2, 0.1, 5), (12.0, 2, 0.1, 5), (5.0, 1, 0.1, 5),
            (5.0, 5, 0.1, 5), (5.0, 2, 0.0, 5), (5.0, 2, 0.25, 5), (5.0, 2, 0.1, 3), (5.0, 2, 0.1, 7),
        )
    }  # fmt: skip
    pages = {
        f"seasonal, critical: ${least}, {share:.0%} of a day": _pages(
            replace(base, critical_nano_usd=usd(least), critical_share=share)
        )
        for least, share in ((2, 0.25), (5, 0.25), (10, 0.25), (5, 0.1), (5, 0.5))
    }
    return jumps | sigmas | seasonal | pages


def report(found: Mapping[str, Costs], rules: Mapping[str, Holds]) -> None:
    quiet = {name: _ticks(Agent(costs), rules) for name, costs in found.items()}
    steady = {name for name, costs in found.items() if sum(map(bool, costs)) >= 0.6 * BUCKETS}
    regular = {name: costs for name, costs in found.items() if _days_active(costs[:_FIRST]) >= 5}
    recall = {kind: _recall(kind, regular, quiet, rules) for kind in _KINDS}
    print(f"{len(found)} clients, {len(steady)} of them steady; jumps in {len(regular)}, {_PLACES} each\n")
    print(f"| rule | false alarms per client-week | of steady ones | {' | '.join(_KINDS)} |")
    print(f"|---|---:|---:|{'---:|' * len(_KINDS)}")
    for rule in rules:
        alarms = {name: _alerts(ticks[rule]) for name, ticks in quiet.items()}
        cells = [f"{sum(alarms.values()) / len(alarms):.2f}"]
        cells.append(f"{sum(alarms[name] for name in steady) / len(steady):.2f}" if steady else "")
        cells += [_told(recall[kind][rule], _PLACES * len(regular)) for kind in _KINDS]
        print(f"| {rule} | {' | '.join(cells)} |")


def _told(delays: Sequence[int], jumps: int) -> str:
    if not delays:
        return "0 %"
    return f"{len(delays) / jumps:.0%}, {_duration(median(delays) * _MINUTES)}".replace("%", " %")


def _duration(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 180 else f"{minutes / 60:.0f} h"


def _ticks(agent: Agent, rules: Mapping[str, Holds]) -> dict[str, set[int]]:
    """The buckets of the second week at which each rule holds."""
    held: dict[str, set[int]] = {rule: set() for rule in rules}
    for bucket in range(_FIRST, BUCKETS):
        spending = agent.at(bucket)
        if spending.today_nano_usd:
            for rule, holds in rules.items():
                if holds(spending):
                    held[rule].add(bucket)
    return held


def _alerts(buckets: set[int]) -> int:
    """How many alerts these are: a gap that is longer than the rest begins another."""
    ordered = sorted(buckets)
    return sum(number == 0 or bucket - ordered[number - 1] > _REST for number, bucket in enumerate(ordered))


def _recall(
    kind: str,
    found: Mapping[str, Costs],
    quiet: Mapping[str, Mapping[str, set[int]]],
    rules: Mapping[str, Holds],
) -> dict[str, list[int]]:
    """After how many buckets each rule found the jumps of a kind; those that it missed are not there."""
    delays: dict[str, list[int]] = {rule: [] for rule in rules}
    for name, costs in found.items():
        for jump in _jumps(kind, costs, random.Random(f"{name} {kind}")):
            agent, waiting = Agent(jump.costs), set(rules)
            for bucket in range(jump.start, min(jump.start + jump.length + PER_HOUR, BUCKETS)):
                spending = agent.at(bucket)
                now = {rule for rule in waiting if bucket not in quiet[name][rule] and rules[rule](spending)}
                for rule in now:
                    delays[rule].append(bucket - jump.start + 1)
                waiting -= now
                if not waiting:
                    break
    return delays


def _jumps(kind: str, costs: Costs, chance: random.Random) -> Iterator[Jump]:
    for _ in range(_PLACES):
        yield _KINDS[kind](costs, chance)


def _times(factor: int, hours: int) -> Callable[[Costs, random.Random], Jump]:
    def inject(costs: Costs, chance: random.Random) -> Jump:
        length = hours * PER_HOUR
        start = _busy_place(costs, chance, length)
        return Jump(
            [c * (factor if 0 <= b - start < length else 1) for b, c in enumerate(costs)], start, length
        )

    return inject


def _ramp(costs: Costs, chance: random.Random) -> Jump:
    length = 3 * PER_DAY
    start = chance.randrange(_FIRST, BUCKETS - length)
    return Jump(
        [round(c * (1 + 3 * min(1.0, max(0, b - start) / length))) for b, c in enumerate(costs)],
        start,
        length,
    )


def _night(costs: Costs, chance: random.Random) -> Jump:
    start = chance.randrange(7, DAYS) * PER_DAY + chance.randrange(1 * PER_HOUR, 5 * PER_HOUR)
    more = sum(costs) // max(1, _days_active(costs)) // 2 // PER_HOUR
    return Jump(
        [c + (more if 0 <= b - start < PER_HOUR else 0) for b, c in enumerate(costs)], start, PER_HOUR
    )


def _busy_place(costs: Costs, chance: random.Random, length: int) -> int:
    """A place where the client spends at least half of its mean while the jump lasts."""
    enough = sum(costs) / BUCKETS / 2 * length
    for _ in range(_TRIES):
        start = chance.randrange(_FIRST, BUCKETS - length)
        if sum(costs[start : start + length]) >= enough:
            return start
    raise AssertionError("a client that spends has busy hours")


_KINDS: dict[str, Callable[[Costs, random.Random], Jump]] = {
    "x3": _times(3, 6),
    "x10": _times(10, 2),
    "ramp": _ramp,
    "night": _night,
}


def _days_active(costs: Costs) -> int:
    return sum(any(costs[start : start + PER_DAY]) for start in range(0, len(costs), PER_DAY))


def _holds(rule: HourlyJump | DailySigma | Seasonal) -> Holds:
    return lambda spending: rule.judge(spending) is not None


def _pages(rule: Seasonal) -> Holds:
    def holds(spending: Spending) -> bool:
        finding = rule.judge(spending)
        return finding is not None and finding.severity == "critical"

    return holds


def _any(*rules: Holds) -> Holds:
    return lambda spending: any(holds(spending) for holds in rules)


def _all(*rules: Holds) -> Holds:
    return lambda spending: all(holds(spending) for holds in rules)


if __name__ == "__main__":
    main()
