"""What may stand in curb.yaml: one model per section, typed by pydantic, unknown fields refused.

Amounts are dollars (5, 0.05, "$0.05"), durations carry a unit (90s, 10m, 1h30m), ratios are 0.8
or 80%. All fields are optional; what is left out keeps its default.
"""

from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from gateway.policy.money import usd
from worker.config_alerts import AlertsSection
from worker.config_anomalies import AnomaliesSection
from worker.config_batches import BatchesSection
from worker.config_breaker import BreakerSection, off_is_never
from worker.config_cache import CacheSection, CacheWritten, off_is_a_word
from worker.config_health import HealthSection
from worker.config_rate_limits import RateLimitsSection
from worker.config_reconcile import ReconcileSection
from worker.config_reports import ReportsSection
from worker.config_retention import RetentionSection
from worker.config_schedules import Schedule
from worker.config_teams import TeamSection
from worker.config_traces import TracesSection
from worker.config_values import (
    Amount,
    Limit,
    Name,
    Ratio,
    Seconds,
    Section,
    Switchable,
    Threshold,
    TimeOfDay,
    Url,
    Words,
)


class ProviderSection(Section):
    """Where requests go. Keys never stand here: `api_key_env` names the variable, `api_key_file` the file;
    `api_key_envs` and `api_key_files` are lists of further ones.
    What usage_* and exclusive_key mean is in gateway.config.Provider."""

    family: Literal["openai", "anthropic"] = "openai"
    base_url: Url = ""
    api_key_env: str = ""
    api_key_file: str = ""
    api_key_envs: tuple[str, ...] = ()
    api_key_files: tuple[str, ...] = ()
    invoice_url: Url = ""
    usage_api: Literal["", "openai", "anthropic"] = ""
    usage_url: Url = ""
    usage_key_env: str = ""
    usage_key_file: str = ""
    usage_api_key_id: str = ""
    exclusive_key: bool = False
    responses: bool = False
    batches: bool = False


class DeploymentSection(Section):
    """One provider's one model. `ceiling` is charged per million tokens where no price is known. kind: what
    it makes, answers or embeddings. context_window_tokens: the most of prompt and answer together."""

    provider: str = ""
    model: str = ""
    price_model: str = ""
    max_output_tokens: int = Field(default=8192, gt=0)
    tokens_per_image: int | None = Field(default=None, gt=0)
    overhead_tokens: int = Field(default=64, ge=0)
    ceiling: Amount | None = None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    kind: Literal["chat", "embedding"] = "chat"
    context_window_tokens: int | None = Field(default=None, gt=0)


class TierSection(Section):
    """Deployments in order of preference, what a day of them may cost (soft), and the output limit of
    requests that set none. larger: further deployments, for what is too long for these.
    on_content_refusal: `next` asks the next deployment when one refuses for the content. queue:
    how long a call may wait for its turn when all are rate limited. weights: shares of the calls. prefer:
    `cheapest` begins with whoever may cost least."""

    deployments: tuple[str, ...] = Field(default=(), min_length=1)
    daily_budget: Limit = None
    max_output_tokens: int | None = Field(default=None, gt=0)
    larger: tuple[str, ...] = ()
    on_content_refusal: Literal["stop", "next"] = "stop"
    queue: Annotated[Seconds, Field(le=600)] = 0.0
    weights: dict[str, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(default_factory=dict)
    prefer: Literal["order", "cheapest"] = "order"


class BudgetSection(Section):
    """What a scope may spend in each period; `unlimited` lifts a default."""

    run: Limit = None
    day: Limit = Field(default=None, validation_alias=AliasChoices("day", "daily"))
    month: Limit = Field(default=None, validation_alias=AliasChoices("month", "monthly"))


def _day_by_itself(written: object) -> object:
    return written if isinstance(written, dict) else {"day": written}


Budget = Annotated[BudgetSection, BeforeValidator(_day_by_itself)]
"""A budget as a mapping of periods, or as one amount: that of a day."""


class LoopsSection(Section):
    """Loop rules of REQUIREMENTS 3; `off` (or 0) switches one off."""

    repeats_in_a_row: Threshold = 0
    flag_repeats_at: Threshold = 0
    errors_in_a_row: Threshold = 0
    alternation_length: Threshold = 0
    growth_ratio: Switchable = 0
    growth_steps: Threshold = 0
    growth_floor_tokens: Threshold = 0
    large_context_tokens: Threshold = 0
    large_context_ratio: Switchable = 0
    similarity: Switchable = 0
    similar_outputs: Threshold = 0
    similar_min_characters: Threshold = 0
    same_tool_in_a_row: Threshold = 0
    same_tool_in_total: Threshold = 0
    same_call_in_total: Threshold = 0
    hashed_arguments: tuple[str, ...] = ()


class LimitsSection(Section):
    """Caps on one run."""

    max_steps: int = Field(default=25, gt=0)
    max_tool_calls: int = Field(default=25, ge=0)
    call_timeout: Seconds = 60.0
    lost_after: Seconds = 20.0
    max_wait: Seconds = 86_400.0
    deadline: Seconds = 604_800.0
    loops: LoopsSection = LoopsSection()


class VelocitySection(Section):
    """Money per sliding window and agent: alert, pause the agent for a while, pause everything."""

    window: Seconds = 300.0
    alert: Amount = usd(5)
    pause: Amount = usd(15)
    pause_for: Seconds = 600.0
    everything: Amount = Field(default=usd(50), validation_alias=AliasChoices("global", "everything"))


class McpSection(Section):
    """A source of tools that speaks MCP: a command (a list, or one line of shell words) or a URL."""

    command: Words = ()
    url: Url = ""
    env: dict[str, str] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)


