"""Recorded traffic as spending: what 12 real clients would have paid in 14 days.

DATA holds servegen/*.csv (request rates of each client, a row per 10 minutes, 14 days) and
azure_llm/code.csv (tokens of 8,819 requests). The rates are scaled so that a client spends a given
amount on a mean day on which it spends at all. How many requests that makes in 10 minutes is drawn
(Poisson), and so are their tokens (at most 500 draws, scaled up); all with a generator that is
seeded with the client's name.
"""

import csv
import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from gateway.policy.money import NANO_PER_USD
from gateway.policy.pricing import cost
from gateway.policy.usage import Usage
from gateway.prices import PriceBook

BUCKET_SECONDS, BUCKETS, DAYS = 600, 2_016, 14
PER_HOUR, PER_DAY = 6, 144
PROVIDER, MODEL = "anthropic", "claude-sonnet-4-5"
_PRICED_ON = datetime(2026, 11, 1, tzinfo=UTC)
_MOST_DRAWS = 500
_LARGE = 50

Costs = Sequence[int]
"""Nano-dollars per 10 minutes."""


def clients(data: Path, usd_per_day: float) -> dict[str, Costs]:
    """What each client spends, by name; the same numbers every time."""
    price = PriceBook().price(PROVIDER, MODEL, _PRICED_ON)
    assert price is not None, MODEL
    paid = [cost(price, Usage(input_tokens=i, output_tokens=o)) for i, o in tokens(data)]
    wanted = usd_per_day * NANO_PER_USD / fmean(paid)
    return {name: _spending(name, each, paid, wanted) for name, each in rates(data).items()}


def rates(data: Path) -> Mapping[str, Sequence[float]]:
    """Requests per second in each 10 minutes, by client."""
    found = {}
    for path in sorted((data / "servegen").glob("*.csv")):
        with path.open(newline="") as lines:
            found[path.stem.removesuffix("-trace")] = [float(row[1] or 0) for row in csv.reader(lines)]
    return found


def tokens(data: Path) -> list[tuple[int, int]]:
    """(input, output) tokens of the requests of the Azure trace."""
    with (data / "azure_llm" / "code.csv").open(newline="") as lines:
        return [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(lines)]


def _spending(name: str, rates: Sequence[float], paid: Sequence[int], requests_per_day: float) -> Costs:
    chance = random.Random(name)
    active = sum(any(rates[day * PER_DAY : (day + 1) * PER_DAY]) for day in range(DAYS))
    scale = requests_per_day * active / sum(rates)
    return [_drawn(chance, paid, _poisson(chance, rate * scale)) for rate in rates]


def _drawn(chance: random.Random, paid: Sequence[int], requests: int) -> int:
    draws = min(requests, _MOST_DRAWS)
    return sum(chance.choices(paid, k=draws)) * requests // draws if draws else 0


def _poisson(chance: random.Random, mean: float) -> int:
    if mean > _LARGE:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    count, left = 0, chance.random()
    while left > math.exp(-mean):
        left *= chance.random()
        count += 1
    return count
