"""Makes the report of a period from Postgres; only budgets of days not yet closed come from the authority."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from activities.reports import lines, outlook
from activities.reports.document import (
    AlertLine,
    Books,
    BudgetLine,
    ErrorLine,
    Incidents,
    Latency,
    Outlook,
    Point,
    ReportDocument,
    RunIncident,
    ShadowLine,
    SwitchLine,
    Usage,
    Violation,
)
from activities.reports.policy import ReportPolicy
from gateway.errors import CurbError
from gateway.policy.latency import percentile_ms
from gateway.policy.periods import Calendar
from gateway.policy.report_periods import ReportPeriod, before
from gateway.policy.scopes import Period, Window
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.days import suffix
from gateway.store.figures import BudgetSum, Row, RunSum, UsageSum

LISTED = 20  # incidents, violations, errors at most
_INCIDENTS = ("killed", "stopped", "expired")
_BREACH = "budget_exceeded"
_REASON_CHARACTERS = 160
_HOURS, _REFRESHES = 1_000, 100  # eleven years of them
_HOUR = "%Y-%m-%dT%H:%M%z"

State = Literal["final", "preliminary", "so_far"]


class BooksLag(CurbError):
    """What was decided in the period is not in Postgres yet."""


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a period that a report is about: all of it, or what has passed. Times are aware."""

    period: ReportPeriod
    since: datetime
    until: datetime
    state: State

    @property
    def last_day(self) -> date:
        """The last day that has begun."""
        begun = [day for day in self.period.days if day.start_ms < _ms(self.until)]
        return date.fromisoformat((begun or self.period.days)[-1].id)

    @property
    def elapsed(self) -> float | None:
        """The share of the last day that has passed; None when it is over."""
        for day in self.period.days:
            if day.start_ms < _ms(self.until) < day.end_ms:
                return (_ms(self.until) - day.start_ms) / (day.end_ms - day.start_ms)
        return None


