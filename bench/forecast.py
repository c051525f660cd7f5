"""`python -m bench.forecast [DATA]`: back-test the month-end forecast on recorded traffic.

DATA holds servegen/*.csv (14 days of request rates of 12 clients, a row per 10 minutes) and
azure_llm/code.csv (tokens of 8,819 requests). Every request costs what tokens drawn from the Azure
trace cost at a model of its size (at most 64 draws per 10 minutes, scaled up). The 14 days stand
for the month: it is forecast at the end of days 7 to 13 (7 origins), and at 6, 12 and 18 o'clock of
days 8 to 14 (21 origins, which weigh the running day).
"""

import argparse
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf, sqrt
from pathlib import Path
from statistics import fmean, median

from bench.recorded import BUCKET_SECONDS, DAYS, PER_HOUR, rates, tokens
from gateway.policy import forecast as policy
from gateway.policy.forecast import Forecast, RunningDay, deviation, forecast, level
from gateway.policy.pricing import Price, cost
from gateway.policy.usage import Usage
from gateway.prices import PriceBook

FIRST_ORIGIN, HOURS = 7, 24
_MOST_DRAWS = 64
_STEADY_HOURS = 100
_MODELS = {
    "l": ("anthropic", "claude-sonnet-4-5"),
    "m": ("google", "gemini-2.5-flash"),
    "s": ("groq", "llama-3.1-8b-instant"),
}

Hours = Sequence[int]
Method = Callable[[Sequence[int]], float]


@dataclass(frozen=True, slots=True)
class Origin:
    """A moment to forecast at. days: complete ones, nano-dollars. running: the day that goes on."""

    days: Sequence[int]
    running: RunningDay | None
    total: int

    @property
    def spent(self) -> int:
        return sum(self.days) + (self.running.spent_nano_usd if self.running else 0)

    @property
    def to_come(self) -> int:
        return DAYS - len(self.days) - (1 if self.running else 0)

    @property
    def elapsed(self) -> float:
        return (len(self.days) + (self.running.elapsed if self.running else 0)) / DAYS


def ours(origin: Origin) -> Forecast:
    made = forecast(
        origin.days, spent_nano_usd=origin.spent, days_to_come=origin.to_come, running=origin.running
    )
    assert made is not None, "there are seven days at least"
    return made


