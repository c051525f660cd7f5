"""`python -m tests.data.make_week DATA`: write week_of_traffic.csv anew from the recorded traffic.

DATA holds servegen/*.csv and azure_llm/code.csv. Days 8 to 14 of five clients, thinned to about
6,000 requests with the shape of their days kept; tokens are drawn from the Azure trace.
"""

import csv
import random
import sys
from pathlib import Path

CLIENTS = {
    "m-large_chunk-142": "coder",
    "m-large_chunk-88": "analyst",
    "m-mid_chunk-11": "support",
    "m-mid_chunk-57": "researcher",
    "m-small_chunk-11": "classifier",
}
FILE = Path(__file__).with_name("week_of_traffic.csv")
_FROM_DAY, _DAY_SECONDS, _BUCKET_SECONDS = 7, 86_400, 600
_PER_CLIENT = 1_200


def main(data: Path) -> None:
    chance = random.Random("week")
    with (data / "azure_llm" / "code.csv").open(newline="") as lines:
        tokens = [(row["ContextTokens"], row["GeneratedTokens"]) for row in csv.DictReader(lines)]
    requests = sorted(
        (second, agent, *chance.choice(tokens))
        for client, agent in CLIENTS.items()
        for second in _arrivals(data / "servegen" / f"{client}-trace.csv", chance)
    )
    with FILE.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("second", "agent", "input_tokens", "output_tokens"))
        writer.writerows(requests)


def _arrivals(path: Path, chance: random.Random) -> list[int]:
    """Seconds since the week began; each bucket's share of the requests is kept on average."""
    with path.open(newline="") as lines:
        buckets = [
            (int(float(row[0])) - _FROM_DAY * _DAY_SECONDS, float(row[1])) for row in csv.reader(lines)
        ]
    week = [(second, rate) for second, rate in buckets if second >= 0]
    whole = sum(rate for _, rate in week)
    return [
        second + chance.randrange(_BUCKET_SECONDS)
        for second, rate in week
        for _ in range(_rounded(_PER_CLIENT * rate / whole, chance))
    ]


def _rounded(expected: float, chance: random.Random) -> int:
    return int(expected) + (chance.random() < expected % 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
