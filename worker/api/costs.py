"""What was spent: summaries, by whatever it is asked for, and statistics of use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from gateway.policy.latency import percentile_ms
from gateway.policy.money import decimal_usd
from gateway.store.figures import UsageSum
from worker.api.access import allowed
from worker.api.documents import (
    CostSummary,
    Latency,
    ModelStats,
    NamedSums,
    Spend,
    Sums,
    UsageStats,
    UserSpend,
    UserSums,
)
from worker.api.office import Office
from worker.api.problems import Wrong

Day = Annotated[
    str | None,
    Query(
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="An accounting day, YYYY-MM-DD. Left out: from the first of the month to today.",
        examples=["2026-11-21"],
    ),
]
Cut = Literal[
    "agents",
    "models",
    "providers",
    "tiers",
    "teams",
    "features",
    "applications",
    "endpoints",
    "keys",
    "modes",
]
Limit = Annotated[int, Query(ge=1, le=10_000)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]
_YEARS = range(1970, 9_000)
_MOST_HOURLY_DAYS = 100
_TIMES = {"hourly": "hour", "daily": "day", "monthly": "month"}


@dataclass(frozen=True, slots=True)
class Span:
    """Accounting days, both included."""

    first: date
    last: date

    @property
    def said(self) -> Mapping[str, str]:
        return {"start_date": str(self.first), "end_date": str(self.last)}


def costs(office: Office) -> APIRouter:
    """The endpoints."""
    router = APIRouter(tags=["costs"], dependencies=[Depends(allowed(office, "viewer"))])

    async def span(start_date: Day = None, end_date: Day = None) -> Span:
        today = await office.today()
        last = _day(end_date, "end_date") or today
        first = _day(start_date, "start_date") or last.replace(day=1)
        if first > last:
            raise Wrong(f"is after {last}", "start_date")
        await office.freshness.now()
        return Span(first, last)

    span_asked = Depends(span)

    @router.get("/api/v1/costs/summary")
    async def summary(
        days: Annotated[Span, span_asked],
        user_id: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
    ) -> CostSummary:
        """What everybody, or one user, came to."""
        if user_id is not None:
            [*found] = await office.store.spending.by_user(days.first, days.last, user=user_id, limit=1)
            cost = sum(each.cost_nano_usd for each in found)
            attempts = sum(each.attempts for each in found)
            return CostSummary(
                **days.said,
                user_id=user_id,
                total_usd=decimal_usd(cost),
                attempts=attempts,
                sums=None,
                by_day=[],
            )
        by_day = await office.store.spending.by("day", days.first, days.last, limit=10_000)
        total = _total(await office.store.spending.by("", days.first, days.last))
        return CostSummary(
            **days.said,
            user_id=None,
            total_usd=decimal_usd(total.cost_nano_usd),
            attempts=total.attempts,
            sums=Sums.model_validate(_sums(total)),
            by_day=[_named(each) for each in by_day],
        )

    @router.get("/api/v1/costs/{period}")
    async def over_time(
        period: Literal["hourly", "daily", "monthly"],
        days: Annotated[Span, span_asked],
        limit: Limit = 10_000,
        offset: Offset = 0,
    ) -> Spend:
        """Sums by hour (UTC), accounting day or month, in their order; those without any use are left out."""
        if period == "hourly" and days.last - days.first > timedelta(days=_MOST_HOURLY_DAYS):
            raise Wrong(f"hours of at most {_MOST_HOURLY_DAYS} days at once", "start_date")
        return await _spend(office, _TIMES[period], days, limit, offset)

    @router.get("/api/v1/spend/users")
    async def by_user(days: Annotated[Span, span_asked], limit: Limit = 100, offset: Offset = 0) -> UserSpend:
        """Users, the dearest first; '' for calls that name nobody."""
        spending = office.store.spending
        found = await spending.by_user(days.first, days.last, limit=limit, offset=offset)
        total = _total(await spending.by("", days.first, days.last))
        rows = [
            UserSums(name=each.name, cost_usd=decimal_usd(each.cost_nano_usd), attempts=each.attempts)
            for each in found
        ]
        return UserSpend(**days.said, total_usd=decimal_usd(total.cost_nano_usd), rows=rows)

    @router.get("/api/v1/spend/{by}")
    async def spend(
        by: Cut, days: Annotated[Span, span_asked], limit: Limit = 100, offset: Offset = 0
    ) -> Spend:
        """Sums by one dimension, the dearest first."""
        return await _spend(office, by.removesuffix("s"), days, limit, offset)

    @router.get("/admin/spend/teams")
    async def teams(days: Annotated[Span, span_asked], limit: Limit = 100, offset: Offset = 0) -> Spend:
        """The same as /api/v1/spend/teams."""
        return await _spend(office, "team", days, limit, offset)

    @router.get("/api/v1/usage/stats")
    async def stats(days: Annotated[Span, span_asked]) -> UsageStats:
        """How many, how well, how fast: of everybody, and of each model."""
        spending, latencies = office.store.spending, office.store.usage.latencies
        total = _total(await spending.by("", days.first, days.last))
        overall = (await latencies(days.first, days.last)).get("", {})
        each = await latencies(days.first, days.last, by="deployment")
        return UsageStats(
            **days.said,
            attempts=total.attempts,
            errors=total.errors,
            refusals=total.refusals,
            success_rate=_success(total),
            **_latency(overall).model_dump(),
            models=[
                ModelStats(
                    model=row.name,
                    attempts=row.attempts,
                    success_rate=_success(row),
                    **_latency(each.get(row.name, {})).model_dump(),
                )
                for row in await spending.by("model", days.first, days.last)
            ],
        )

    return router


async def _spend(office: Office, cut: str, days: Span, limit: int, offset: int) -> Spend:
    spending = office.store.spending
    found = await spending.by(cut, days.first, days.last, limit=limit, offset=offset)
    total = _total(await spending.by("", days.first, days.last))
    return Spend(
        **days.said, by=cut, total_usd=decimal_usd(total.cost_nano_usd), rows=[_named(row) for row in found]
    )


def _day(written: str | None, field: str) -> date | None:
    if written is None:
        return None
    try:
        found = date.fromisoformat(written)
    except ValueError:
        found = date.min
    if found.year not in _YEARS:
        raise Wrong("write a date like 2026-11-21", field)
    return found


def _total(rows: Sequence[UsageSum]) -> UsageSum:
    """The one row for everything; nothing at all where nothing was used."""
    return rows[0] if rows else UsageSum("")


def _sums(each: UsageSum) -> dict[str, object]:
    return {
        "cost_usd": decimal_usd(each.cost_nano_usd),
        "saved_usd": decimal_usd(each.saved_nano_usd),
        **{
            name: getattr(each, name)
            for name in (
                "attempts", "errors", "refusals", "cached", "input_tokens", "output_tokens",
                "cache_read_tokens", "cache_write_tokens",
            )
        },
    }  # fmt: skip


def _named(each: UsageSum) -> NamedSums:
    return NamedSums.model_validate({"name": each.name, **_sums(each)})


def _success(each: UsageSum) -> float | None:
    return None if not each.attempts else round(1 - each.errors / each.attempts, 6)


def _latency(counts: Mapping[int, int]) -> Latency:
    shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
    found = {name: percentile_ms(counts, share) for name, share in shares.items()}
    return Latency(**{name: None if ms is None else round(ms, 1) for name, ms in found.items()})
