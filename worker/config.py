"""curb.yaml, read once into frozen values: what agents there are and what may be spent.

What the file leaves out keeps its default (gateway.defaults, REQUIREMENTS 1 and 3). Errors name
the file, the line, the field and what to write instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from activities.reports.policy import ReportPolicy
from gateway.agents import Agent, McpServer
from gateway.config import Deployment, GatewayConfig, Provider, Tier, Velocity
from gateway.defaults import default_config
from gateway.errors import ConfigurationError
from gateway.policy.health import HealthPlan
from gateway.policy.limits import LoopRules, RunLimits
from gateway.policy.money import NanoUsd
from gateway.policy.retention import RetentionPolicy
from gateway.policy.scopes import Period
from gateway.policy.sums import SumRules
from gateway.policy.sweep_rules import SweepRules
from worker.config_alerts import AlertsSection
from worker.config_anomalies import sweep_rules
from worker.config_batches import batch_rules
from worker.config_breaker import breaker_rules
from worker.config_cache import cache_rules
from worker.config_channels import ChannelSection
from worker.config_checks import cross_checks
from worker.config_errors import ConfigurationProblems, problems_of
from worker.config_health import health_plan
from worker.config_limits import limit_checks, limits
from worker.config_rate_limits import rate_limits
from worker.config_reconcile import sum_rules
from worker.config_reports import report_policy
from worker.config_retention import retention_policy
from worker.config_schedules import ScheduleChange, schedule_changes
from worker.config_schema import (
    AgentSection,
    AlertRule,
    DeploymentSection,
    File,
    LimitsSection,
    ProviderSection,
    TierSection,
)
from worker.config_teams import Team, teams_of
from worker.config_traces import TracesPlan, traces_plan
from worker.settings import Settings
from worker.yaml_lines import parse

FILE_NAME = "curb.yaml"
_DURATIONS = ("call_timeout", "lost_after", "max_wait", "deadline")


@dataclass(frozen=True, slots=True)
class Config:
    """What a process is configured with.

    limits: budgets by scope (`global`, `agent:coder`, `agent:*`) and period. source: the text of
    the file ('' without one).
    """

    gateway: GatewayConfig
    agents: dict[str, Agent]
    limits: dict[tuple[str, Period], NanoUsd]
    alert_rules: tuple[AlertRule, ...] = ()
    source: str = ""
    path: Path | None = None
    channels: Mapping[str, ChannelSection] = field(default_factory=dict)
    alerts: AlertsSection = AlertsSection()
    health: HealthPlan = HealthPlan({})
    reconcile: SumRules = SumRules()
    schedules: Mapping[str, ScheduleChange] = field(default_factory=dict)
    retention: RetentionPolicy = RetentionPolicy()
    sweep: SweepRules = SweepRules()
    reports: ReportPolicy = ReportPolicy()
    traces: TracesPlan = TracesPlan()
    teams: Mapping[str, Team] = field(default_factory=dict)


def load_config(path: Path | None = None) -> Config:
    """Read a file; without one, ./curb.yaml where it is, else the defaults.

    Raises ConfigurationError when a file that was asked for is not there or cannot be read, and
    ConfigurationProblems for what is wrong in it.
    """
    chosen = path or Path(FILE_NAME)
    if path is None and not chosen.exists():
        return parse_config("")
    try:
        text = chosen.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{chosen}: cannot be read: {error}") from error
    return replace(parse_config(text, str(chosen)), path=chosen.resolve())


def parse_config(text: str, name: str = FILE_NAME) -> Config:
    """Read the text of a curb.yaml; `name` is what errors call it. Raises ConfigurationProblems."""
    document = parse(text, name)
    try:
        file = File.model_validate({} if document.value is None else document.value)
    except ValidationError as error:
        raise ConfigurationProblems(document, problems_of(error, File)) from error
    gateway = _gateway(file)
    problems = [*cross_checks(file, gateway), *limit_checks(file, gateway)]
    if problems:
        raise ConfigurationProblems(document, problems)
    agents = {agent: _agent(agent, section, file.limits) for agent, section in file.agents.items()}
    return Config(
        gateway,
        agents,
        limits(file, gateway),
        file.alert_rules,
        text,
        channels=file.alerts.channels,
        alerts=file.alerts,
        health=health_plan(file.provider_health, gateway),
        reconcile=sum_rules(file.reconcile),
        sweep=sweep_rules(file.anomalies, file.alert_rules, gateway.velocity),
        schedules=schedule_changes(file.schedules),
        retention=retention_policy(file.retention),
        reports=report_policy(file.reports),
        traces=traces_plan(file.traces),
        teams=teams_of(file.teams),
    )


def on_simulator(config: Config, url: str) -> Config:
    """The same configuration with every provider played by the simulator at `url`; no keys needed."""
    providers = {
        name: replace(
            provider,
            base_url=f"{url}/v1" if provider.family == "openai" else url,
            api_key_env="",
            api_key_file="",
            api_key_envs=(),
            api_key_files=(),
            invoice_url=f"{url}/invoice",
            usage_api="",
        )
        for name, provider in config.gateway.providers.items()
    }
    return replace(config, gateway=replace(config.gateway, providers=providers))


def gateway_config(config: Config, settings: Settings) -> GatewayConfig:
    """What the gateway is configured with: curb.yaml, and what the environment switches off."""
    if not settings.cache_disabled:
        return config.gateway
    return replace(config.gateway, cache=replace(config.gateway.cache, off=True))


def template() -> str:
    """The curb.yaml that `curb` ships: every section with its defaults, commented."""
    return (Path(__file__).parent / "templates" / FILE_NAME).read_text(encoding="utf-8")


def _gateway(file: File) -> GatewayConfig:
    base = default_config()
    aliases = base.aliases | file.aliases
    return replace(
        base,
        providers=base.providers
        | {name: _provider(name, each, base.providers) for name, each in file.providers.items()},
        deployments=base.deployments
        | {name: _deployment(name, each, base.deployments) for name, each in file.deployments.items()},
        tiers=_tiers(file, base.tiers, aliases),
        prices_overlay=(*base.prices_overlay, *file.prices),
        aliases=aliases,
        timezone=file.timezone,
        day_start_seconds=file.day_start,
        downgrade_at_ratio=file.downgrade_at,
        velocity=Velocity(
            window_seconds=int(file.velocity.window),
            alert_nano_usd=file.velocity.alert,
            pause_nano_usd=file.velocity.pause,
            pause_seconds=int(file.velocity.pause_for),
            global_nano_usd=file.velocity.everything,
        ),
        rate_limits=rate_limits(file.rate_limits),
        breaker=breaker_rules(file.breaker),
        cache=cache_rules(file.cache),
        batches=batch_rules(file.batches, retention_policy(file.retention).keep_seconds["files"]),
        doubt_settles_after_seconds=file.doubt_settles_after,
    )


def _provider(name: str, section: ProviderSection, known: Mapping[str, Provider]) -> Provider:
    base = known.get(name) or Provider(name, section.family, section.base_url)
    return replace(base, **section.written())  # type: ignore[arg-type]


def _deployment(name: str, section: DeploymentSection, known: Mapping[str, Deployment]) -> Deployment:
    provider, _, model = name.partition("/")
    base = known.get(name) or Deployment(name, provider, model)
    changed = replace(base, **section.written("ceiling"))  # type: ignore[arg-type]
    if section.ceiling is None:
        return changed
    return replace(changed, ceiling_nano_usd_per_mtok=section.ceiling)


def _tiers(file: File, base: tuple[Tier, ...], aliases: Mapping[str, str]) -> tuple[Tier, ...]:
    """Known tiers keep their place; new ones follow as dearer, in the order of the file."""
    known = {tier.name: tier for tier in base}
    return tuple((known | {n: _tier(n, each, known, aliases) for n, each in file.tiers.items()}).values())


def _tier(name: str, section: TierSection, known: Mapping[str, Tier], aliases: Mapping[str, str]) -> Tier:
    base = known.get(name) or Tier(name, ())
    wanted = section.written("daily_budget", "queue")
    if "queue" in section.model_fields_set:
        wanted["queue_seconds"] = section.queue
    if section.deployments:
        wanted["deployments"] = tuple(aliases.get(each, each) for each in section.deployments)
    if section.weights:
        wanted["weights"] = {aliases.get(name, name): share for name, share in section.weights.items()}
    if section.larger:
        wanted["larger"] = tuple(aliases.get(each, each) for each in section.larger)
    if "daily_budget" in section.model_fields_set:
        wanted["daily_budget_nano_usd"] = section.daily_budget
    return replace(base, **wanted)  # type: ignore[arg-type]


def _agent(name: str, section: AgentSection, defaults: LimitsSection) -> Agent:
    fields = section.written(
        "limits", "mcp", "run_budget", "daily_budget", "monthly_budget", "value_per_task"
    )
    mcp = tuple(McpServer(name=each, **server.model_dump()) for each, server in section.mcp.items())
    return Agent.model_validate(
        {
            **fields,
            "name": name,
            "mcp": mcp,
            "limits": _run_limits(defaults, section.limits),
            "run_budget_nano_usd": section.run_budget,
            "daily_budget_nano_usd": section.daily_budget,
            "value_per_task_nano_usd": section.value_per_task,
        }
    )


def _run_limits(*sections: LimitsSection) -> RunLimits:
    """The later section wins, field by field, loop rules too."""
    limits: dict[str, object] = {}
    loops: dict[str, object] = {}
    for section in sections:
        for name, value in section.written("loops").items():
            limits[f"{name}_seconds" if name in _DURATIONS else name] = value
        loops |= section.loops.written()
    return RunLimits(**limits, loops=LoopRules(**loops))  # type: ignore[arg-type]
