"""A report with something in every section, for the tests of how reports look."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from activities.reports.document import (
    AlertLine,
    Books,
    BudgetLine,
    ErrorLine,
    Incidents,
    Latency,
    Line,
    Outlook,
    Point,
    ReportDocument,
    RunIncident,
    ShadowLine,
    SwitchLine,
    Usage,
    Violation,
    Work,
)
from gateway.policy.money import usd

DAY = date(2026, 11, 18)
BEGINS = datetime(2026, 11, 18, tzinfo=UTC)
_HOURS = (
    "0.31 0.22 0.18 0.12 0.15 0.4 1.1 2.6 5.2 7.9 9.4 8.8 6.1 8.2 10.4 11.3 9.9 7.2 4.1 2.2 1.4 6.7 0.8 0.42"
)


def _at(hour: int, minute: int) -> datetime:
    return BEGINS + timedelta(hours=hour, minutes=minute)


def _line(name: str, cost: str, before: str | None, attempts: int, **changes: Any) -> Line:
    return Line.model_validate(
        {
            "name": name,
            "cost_nano_usd": usd(cost),
            "before_nano_usd": None if before is None else usd(before),
            "attempts": attempts,
            "errors": attempts // 90,
            "prompt_tokens": attempts * 3_100,
            "output_tokens": attempts * 420,
            **changes,
        }
    )


def _usage(cost: str, **changes: int) -> Usage:
    values = {
        "attempts": 8_412, "errors": 71, "refusals": 64, "cached": 388, "input_tokens": 19_400_000,
        "output_tokens": 3_350_000, "cache_read_tokens": 8_900_000, "cache_write_tokens": 410_000, **changes,
    }  # fmt: skip
    return Usage(cost_nano_usd=usd(cost), **values)


def sample(**changes: Any) -> ReportDocument:
    """A day; `changes` replace fields."""
    hours = [usd(each) for each in _HOURS.split()]
    values: dict[str, Any] = {
        "kind": "daily",
        "period": DAY.isoformat(),
        "first_day": DAY,
        "last_day": DAY,
        "begins_at": BEGINS,
        "ends_at": BEGINS + timedelta(days=1),
        "made_at": datetime(2026, 11, 19, 0, 10, tzinfo=UTC),
        "timezone": "UTC",
        "totals": _usage("105.100"),
        "before_period": "2026-11-17",
        "before": _usage("93.412", attempts=7_980),
        "chart": [
            Point(name=f"{BEGINS + timedelta(hours=hour):%Y-%m-%dT%H:%M%z}", cost_nano_usd=cost)
            for hour, cost in enumerate(hours)
        ],
        "agents": [
            _line("coder", "61.244", "44.1", 2_310),
            _line("researcher", "24.018", "30.6", 3_120),
            _line("support", "11.38", "11.2", 1_890),
            _line("invoice-reader", "6.011", "7.512", 610),
            _line("classifier", "2.447", "0", 482),
        ],
        "models": [
            _line("anthropic/claude-sonnet-4-5", "61.244", "44.1", 2_310),
            _line("google/gemini-2.5-flash", "35.398", "41.8", 5_010),
            _line("openai/gpt-5-mini", "8.458", "7.512", 1_092),
        ],
        "teams": [
            _line("platform", "61.244", "44.1", 2_310),
            _line("finance", "30.029", "38.112", 3_730),
            _line("care", "11.38", "11.2", 1_890),
            _line("", "2.447", "0", 482),
        ],
        "users": [
            _line("ann", "32.1", "28", 1_900, prompt_tokens=None, output_tokens=None, errors=None),
            _line("bob", "21.8", "25.3", 1_400, prompt_tokens=None, output_tokens=None, errors=None),
            _line("", "48.2", "40.112", 4_800, prompt_tokens=None, output_tokens=None, errors=None),
            _line("", "3", None, 312, others=17, prompt_tokens=None, output_tokens=None, errors=None),
        ],
        "features": [_line("search", "70.1", "60", 5_300), _line("", "35", "33.412", 3_112)],
        "budgets": [
            _budget("global", "200", "105.100"),
            _budget("agent:coder", "60", "61.244", refusals=41, overrun_nano_usd=usd("1.244")),
            _budget("team:finance", "35", "30.029"),
            _budget("agent:researcher", "40", "24.018"),
            _budget("user:ann", "100", "32.1"),
        ],
        "budgets_total": 5,
        "work": [
            _work("coder", 41, "61.244", "205", failed=3, killed=1),
            _work("researcher", 118, "24.018", "59", failed=4, stopped=2),
            _work("support", 262, "11.38", None, failed=1),
            _work("invoice-reader", 57, "6.011", "5.7", failed=31),
        ],
        "work_total": _work("", 478, "102.653", "269.7", failed=39, killed=1, stopped=2),
        "incidents": _incidents(),
        "violations": [
            Violation(kind="exhausted", scope="agent:coder", refusals=41),
            Violation(kind="exhausted", scope="run", refusals=17),
            Violation(kind="switched", scope="agent:researcher", refusals=6),
        ],
        "violations_total": 64,
        "latency": [
            _latency("", 1_240, 6_900, 14_300, 8_341),
            _latency("google/gemini-2.5-flash", 840, 2_100, 4_900, 4_960),
            _latency("anthropic/claude-sonnet-4-5", 3_420, 11_800, 64_000, 2_301),
        ],
        "errors": [
            ErrorLine(type="overloaded", provider="anthropic", errors=48),
            ErrorLine(type="timeout", provider="google", errors=23),
        ],
        "errors_total": 71,
        "shadow": [ShadowLine(agent="mailer", tool="send_mail", actions=14, runs=9)],
        "books": Books(
            open_attempts=2,
            open_bound_nano_usd=usd("0.31"),
            open_estimate_nano_usd=usd("0.02"),
            reconciled_at=datetime(2026, 11, 19, 0, 0, 4, tzinfo=UTC),
            differences=0,
            ledger_nano_usd=usd("1604.5"),
            invoice_nano_usd=usd("1604.5"),
        ),
        "outlook": _outlook("global", "1604.5", "2790", "2610", "3180", "3000"),
        "outlooks": [_outlook("team:finance", "502.7", "861.2", "790", "960", "800", days=[])],
    }
    return ReportDocument.model_validate({**values, **changes})


def sample_week() -> ReportDocument:
    """A week."""
    costs = ("88.1", "93.412", "105.1", "97.04", "91.6", "21.3", "18.77")
    first = date(2026, 11, 16)
    return sample(
        kind="weekly",
        period="2026-W47",
        first_day=first,
        last_day=first + timedelta(days=6),
        chart=[
            Point(name=(first + timedelta(days=step)).isoformat(), cost_nano_usd=usd(cost))
            for step, cost in enumerate(costs)
        ],
        totals=_usage("515.322", attempts=41_000),
        before=_usage("548.2"),
        before_period="2026-W46",
    )


def _budget(scope: str, limit: str, spent: str, **changes: int) -> BudgetLine:
    return BudgetLine(
        scope=scope,
        per="day",
        window=DAY.isoformat(),
        limit_nano_usd=usd(limit),
        spent_nano_usd=usd(spent),
        **changes,
    )


def _work(agent: str, completed: int, cost: str, value: str | None, **ended: int) -> Work:
    worth = None if value is None else usd(value)
    return Work(
        agent=agent,
        completed=completed,
        cost_nano_usd=usd(cost),
        value_nano_usd=worth,
        profit_nano_usd=None if worth is None else worth - usd(cost),
        cost_per_completed_nano_usd=usd(cost) // completed,
        **ended,
    )


def _latency(name: str, p50: float, p95: float, p99: float, attempts: int) -> Latency:
    return Latency(name=name, p50_ms=p50, p95_ms=p95, p99_ms=p99, attempts=attempts)


def _outlook(
    scope: str, spent: str, expected: str, low: str, high: str, limit: str, **changes: Any
) -> Outlook:
    days = [
        Point(name=f"2026-11-{day:02d}", cost_nano_usd=usd("31") if day % 7 in (0, 1) else usd("112.47"))
        for day in range(1, 19)
    ]
    values = {"days": days, **changes}
    return Outlook(
        scope=scope,
        month="2026-11",
        days_to_come=12,
        spent_nano_usd=usd(spent),
        expected_nano_usd=usd(expected),
        low_nano_usd=usd(low),
        high_nano_usd=usd(high),
        limit_nano_usd=usd(limit),
        **values,
    )


def _incidents() -> Incidents:
    def run(run_id: str, agent: str, kind: str, reason: str, cost: str, at: datetime) -> RunIncident:
        return RunIncident(
            run_id=run_id, workflow_id=run_id, agent=agent, kind=kind, reason=reason,
            cost_nano_usd=usd(cost), at=at,
        )  # fmt: skip

    return Incidents(
        runs=(
            run("coder-8c1f02d9aa", "coder", "killed", "manual:adam:wrong_branch", "1.912", _at(21, 14)),
            run(
                "researcher-44b0c6e7f1",
                "researcher",
                "stopped",
                "repeated_call (tool list_files, in_a_row 4)",
                "0.204",
                _at(14, 2),
            ),
            run(
                "researcher-90ee13aa02",
                "researcher",
                "stopped",
                "context_explosion (112,480 tokens, +31 % in 3 steps)",
                "2.66",
                _at(10, 40),
            ),
        ),
        runs_total=3,
        escalations=(run("invoice-reader-7d20", "invoice-reader", "approval", "", "0.11", _at(11, 8)),),
        escalations_total=1,
        breaches=(
            AlertLine(
                rule="daily_budget_exceeded",
                scope="agent:coder",
                alerts=1,
                first=_at(20, 51),
                last=_at(20, 51),
            ),
        ),
        alerts=(
            AlertLine(
                rule="daily_budget_80", scope="agent:coder", alerts=1, first=_at(17, 3), last=_at(17, 3)
            ),
            AlertLine(rule="loop_detected", scope="run", alerts=2, first=_at(10, 40), last=_at(14, 2)),
        ),
        alerts_total=3,
        switches=(
            SwitchLine(
                name="kill:agent:coder", old="", new="auto:budget:curb:$61.24 of $60.00 spent", at=_at(20, 51)
            ),
        ),
        switches_total=1,
    )
