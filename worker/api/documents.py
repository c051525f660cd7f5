"""The documents of the admin API. Money is dollars as exact decimal strings; times are ISO 8601 in UTC."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Usd = Annotated[str, Field(description="Dollars as an exact decimal.", examples=["0.0125"])]
At = Annotated[str, Field(description="ISO 8601, UTC.", examples=["2026-11-21T08:00:00.000+00:00"])]
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]
Text = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]


class Answer(BaseModel):
    """What is answered."""

    model_config = ConfigDict(frozen=True)


class Asked(BaseModel):
    """What is asked for; a field that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# -- costs ---------------------------------------------------------------------------------------


class Sums(Answer):
    """What a number of attempts came to. errors: of these attempts; refusals come on top of them."""

    cost_usd: Usd
    attempts: int
    errors: int
    refusals: int
    cached: int
    saved_usd: Usd
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int


class NamedSums(Sums):
    """The same under one name; '' where nobody was named."""

    name: str


class UserSums(Answer):
    name: str
    cost_usd: Usd
    attempts: int


class CostSummary(Answer):
    """user_id: null for everybody; of one user only cost and attempts are kept."""

    start_date: str
    end_date: str
    user_id: str | None
    total_usd: Usd
    attempts: int
    sums: Sums | None
    by_day: list[NamedSums]


class Spend(Answer):
    start_date: str
    end_date: str
    by: str
    total_usd: Usd
    rows: list[NamedSums]


class UserSpend(Answer):
    start_date: str
    end_date: str
    total_usd: Usd
    rows: list[UserSums]


class Latency(Answer):
    """Durations of successful attempts, in milliseconds, to within 19 %; null without any."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class ModelStats(Latency):
    model: str
    attempts: int
    success_rate: float | None


class UsageStats(Latency):
    """success_rate: 0 to 1, of the attempts that ended; null without any."""

    start_date: str
    end_date: str
    attempts: int
    errors: int
    refusals: int
    success_rate: float | None
    models: list[ModelStats]


# -- budgets -------------------------------------------------------------------------------------


class BudgetRule(Answer):
    """current_spend_usd: in its running period; null where the scope is a pattern (agent:*)."""

    name: str
    scope: str
    period: Literal["run", "day", "month"]
    limit_usd: Usd
    current_spend_usd: Usd | None
    alert_threshold: float
    auto_switch_enabled: bool
    fallback_model: str
    origin: str
    version: int
    created_at: At | None
    updated_at: At | None


class RuleTerms(Asked):
    """What a budget rule says. alert_threshold: a share of the limit, 0 to 1."""

    limit_usd: str = Field(max_length=40, examples=["25"], pattern=r"^\$?[0-9]{1,7}(\.[0-9]{1,9})?$")
    alert_threshold: float = Field(default=0.8, gt=0, le=1)
    auto_switch_enabled: bool = False
    fallback_model: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")


class NewRule(RuleTerms):
    """A rule to be made. name: made of scope and period unless given."""

    scope: Name = Field(examples=["agent:coder"])
    period: Literal["day", "month"] = "month"
    name: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f?#%]*$")] = ""


class Budget(Answer):
    scope: str
    period: Literal["run", "day", "month"]
    window: str | None
    limit_usd: Usd | None
    spent_usd: Usd
    held_usd: Usd
    in_doubt_usd: Usd
    left_usd: Usd | None
    topped_up_usd: Usd
    resets_at: At | None


# -- keys ----------------------------------------------------------------------------------------


class Token(Answer):
    prefix: str
    created_at: At | None
    ends_at: At | None
    works: bool


class Key(Answer):
    """A virtual key. tiers, models: null for all."""

    id: str
    name: str
    state: Literal["active", "expired", "frozen", "revoked"]
    tokens: list[Token]
    agent: str | None
    team: str | None
    user: str | None
    tiers: list[str] | None
    models: list[str] | None
    rate_tier: str
    roles: list[str]
    tags: dict[str, str]
    daily_usd: Usd | None
    monthly_usd: Usd | None
    created_by: str
    created_at: At | None
    expires_at: At | None
    last_used_at: At | None
    frozen_at: At | None
    frozen_by: str | None
    revoked_at: At | None
    revoked_by: str | None


class IssuedKey(Key):
    """A key with a token that was just made: it is shown now and never again."""

    token: str
    prefix: str


KeyPart = Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
Amount = Annotated[str, Field(max_length=40, pattern=r"^\$?[0-9]{1,7}(\.[0-9]{1,9})?$")]


class NewKey(Asked):
    """A key to be made. expires_in_days: null for never."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=PRINTABLE)]
    agent: KeyPart = ""
    team: KeyPart = ""
    user: KeyPart = ""
    tiers: list[Name] | None = None
    models: list[Name] | None = None
    rate_tier: Literal["free", "pro", "enterprise"] = "free"
    roles: list[Literal["call", "viewer", "operator", "admin"]] = Field(default=["call"], min_length=1)
    tags: dict[KeyPart, KeyPart] = Field(default_factory=dict, max_length=32)
    daily_usd: Amount | None = None
    monthly_usd: Amount | None = None
    expires_in_days: float | None = Field(default=None, gt=0, le=36_500)


class Rotation(Asked):
    """overlap_seconds: how long tokens from before work on."""

    overlap_seconds: float = Field(default=86_400, ge=0, le=31_536_000)


class Reason(Asked):
    reason: Text = ""


class Keys(Answer):
    keys: list[Key]


class KeyIds(Answer):
    keys: list[str]


# -- switches ------------------------------------------------------------------------------------


class SwitchState(Answer):
    """since: when it was noticed; null: not yet."""

    name: str
    value: str
    since: At | None
    expires_at: At | None


