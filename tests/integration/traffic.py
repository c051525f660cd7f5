"""A week of traffic with the shape of recorded traffic (tests/data), as events for the ledger.

Each request has everything that a report cuts by, from its number, so that a test can compute in
plain Python what the report must say.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from gateway.calls import Settlement
from gateway.events import Event, Opened

WEEK = Path(__file__).parents[1] / "data" / "week_of_traffic.csv"
MONDAY = date(2024, 6, 3)
_DAY_MS = 86_400_000
_MODELS = {
    "coder": ("anthropic/claude-sonnet-4-5", 3_000, 15_000),
    "analyst": ("google/gemini-2.5-pro", 1_250, 10_000),
    "support": ("google/gemini-2.5-flash", 300, 2_500),
    "researcher": ("openai/gpt-5-mini", 250, 2_000),
    "classifier": ("groq/llama-3.1-8b-instant", 50, 80),
}
_TEAMS = {"coder": "platform", "analyst": "finance", "support": "care", "researcher": "finance"}
_FEATURES = ("search", "summary", "")


@dataclass(frozen=True)
class Request:
    """One attempt or refusal. Amounts in nano-dollars; adjusted is posted a day later."""

    number: int
    at_ms: int
    day: str
    agent: str
    deployment: str
    team: str
    user: str
    feature: str
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    kind: str  # settled, failed, refused, in_doubt
    cost: int
    adjusted: int
    duration_ms: int

    @property
    def attempt_id(self) -> str:
        return f"week:{self.number}#1"

    @property
    def booked(self) -> int:
        return self.cost + self.adjusted


def week(monday: date = MONDAY, zone: str = "UTC", every: int = 1) -> list[Request]:
    """The week's requests from a Monday (00:00 UTC), or every n-th of them."""
    with WEEK.open(newline="") as lines:
        rows = list(csv.DictReader(lines))[::every]
    start = round(datetime(monday.year, monday.month, monday.day, tzinfo=UTC).timestamp() * 1000)
    first = monday.toordinal() * 10_000
    return [
        _request(first + number, start + int(row["second"]) * 1000, row, ZoneInfo(zone))
        for number, row in enumerate(rows)
    ]


def _request(number: int, at_ms: int, row: dict[str, str], zone: ZoneInfo) -> Request:
    deployment, input_price, output_price = _MODELS[row["agent"]]
    prompt, output = int(row["input_tokens"]), int(row["output_tokens"])
    cached = prompt // 3 if number % 4 == 0 else 0
    kind = next(
        (k for k, n in (("refused", 41), ("in_doubt", 397), ("failed", 53)) if number % n == 0), "settled"
    )
    paid = (prompt - cached) * input_price + cached * input_price // 10 + output * output_price
    return Request(
        number=number,
        at_ms=at_ms,
        day=datetime.fromtimestamp(at_ms / 1000, zone).date().isoformat(),
        agent=row["agent"],
        deployment=deployment,
        team=_TEAMS.get(row["agent"], ""),
        user=f"user-{number % 23}" if number % 5 else "",
        feature=_FEATURES[number % 3],
        input_tokens=prompt - cached,
        cache_read_tokens=cached,
        output_tokens=output,
        kind=kind,
        cost=paid if kind == "settled" else 0,
        adjusted=-7 if kind == "settled" and number % 113 == 0 else 0,
        duration_ms=200 + output * 11,
    )


def events(requests: Sequence[Request]) -> Iterator[Event]:
    """What the outbox would have carried."""
    for request in requests:
        yield from _events(request)


def _events(request: Request) -> Iterator[Event]:
    provider, _, model = request.deployment.partition("/")
    opened = Opened(
        request.attempt_id, f"week:{request.number}", 1, "p1", request.agent, "balanced", request.deployment,
        provider, model, 2 * request.cost + 1000, run_id="", team=request.team, user=request.user,
        feature=request.feature, endpoint="run", queued_ms=request.at_ms,
    )  # fmt: skip
    if request.kind == "refused":
        refusal = {"kind": "exhausted", "scope": f"agent:{request.agent}", "limit_nano_usd": 10, "detail": ""}
        yield Event("refused", {**asdict(opened), "refusal": refusal}, at_ms=request.at_ms, day=request.day)
        return
    yield Event("reserved", asdict(opened), at_ms=request.at_ms, day=request.day)
    state: Literal["in_doubt", "settled"] = "in_doubt" if request.kind == "in_doubt" else "settled"
    good = request.kind == "settled"
    settlement = Settlement(
        attempt_id=request.attempt_id,
        state=state,
        cost_nano_usd=request.cost,
        estimate_nano_usd=500 if state == "in_doubt" else 0,
        basis="usage" if good else "unknown",
        status="success" if good else "error",
        error_type="" if good else "overloaded",
        input_tokens=request.input_tokens if good else 0,
        cache_read_tokens=request.cache_read_tokens if good else 0,
        output_tokens=request.output_tokens if good else 0,
        done_ms=request.at_ms + request.duration_ms,
    )
    yield Event(
        state, settlement.model_dump(mode="json"), at_ms=request.at_ms + request.duration_ms, day=request.day
    )
    if request.adjusted:
        yield _adjustment(request)


def _adjustment(request: Request) -> Event:
    body = {
        "posting_id": f"{request.attempt_id}/adjust", "attempt_id": request.attempt_id, "kind": "adjust",
        "amount_nano_usd": request.adjusted, "counters": [],
    }  # fmt: skip
    return Event("posted", body, at_ms=request.at_ms + _DAY_MS, day=request.day)


def a_week_before(monday: date = MONDAY) -> date:
    return monday - timedelta(days=7)