class AgentSection(Section):
    """One agent; its name is its key."""

    instructions: str = ""
    tier: str = "balanced"
    tools: tuple[str, ...] = ()
    agents: tuple[Name, ...] = ()
    mcp: dict[Name, McpSection] = Field(default_factory=dict)
    team: str = ""
    run_budget: Limit = None
    daily_budget: Limit = None
    monthly_budget: Limit = None
    cost_aware: bool = False
    on_budget: Literal["fail", "pause", "ask"] = "fail"
    on_switch: Literal["wait", "stop"] = "wait"
    mode: Literal["live", "shadow"] = "live"
    max_output_tokens: int = Field(default=1024, gt=0)
    temperature: float | None = Field(default=None, ge=0, le=2)
    prompt_version: str = ""
    limits: LimitsSection = LimitsSection()
    root: str = "."
    http_allow: tuple[str, ...] = ()
    feature: str = ""
    value_per_task: Amount | None = None
    cache: Annotated[Literal["off", "auto", "exact", "semantic"], BeforeValidator(off_is_a_word)] = "auto"


class AlertRule(Section):
    """Tell somebody when a scope has spent this share of its limit, or this amount. Never refuses."""

    name: str = Field(min_length=1)
    scope: str = "global"
    period: Literal["hour", "day", "month"] = "day"
    threshold: Ratio | None = None
    amount: Amount | None = None
    severity: Literal["warning", "critical"] = "warning"
    channels: tuple[Name, ...] = ()


class File(Section):
    """curb.yaml as a whole."""

    timezone: str = "UTC"
    day_start: TimeOfDay = 0
    providers: dict[Name, ProviderSection] = Field(default_factory=dict)
    deployments: dict[str, DeploymentSection] = Field(default_factory=dict)
    tiers: dict[Name, TierSection] = Field(default_factory=dict)
    aliases: dict[str, str] = Field(default_factory=dict)
    prices: tuple[dict[str, object], ...] = ()
    budgets: dict[str, Budget] = Field(default_factory=dict)
    limits: LimitsSection = LimitsSection()
    velocity: VelocitySection = VelocitySection()
    rate_limits: RateLimitsSection = RateLimitsSection()
    cache: CacheWritten = CacheSection()
    batches: BatchesSection = BatchesSection()
    breaker: Annotated[BreakerSection, BeforeValidator(off_is_never)] = BreakerSection()
    downgrade_at: Ratio = Field(default=0.8, validation_alias=AliasChoices("downgrade_at", "swap_threshold"))
    doubt_settles_after: Seconds = 86_400.0
    monthly_budget: Limit = None
    user_limits: dict[str, Budget] = Field(default_factory=dict)
    teams: dict[Name, TeamSection] = Field(default_factory=dict)
    alert_rules: tuple[AlertRule, ...] = ()
    alerts: AlertsSection = AlertsSection()
    provider_health: HealthSection = HealthSection()
    reconcile: ReconcileSection = ReconcileSection()
    anomalies: AnomaliesSection = AnomaliesSection()
    reports: ReportsSection = ReportsSection()
    schedules: dict[str, Schedule] = Field(default_factory=dict)
    retention: RetentionSection = RetentionSection()
    traces: TracesSection = TracesSection()
    agents: dict[Name, AgentSection] = Field(default_factory=dict)