class Switches(Answer):
    switches: list[SwitchState]


class SwitchOn(Asked):
    """expires_seconds: it lifts itself after so long; null: never."""

    reason: Text = "by_hand"
    expires_seconds: int | None = Field(default=None, gt=0, le=31_536_000)


# -- runs ----------------------------------------------------------------------------------------


class NewRun(Asked):
    """A run to be launched; the same id twice is one run."""

    agent: Name
    task: Annotated[str, Field(min_length=1, max_length=1_000_000, pattern=r"^[^\x00]*$")]
    id: Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9._:-]*$")] = ""
    budget_usd: Amount | None = None
    max_steps: int | None = Field(default=None, ge=1, le=100_000)
    mode: Literal["", "live", "shadow"] = ""
    user: KeyPart = ""
    team: KeyPart = ""
    session: KeyPart = ""
    application: KeyPart = ""
    tags: dict[KeyPart, KeyPart] = Field(default_factory=dict, max_length=32)


class Waiting(Answer):
    cause: str
    detail: str


class Run(Answer):
    """A run in short."""

    id: str
    agent: str
    status: str
    reason: str
    mode: str
    steps: int
    max_steps: int | None
    cost_usd: Usd
    held_usd: Usd
    in_doubt_usd: Usd
    budget_usd: Usd | None
    waiting_for: list[Waiting]
    team: str
    user: str
    session: str
    tags: dict[str, str]
    parent: str
    started_at: At | None
    ended_at: At | None


class RunWhole(Run):
    """A run with its steps. calls: one entry per step, with its attempts and tools."""

    task: str
    answer: str
    calls: list[dict[str, Any]]
    shadow_actions: list[dict[str, Any]]
    escalations: list[dict[str, Any]]
    conversation_id: str
    temporal_ui: str | None


class Launched(Answer):
    """existed: it had been launched before under this id, and is still that run."""

    id: str
    existed: bool
    temporal_ui: str | None


class Runs(Answer):
    runs: list[Run]


class TopUp(Asked):
    """More money. scope: another budget that blocks, instead of the run's own; id: twice is once."""

    usd: Amount
    scope: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    period: Literal["day", "month"] = "day"
    id: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


class ToppedUp(Answer):
    scope: str
    limit_usd: Usd
    note: str


class Approval(Asked):
    call: Name


class Denial(Asked):
    call: Name
    reason: Text = ""


class Reply(Asked):
    """An answer to a question of a run. question: which, where several are open."""

    text: Annotated[str, Field(min_length=1, max_length=100_000, pattern=r"^[^\x00]*$")]
    question: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


class Rating(Asked):
    """How good a run was: a number or a word."""

    value: float | Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
    name: Annotated[str, Field(min_length=1, max_length=100, pattern=PRINTABLE)] = "quality"
    comment: Text = ""


class Steps(Asked):
    """How many steps more."""

    steps: int = Field(ge=1, le=100_000)


class MaxSteps(Answer):
    max_steps: int


class Done(Answer):
    id: str
    done: str


# -- alerts and reports --------------------------------------------------------------------------


class Told(Answer):
    kind: str
    number: int
    channel: str
    state: str
    tries: int
    error: str
    delivered_at: At | None


class Alert(Answer):
    """evidence: the numbers that made it; silence: the id of what silences it."""

    id: str
    rule: str
    severity: str
    status: str
    scope: str
    agent: str
    team: str
    title: str
    evidence: Any
    action: str
    count: int
    first_seen: At | None
    last_seen: At | None
    acknowledged_by: str | None
    acknowledged_at: At | None
    note: str
    resolved_at: At | None
    resolution: str
    silence: str | None
    told: list[Told]


class Alerts(Answer):
    alerts: list[Alert]


class Note(Asked):
    note: Text = ""


class Acknowledged(Answer):
    id: str
    acknowledged_by: str
    signalled: bool


Glob = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class NewSilence(Asked):
    """What is to be silenced, by globs, and for how long."""

    rule: Glob = ""
    scope: Glob = ""
    agent: Glob = ""
    team: Glob = ""
    seconds: int = Field(gt=0, le=31_536_000)
    reason: Text = ""


class Silence(Answer):
    id: str
    rule: str
    scope: str
    agent: str
    team: str
    until: At
    by: str
    reason: str


class Silenced(Answer):
    """alerts: the open ones that it covers."""

    silence: Silence
    alerts: list[str]


class Silences(Answer):
    silences: list[Silence]


_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
Words = Annotated[str, Field(max_length=4_000, pattern=r"^[^\x00]*$")]
Labels = Annotated[
    dict[Annotated[str, Field(max_length=200, pattern=PRINTABLE)], Words], Field(max_length=100)
]


class AlertmanagerAlert(BaseModel):
    """One alert, of the fields that curb reads."""

    status: Literal["firing", "resolved"]
    fingerprint: str = Field(min_length=1, max_length=64, pattern=r"^[0-9a-zA-Z]+$")
    startsAt: AwareDatetime = Field(ge=_EARLIEST, le=_LATEST)  # noqa: N815 - its name there
    labels: Labels = Field(default_factory=dict)
    annotations: Labels = Field(default_factory=dict)


class AlertmanagerMessage(BaseModel):
    """What Alertmanager's webhook sends (version 4); curb reads its alerts."""

    alerts: list[AlertmanagerAlert] = Field(max_length=1_000)


class Noted(Answer):
    """new: alerts that were not known yet, or are over now; known: told before."""

    new: int
    known: int


class ReportListed(Answer):
    kind: str
    period: str
    first_day: str
    last_day: str
    preliminary: bool
    made_at: At


class Reports(Answer):
    reports: list[ReportListed]