class Reporter:
    """Makes reports. calendar: of the accounting days; it is asked about the past, so one of its own."""

    def __init__(
        self, store: Store, authority: Authority, calendar: Calendar, policy: ReportPolicy | None = None
    ) -> None:
        self._store = store
        self._authority = authority
        self.calendar = Calendar(calendar.zone, calendar.day_start_seconds)
        self._top = (policy or ReportPolicy()).top

    async def booked_until(self, at_ms: int, *, seconds: float = 15.0) -> None:
        """Wait until all that was decided before an instant is in Postgres, and in its hours.

        Raises BooksLag when it takes longer than that.
        """
        deadline = time.monotonic() + seconds
        while (oldest := await self._authority.oldest_event_ms()) is not None and oldest < at_ms:
            if time.monotonic() > deadline:
                raise BooksLag("the books lag behind what was decided: the outbox is not drained yet")
            await asyncio.sleep(0.1)
        for _ in range(_REFRESHES):
            if await self._store.usage.refresh(limit=_HOURS) < _HOURS:
                return

    async def make(self, period: ReportPeriod, now: datetime, *, preliminary: bool = False) -> ReportDocument:
        """The report of a period as the books are now. Raises StoreUnavailable, StateUnavailable.

        A period that is not over is reported as far as it has come. preliminary: it was closed early.
        """
        span = _span(period, now, preliminary=preliminary)
        earlier = before(period, self.calendar)
        figures = self._store.figures
        (sums, users), (then, _), runs, refused, failed = await asyncio.gather(
            figures.usage(period.first_day, period.last_day, top=self._top),
            figures.usage(earlier.first_day, earlier.last_day, top=1),
            figures.runs(span.since, span.until),
            figures.refusals(span.since, span.until, limit=LISTED),
            figures.errors(span.since, span.until, limit=LISTED),
        )
        work = lines.work_lines(runs, sums["agent"])
        ahead = await self._outlooks(span)
        budgets = await self._budgets(span)
        named = [each.name for each in users if each.name is not None]
        before_of_users = await figures.cost_of_users(earlier.first_day, earlier.last_day, named)
        return ReportDocument(
            kind=period.kind,
            period=period.name,
            state=span.state,
            first_day=period.first_day,
            last_day=period.last_day,
            begins_at=span.since,
            ends_at=_time(period.ends_ms),
            made_at=now,
            timezone=str(self.calendar.zone),
            totals=lines.usage_of(sums[""]),
            before_period=earlier.name,
            before=_known(then[""]),
            chart=self._chart(span, sums),
            agents=lines.usage_lines(sums["agent"], then["agent"], self._top),
            models=lines.usage_lines(sums["model"], then["model"], self._top),
            teams=lines.usage_lines(sums["team"], then["team"], self._top),
            users=lines.user_lines(users, before_of_users),
            features=lines.usage_lines(sums["feature"], then["feature"], self._top),
            budgets=budgets[:LISTED],
            budgets_total=len(budgets),
            work=work,
            work_total=lines.work_total(work),
            incidents=await self._incidents(span, runs),
            violations=tuple(Violation.model_validate(row) for row in refused),
            violations_total=_total(refused),
            latency=await self._latency(period),
            errors=tuple(ErrorLine.model_validate(row) for row in failed),
            errors_total=_total(failed),
            shadow=await self._shadow(span),
            books=await self._books(span),
            outlook=next((each for each in ahead if each.scope == "global"), None),
            outlooks=tuple(each for each in ahead if each.scope != "global"),
        )

    def _chart(self, span: Span, sums: dict[str, list[UsageSum]]) -> tuple[Point, ...]:
        """The hours of a day, or the days of a week: those without spend too."""
        if span.period.kind == "weekly":
            spent = {each.name: each.cost_nano_usd for each in sums["day"]}
            return tuple(Point(name=day.id, cost_nano_usd=spent.get(day.id, 0)) for day in span.period.days)
        by_hour = {datetime.fromisoformat(each.name): each.cost_nano_usd for each in sums["hour"]}
        return tuple(
            Point(
                name=hour.astimezone(self.calendar.zone).strftime(_HOUR), cost_nano_usd=by_hour.get(hour, 0)
            )
            for hour in _hours(span.period, sorted(by_hour))
        )

    async def _outlooks(self, span: Span) -> tuple[Outlook, ...]:
        first, last = outlook.first_day_needed(span.last_day), span.last_day
        days = await self._store.figures.days_of_scopes(first, last)
        _, limits = await self._store.budgets.current_limits()
        topped = await self._store.budgets.top_ups(outlook.counters(days, last))
        return outlook.outlooks(days, limits, topped, last_day=last, elapsed=span.elapsed)

    async def _budgets(self, span: Span) -> tuple[BudgetLine, ...]:
        """Of closed days what was written down when they closed, of others what the authority has now."""
        figures, days = self._store.figures, [day.id for day in span.period.days]
        closed = await figures.closed_days(days, preliminary=span.state == "preliminary")
        sums = await figures.budgets(sorted(closed))
        for day in sorted(set(days) - closed):
            sums += [
                BudgetSum(state.scope, state.limit_nano_usd, state.spent_nano_usd)
                for state in await self._authority.budgets(suffix(Period.DAY, Window(day, 0, 0)))
            ]
        return lines.budget_lines(sums, span.period.name)

    async def _incidents(self, span: Span, ended: Sequence[RunSum]) -> Incidents:
        figures, between = self._store.figures, (span.since, span.until)
        runs = await figures.ended_badly(*between, statuses=_INCIDENTS, limit=LISTED)
        escalations = await figures.escalations(*between, limit=LISTED)
        alerts = await figures.alerts(*between, limit=5 * LISTED)
        switches = await figures.switches(*between, limit=LISTED)
        told = [AlertLine.model_validate(row) for row in alerts]
        return Incidents(
            runs=tuple(_run_incident(row, row["status"]) for row in runs),
            runs_total=sum(each.runs for each in ended if each.status in _INCIDENTS),
            escalations=tuple(_run_incident(row, row["kind"]) for row in escalations),
            escalations_total=_total(escalations),
            breaches=tuple(each for each in told if each.rule.endswith(_BREACH)),
            alerts=tuple(each for each in told if not each.rule.endswith(_BREACH))[:LISTED],
            alerts_total=_total(alerts),
            switches=tuple(SwitchLine.model_validate(row) for row in switches),
            switches_total=_total(switches),
        )

    async def _latency(self, period: ReportPeriod) -> tuple[Latency, ...]:
        first, last, usage = period.first_day, period.last_day, self._store.usage
        everything = await usage.latencies(first, last)
        by_model = await usage.latencies(first, last, by="deployment")
        ranked = sorted(by_model, key=lambda name: (-sum(by_model[name].values()), name))
        counted = [*everything.items(), *((name, by_model[name]) for name in ranked[: self._top])]
        return tuple(_latency(name, counts) for name, counts in counted)

    async def _shadow(self, span: Span) -> tuple[ShadowLine, ...]:
        rows = await self._store.figures.shadow_actions(span.since, span.until, limit=5 * LISTED)
        return tuple(ShadowLine.model_validate(row) for row in rows)

    async def _books(self, span: Span) -> Books:
        not_settled = await self._store.figures.open(span.since, span.until)
        last = await self._store.figures.last_reconciliation(datetime.now(UTC))
        return Books(
            open_attempts=not_settled.attempts,
            open_bound_nano_usd=not_settled.bound_nano_usd,
            open_estimate_nano_usd=not_settled.estimate_nano_usd,
            reconciled_at=last["at"] if last else None,
            differences=last["differences"] if last else None,
            ledger_nano_usd=last["ledger_nano_usd"] if last else None,
            invoice_nano_usd=last["invoice_nano_usd"] if last else None,
        )


def _span(period: ReportPeriod, now: datetime, *, preliminary: bool) -> Span:
    since, ends = _time(period.starts_ms), _time(period.ends_ms)
    if ends <= now:
        return Span(period, since, ends, "final")
    return Span(period, since, max(since, now), "preliminary" if preliminary else "so_far")


def _hours(period: ReportPeriod, known: Sequence[datetime]) -> list[datetime]:
    """The full hours (UTC) that a day touches; an attempt's hour may lie at its very edge."""
    hour_ms = 3_600_000
    first = period.starts_ms // hour_ms * hour_ms
    hours = {_time(at) for at in range(first, period.ends_ms, hour_ms)}
    return sorted(hours | set(known))


def _run_incident(row: Row, kind: str) -> RunIncident:
    return RunIncident(
        run_id=row["id"],
        workflow_id=row["workflow_id"],
        agent=row["agent"],
        kind=kind,
        reason=row.get("reason", "")[:_REASON_CHARACTERS],
        cost_nano_usd=row.get("cost_nano_usd"),
        at=row["at"],
    )


def _latency(name: str, counts: dict[int, int]) -> Latency:
    p50, p95, p99 = (round(percentile_ms(counts, share) or 0.0, 1) for share in (0.5, 0.95, 0.99))
    return Latency(name=name, p50_ms=p50, p95_ms=p95, p99_ms=p99, attempts=sum(counts.values()))


def _known(sums: Sequence[UsageSum]) -> Usage | None:
    """None when nothing at all happened: then there is nothing to compare with."""
    usage = lines.usage_of(sums)
    return usage if usage.attempts or usage.refusals or usage.cost_nano_usd else None


def _total(rows: Sequence[Row]) -> int:
    return int(rows[0]["total"]) if rows else 0


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
