"""Answers' lengths and pace from a recorded trace: columns TIMESTAMP, ContextTokens, GeneratedTokens.

The trace knows when requests came, not how long answers took; the time to the next request, at most
one second, is taken as the time of the answer.
"""

import csv
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

_MAX_ANSWER_MS = 1_000.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How many tokens an answer has, and how many milliseconds each of them takes."""

    tokens: int
    token_ms: float


@dataclass(frozen=True, slots=True)
class Trace:
    """The answers of a recorded trace, in its order."""

    answers: tuple[Pace, ...]

    def of(self, seed: str) -> Pace:
        """The same answer for the same request, whenever it is sent."""
        return self.answers[int(seed[:12], 16) % len(self.answers)]


def load(path: Path) -> Trace:
    """Read a trace. Raises ValueError or KeyError that names what is wrong, OSError."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if len(rows) < 2:
        raise ValueError(f"{path}: a trace has at least two rows")
    times = [datetime.fromisoformat(row["TIMESTAMP"][:26]) for row in rows]
    gaps = [(later - earlier).total_seconds() * 1000 for earlier, later in pairwise(times)]
    tokens = [max(int(row["GeneratedTokens"]), 1) for row in rows]
    paced = zip(tokens, [*gaps, 0.0], strict=True)
    return Trace(tuple(Pace(count, min(max(gap, 0.0), _MAX_ANSWER_MS) / count) for count, gap in paced))