METHODS: dict[str, Callable[[Origin], float]] = {
    "curb": lambda at: ours(at).expected_nano_usd,
    "naive: spent / elapsed share": lambda at: at.spent / at.elapsed,
    "last day repeats": lambda at: at.spent + at.days[-1] * (DAYS - at.elapsed * DAYS),
    "mean of the last 7 days": lambda at: at.spent + fmean(at.days[-7:]) * (DAYS - at.elapsed * DAYS),
    "median of the last 7 days": lambda at: at.spent + median(at.days[-7:]) * (DAYS - at.elapsed * DAYS),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.forecast", description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    clients = dict(spend_of_clients(parser.parse_args().data))
    everybody = [sum(hour) for hour in zip(*clients.values(), strict=True)]
    steady = {name: hours for name, hours in clients.items() if sum(map(bool, hours)) >= _STEADY_HOURS}
    groups: dict[str, Mapping[str, Hours]] = {
        "all together": {"all": everybody},
        f"{len(steady)} steady clients": steady,
        f"all {len(clients)} clients": clients,
    }
    print("| spend of | method | MAPE | WAPE | worst |\n|---|---|---:|---:|---:|")
    for group, members in groups.items():
        for method, estimate in METHODS.items():
            print(f"| {group} | {method} | {errors(members, estimate, ends_of_days)} |")
    print("\nDuring the day:\n\n| spend of | method | MAPE | WAPE | worst |\n|---|---|---:|---:|---:|")
    for method, estimate in METHODS.items():
        print(f"| all together | {method} | {errors(groups['all together'], estimate, within_days)} |")
    print("\n| range of | holds the total | median width, of the total |\n|---|---:|---:|")
    for group, members in groups.items():
        print(f"| {group} | {coverage(members)} |")
    print(f"\nresiduals at 10 % and 90 % (steady clients): {residuals(steady)}")
    print(f"coverage, each steady client by the residuals of the others: {left_out(steady)}")


def errors(
    members: Mapping[str, Hours],
    estimate: Callable[[Origin], float],
    origins: Callable[[Hours], Iterator[Origin]],
) -> str:
    """MAPE: the mean miss in shares of the total. WAPE: all misses over all totals, by money. The worst."""
    misses = [(abs(estimate(at) - at.total), at.total) for hours in members.values() for at in origins(hours)]
    shares = [miss / total for miss, total in misses]
    weighed = sum(miss for miss, _ in misses) / sum(total for _, total in misses)
    return " | ".join(_percent(value) for value in (fmean(shares), weighed, max(shares)))


def coverage(members: Mapping[str, Hours]) -> str:
    """How often the total lay in the range, and how wide that was."""
    made = [(ours(at), at.total) for hours in members.values() for at in ends_of_days(hours)]
    held = fmean(each.low_nano_usd <= total <= each.high_nano_usd for each, total in made)
    widths = [(each.high_nano_usd - each.low_nano_usd) / total for each, total in made]
    return f"{_percent(held)} | {_percent(median(widths))}"


def residuals(members: Mapping[str, Hours]) -> str:
    found = [residual(at) for hours in members.values() for at in ends_of_days(hours)]
    low, high = quantiles(found)
    return f"{low:.2f}, {high:.2f}; in use: {policy.LOW_RESIDUAL}, {policy.HIGH_RESIDUAL}"


def left_out(members: Mapping[str, Hours]) -> str:
    """The honest coverage: no client helps to choose the range that it is judged by."""
    by_client = {name: [residual(at) for at in ends_of_days(hours)] for name, hours in members.items()}
    held = []
    for name, own in by_client.items():
        low, high = quantiles([r for other, rs in by_client.items() if other != name for r in rs])
        held += [low <= each <= high for each in own]
    return _percent(fmean(held))


def residual(at: Origin) -> float:
    """How far the rest lay from its forecast, in the units that the range is made of."""
    recent = [float(day) for day in at.days[-policy.DAYS :]]
    usual, left = level(recent), at.to_come
    miss = at.total - at.spent - left * usual
    unit = deviation(recent, usual) * sqrt(left + left**2 / len(recent))
    return miss / unit if unit else (inf if miss else 0.0)


def quantiles(found: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(found)
    return ordered[int(0.1 * len(ordered))], ordered[min(int(0.9 * len(ordered)), len(ordered) - 1)]


def ends_of_days(hours: Hours) -> Iterator[Origin]:
    days = _days(hours)
    for origin in range(FIRST_ORIGIN, DAYS):
        yield Origin(days[:origin], None, sum(days))


def within_days(hours: Hours) -> Iterator[Origin]:
    days = _days(hours)
    for origin in range(FIRST_ORIGIN, DAYS):
        for hour in (6, 12, 18):
            so_far = sum(hours[origin * HOURS : origin * HOURS + hour])
            yield Origin(days[:origin], RunningDay(hour / HOURS, so_far), sum(days))


def spend_of_clients(data: Path) -> Iterator[tuple[str, Hours]]:
    """Nano-dollars per hour of each client; the same numbers every time."""
    drawn_from, book, now = tokens(data), PriceBook(), datetime(2026, 11, 1, tzinfo=UTC)
    for name, each in rates(data).items():
        price = book.price(*_MODELS[name.removeprefix("m-")[0]], now)
        assert price is not None, name
        yield name, _hours(each, price, drawn_from, random.Random(name))


def _hours(
    buckets: Sequence[float], price: Price, drawn_from: Sequence[tuple[int, int]], chance: random.Random
) -> Hours:
    hours = [0] * (DAYS * HOURS)
    for bucket, rate in enumerate(buckets):
        requests = round(rate * BUCKET_SECONDS)
        drawn = min(requests, _MOST_DRAWS)
        if drawn:
            pairs = chance.choices(drawn_from, k=drawn)
            paid = sum(cost(price, Usage(input_tokens=i, output_tokens=o)) for i, o in pairs)
            hours[bucket // PER_HOUR] += paid * requests // drawn
    return hours


def _days(hours: Hours) -> list[int]:
    return [sum(hours[day * HOURS : (day + 1) * HOURS]) for day in range(DAYS)]


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


if __name__ == "__main__":
    main()
