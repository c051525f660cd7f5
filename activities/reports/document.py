"""A cost report as it is kept for ever: whole nano-dollars here, decimal dollars in its JSON.

In JSON every `..._nano_usd` is `..._usd`, a decimal string that is exact. Whatever a later version
adds has a default, so that old reports can be read and rendered again. Ratios are floats.

Names and counts only: no prompts, arguments or answers (I12).
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from gateway.policy.money import NANO_PER_USD, decimal_usd
from gateway.policy.report_periods import ReportKind

VERSION = 1
STATUSES = ("completed", "failed", "killed", "stopped", "expired")


def _nano(value: object) -> object:
    return int(Decimal(value) * NANO_PER_USD) if isinstance(value, str) else value


def _alias(field: str) -> str:
    return field.replace("_nano_usd", "_usd")


Money = Annotated[int, BeforeValidator(_nano), PlainSerializer(decimal_usd, when_used="json")]
"""Nano-dollars, also below zero; a decimal string of dollars in JSON."""


class Part(BaseModel):
    """Base of everything in a report."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=_alias, validate_by_name=True, serialize_by_alias=True
    )


class Usage(Part):
    """What was bought. refusals are not attempts. prompt tokens are input, cache reads and writes.
    saved: what answers of curb's own cache cost when they were bought."""

    cost_nano_usd: Money = 0
    attempts: int = 0
    errors: int = 0
    refusals: int = 0
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    saved_nano_usd: Money = 0

    @property
    def prompt_tokens(self) -> int:
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens


class Line(Part):
    """A name's part of the spend; '' is who gave no name. others: how many names stand for this line."""

    name: str
    others: int = 0
    cost_nano_usd: Money = 0
    before_nano_usd: Money | None = None
    attempts: int = 0
    errors: int | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None


class Point(Part):
    """One bar of the chart: an hour (ISO 8601 with its offset) or a day."""

    name: str
    cost_nano_usd: Money


class BudgetLine(Part):
    """A budget and what was spent of it; in a week, that of all its days. limit None: unlimited.

    overrun: spent beyond the limit (prices that came out above their bound; never by an admission).
    """

    scope: str
    per: Literal["day", "month"]
    window: str
    limit_nano_usd: Money | None = None
    spent_nano_usd: Money = 0
    overrun_nano_usd: Money = 0
    refusals: int = 0


class Work(Part):
    """What an agent did: runs that ended, by how. value: None where none was entered.

    cost is all that the agent spent in the period, whatever came of it; profit is value minus cost.
    """

    agent: str
    completed: int = 0
    failed: int = 0
    killed: int = 0
    stopped: int = 0
    expired: int = 0
    cost_nano_usd: Money = 0
    value_nano_usd: Money | None = None
    profit_nano_usd: Money | None = None
    cost_per_completed_nano_usd: Money | None = None

    @property
    def ended(self) -> int:
        return sum(getattr(self, status) for status in STATUSES)


class RunIncident(Part):
    """A run that did not end by itself, or that asked for a person. kind: its status, or what it asked."""

    run_id: str
    workflow_id: str
    agent: str
    kind: str
    reason: str = ""
    cost_nano_usd: Money | None = None
    at: datetime


class AlertLine(Part):
    """Alerts of one rule about one scope."""

    rule: str
    scope: str
    alerts: int
    first: datetime
    last: datetime


class SwitchLine(Part):
    """A switch that was set, changed or lifted ('')."""

    name: str
    old: str
    new: str
    at: datetime


class Incidents(Part):
    """What did not go by itself. Lists show the newest; the totals count all."""

    runs: tuple[RunIncident, ...] = ()
    runs_total: int = 0
    escalations: tuple[RunIncident, ...] = ()
    escalations_total: int = 0
    breaches: tuple[AlertLine, ...] = ()
    alerts: tuple[AlertLine, ...] = ()
    alerts_total: int = 0
    switches: tuple[SwitchLine, ...] = ()
    switches_total: int = 0


class Violation(Part):
    """Refusals of one kind by one scope ('run': by runs' own budgets)."""

    kind: str
    scope: str
    refusals: int


class ErrorLine(Part):
    """Attempts that failed in one way at one provider."""

    type: str
    provider: str
    errors: int


class Latency(Part):
    """How long successful calls took, in milliseconds; name '' is all of them."""

    name: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    attempts: int


class ShadowLine(Part):
    """Tool calls that shadow mode did not make."""

    agent: str
    tool: str
    actions: int
    runs: int


class Books(Part):
    """What was not certain when the report was made: attempts not settled, which cost at most their bound.

    The last reconciliation before: differences None where there was none, invoice None where no exact
    usage was to be had.
    """

    open_attempts: int = 0
    open_bound_nano_usd: Money = 0
    open_estimate_nano_usd: Money = 0
    reconciled_at: datetime | None = None
    differences: int | None = None
    ledger_nano_usd: Money | None = None
    invoice_nano_usd: Money | None = None


class Outlook(Part):
    """What a scope will have spent when the month ends. limit None: it has no monthly budget.

    days: what each day of the month came to so far (of everything only).
    """

    scope: str
    month: str
    days_to_come: int
    spent_nano_usd: Money
    expected_nano_usd: Money
    low_nano_usd: Money
    high_nano_usd: Money
    limit_nano_usd: Money | None = None
    days: tuple[Point, ...] = ()

    @property
    def over(self) -> bool:
        """Whether the month is expected to end above its budget."""
        return self.limit_nano_usd is not None and self.expected_nano_usd > self.limit_nano_usd


class ReportDocument(Part):
    """A report. state: `final` is over and stays; `preliminary` was closed early; `so_far` goes on."""

    version: int = VERSION
    kind: ReportKind
    period: str
    state: Literal["final", "preliminary", "so_far"] = "final"
    first_day: date
    last_day: date
    begins_at: datetime
    ends_at: datetime
    made_at: datetime
    timezone: str = "UTC"
    totals: Usage
    before_period: str = ""
    before: Usage | None = None
    chart: tuple[Point, ...] = ()
    agents: tuple[Line, ...] = ()
    models: tuple[Line, ...] = ()
    teams: tuple[Line, ...] = ()
    users: tuple[Line, ...] = ()
    features: tuple[Line, ...] = ()
    budgets: tuple[BudgetLine, ...] = ()
    budgets_total: int = 0
    work: tuple[Work, ...] = ()
    work_total: Work = Work(agent="")
    incidents: Incidents = Incidents()
    violations: tuple[Violation, ...] = ()
    violations_total: int = 0
    latency: tuple[Latency, ...] = ()
    errors: tuple[ErrorLine, ...] = ()
    errors_total: int = 0
    shadow: tuple[ShadowLine, ...] = ()
    books: Books = Books()
    outlook: Outlook | None = None
    outlooks: tuple[Outlook, ...] = ()

    @property
    def day_budget(self) -> BudgetLine | None:
        """The budget of everything, per day."""
        return _budget(self.budgets, "global", "day")


def share(part: int, whole: int) -> float | None:
    """A part of the whole; None of nothing."""
    return part / whole if whole else None


def _budget(budgets: Sequence[BudgetLine], scope: str, per: str) -> BudgetLine | None:
    return next((each for each in budgets if (each.scope, each.per) == (scope, per)), None)
