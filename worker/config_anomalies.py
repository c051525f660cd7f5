"""`anomalies:` and `alert_rules:` in curb.yaml: what the sweep looks for, and what it does then."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Protocol

from pydantic import BeforeValidator, Field

from gateway.config import Velocity
from gateway.policy.anomaly import DailySigma, HourlyJump, Seasonal
from gateway.policy.anomaly_calls import (
    BackupAge,
    CacheHitRate,
    ErrorCascade,
    ErrorRate,
    ModelDegradation,
    RedisMemory,
    SuccessRate,
    TraceLag,
    VelocityAll,
)
from gateway.policy.cost_thresholds import CostThreshold, SpendPeriod
from gateway.policy.money import NanoUsd, usd
from gateway.policy.sweep_rules import Action, Reaction, SweepRules
from worker.config_errors import Problem
from worker.config_values import Amount, LookBack, Ratio, Seconds, Section

_PER_MILLION = 1_000_000
_OFF = ("off", False, None)


def _switchable(written: object) -> object:
    """`off` (YAML reads it as false) instead of a mapping switches a rule off; `on` leaves the defaults."""
    if written in _OFF:
        return {"off": True}
    return {} if written in ("on", True) else written


def _amount_or_off(written: object) -> object:
    return None if written in _OFF else usd(str(written)) if isinstance(written, int | str) else written


SwitchedOff = Annotated[NanoUsd | None, BeforeValidator(_amount_or_off)]


class RuleSection(Section):
    """A rule that can be switched off."""

    off: bool = False


class AgentRuleSection(RuleSection):
    """A rule about one agent: what is done to it beside telling, and for how long."""

    action: Action = "notify"
    switch_for: Seconds = 600.0


class VelocitySection(RuleSection):
    """threshold, window: those of `velocity: global` where nothing is written."""

    threshold: Amount | None = None
    window: LookBack | None = None
    action: Literal["notify", "kill"] = "notify"
    switch_for: Seconds = 600.0


class HourlyJumpSection(AgentRuleSection):
    times: float = Field(default=3.0, gt=1)
    minimum: Amount = usd(5)


class DailySigmaSection(AgentRuleSection):
    sigmas: float = Field(default=2.0, gt=0)
    days: int = Field(default=7, ge=2, le=60)
    history: int = Field(default=5, ge=2, le=60)
    minimum: Amount = usd(5)
    compare: Literal["so_far", "whole_day"] = "so_far"


class SeasonalSection(AgentRuleSection):
    mads: float = Field(default=5.0, gt=0)
    days: int = Field(default=14, ge=2, le=60)
    history: int = Field(default=5, ge=2, le=60)
    minimum: Amount = usd(2)
    share: Ratio = 0.1
    critical_minimum: Amount = usd(5)
    critical_share: Ratio = 0.25


class ErrorRateSection(AgentRuleSection):
    above: Ratio = 0.1
    window: LookBack = 300.0
    minimum_calls: int = Field(default=20, ge=1)


class ErrorCascadeSection(RuleSection):
    agents: int = Field(default=3, ge=1)
    above: Ratio = 0.1
    minimum_errors: int = Field(default=2, ge=1)
    window: LookBack = 300.0


class ModelDegradationSection(RuleSection):
    p95: Seconds = 10.0
    window: LookBack = 300.0
    minimum_calls: int = Field(default=20, ge=1)


class CacheHitRateSection(RuleSection):
    below: Ratio = 0.25
    window: LookBack = 1_800.0
    minimum_calls: int = Field(default=50, ge=1)


class SuccessRateSection(RuleSection):
    warning: Ratio = 0.95
    critical: Ratio = 0.9
    window: LookBack = 900.0
    minimum_calls: int = Field(default=20, ge=1)


class RedisMemorySection(RuleSection):
    above: Ratio = 0.86


class TraceLagSection(RuleSection):
    after: Seconds = 600.0


class HourSection(Section):
    """Two amounts; `off` switches one off."""

    warning: SwitchedOff = usd(10)
    critical: SwitchedOff = usd(50)


class DaySection(Section):
    warning: SwitchedOff = usd(100)
    critical: SwitchedOff = usd(500)


class MonthSection(Section):
    warning: SwitchedOff = usd(1_000)
    critical: SwitchedOff = usd(5_000)


class BackupSection(RuleSection):
    """How old the newest good backup may be, where backups are logged."""

    after: Seconds = 93_600.0


class CostThresholdsSection(RuleSection):
    """What everybody may spend in a period, and a user in a day, before somebody is told."""

    hour: HourSection = HourSection()
    day: DaySection = DaySection()
    month: MonthSection = MonthSection()
    user_day: SwitchedOff = usd(10)


class AnomaliesSection(Section):
    """Defaults are those of gateway.policy.anomaly and its neighbours, where each rule is explained."""

    remind: Seconds = 300.0
    velocity_all: Annotated[VelocitySection, BeforeValidator(_switchable)] = VelocitySection()
    hourly_jump: Annotated[HourlyJumpSection, BeforeValidator(_switchable)] = HourlyJumpSection()
    daily_sigma: Annotated[DailySigmaSection, BeforeValidator(_switchable)] = DailySigmaSection()
    seasonal: Annotated[SeasonalSection, BeforeValidator(_switchable)] = SeasonalSection()
    error_rate: Annotated[ErrorRateSection, BeforeValidator(_switchable)] = ErrorRateSection()
    error_cascade: Annotated[ErrorCascadeSection, BeforeValidator(_switchable)] = ErrorCascadeSection()
    model_degradation: Annotated[ModelDegradationSection, BeforeValidator(_switchable)] = (
        ModelDegradationSection()
    )
    cache_hit_rate: Annotated[CacheHitRateSection, BeforeValidator(_switchable)] = CacheHitRateSection(
        off=True
    )
    success_rate: Annotated[SuccessRateSection, BeforeValidator(_switchable)] = SuccessRateSection()
    redis_memory: Annotated[RedisMemorySection, BeforeValidator(_switchable)] = RedisMemorySection()
    trace_export_lag: Annotated[TraceLagSection, BeforeValidator(_switchable)] = TraceLagSection()
    backup_failed: Annotated[BackupSection, BeforeValidator(_switchable)] = BackupSection()
    cost_thresholds: Annotated[CostThresholdsSection, BeforeValidator(_switchable)] = CostThresholdsSection()


class Written(Protocol):
    """An entry of `alert_rules` (worker.config_schema.AlertRule)."""

    @property
    def name(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def period(self) -> SpendPeriod: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def amount(self) -> NanoUsd | None: ...
    @property
    def severity(self) -> Literal["warning", "critical"]: ...
    @property
    def channels(self) -> tuple[str, ...]: ...


def sweep_rules(section: AnomaliesSection, alert_rules: Sequence[Written], velocity: Velocity) -> SweepRules:
    """What the sections come to. velocity: that of each agent, whose global threshold is that of all."""
    return SweepRules(
        velocity_all=_velocity(section.velocity_all, velocity),
        hourly_jump=_hourly_jump(section.hourly_jump),
        daily_sigma=_daily_sigma(section.daily_sigma),
        seasonal=_seasonal(section.seasonal),
        error_rate=_error_rate(section.error_rate),
        error_cascade=_error_cascade(section.error_cascade),
        model_degradation=_model_degradation(section.model_degradation),
        cache_hit_rate=_cache_hit_rate(section.cache_hit_rate),
        success_rate=_success_rate(section.success_rate),
        redis_memory=None if section.redis_memory.off else RedisMemory(section.redis_memory.above),
        trace_export_lag=None if section.trace_export_lag.off else TraceLag(section.trace_export_lag.after),
        backup_failed=None if section.backup_failed.off else BackupAge(section.backup_failed.after),
        thresholds=(*_thresholds(section.cost_thresholds), *map(_written, alert_rules)),
        reactions=_reactions(section),
        remind_seconds=section.remind,
    )


def anomaly_checks(section: AnomaliesSection, alert_rules: Sequence[Written]) -> Iterator[Problem]:
    """Rules that could never hold, and thresholds of a limit that there is none of."""
    for name in ("daily_sigma", "seasonal"):
        rule: DailySigmaSection | SeasonalSection = getattr(section, name)
        if rule.history > rule.days:
            message = f"only {rule.days} days are looked at; write {rule.days} or less, or more days"
            yield Problem(("anomalies", name, "history"), message)
    success = section.success_rate
    if success.critical > success.warning:
        message = f"{success.critical:g} is above warning ({success.warning:g}); write less"
        yield Problem(("anomalies", "success_rate", "critical"), message)
    for number, written in enumerate(alert_rules):
        if written.scope.partition(":")[0] == "run":
            message = "runs have budgets, not thresholds; write global or a kind such as agent, team or user"
            yield Problem(("alert_rules", number, "scope"), message)
        if written.threshold is not None and written.period == "hour":
            message = "an hour has no limit to take a share of; write `amount` instead of `threshold`"
            yield Problem(("alert_rules", number, "threshold"), message)


def _velocity(section: VelocitySection, known: Velocity) -> VelocityAll | None:
    if section.off:
        return None
    threshold = known.global_nano_usd if section.threshold is None else section.threshold
    window = known.window_seconds if section.window is None else int(section.window)
    return VelocityAll(NanoUsd(threshold), window)


def _hourly_jump(section: HourlyJumpSection) -> HourlyJump | None:
    return None if section.off else HourlyJump(section.times, section.minimum)


def _daily_sigma(section: DailySigmaSection) -> DailySigma | None:
    if section.off:
        return None
    return DailySigma(
        sigmas=section.sigmas,
        days=section.days,
        history=section.history,
        minimum_nano_usd=section.minimum,
        compare=section.compare,
    )


def _seasonal(section: SeasonalSection) -> Seasonal | None:
    if section.off:
        return None
    return Seasonal(
        mads=section.mads,
        days=section.days,
        history=section.history,
        minimum_nano_usd=section.minimum,
        share=section.share,
        critical_nano_usd=section.critical_minimum,
        critical_share=section.critical_share,
    )


def _error_rate(section: ErrorRateSection) -> ErrorRate | None:
    return None if section.off else ErrorRate(section.above, int(section.window), section.minimum_calls)


def _error_cascade(section: ErrorCascadeSection) -> ErrorCascade | None:
    if section.off:
        return None
    return ErrorCascade(section.agents, section.above, section.minimum_errors, int(section.window))


def _model_degradation(section: ModelDegradationSection) -> ModelDegradation | None:
    return None if section.off else ModelDegradation(section.p95, int(section.window), section.minimum_calls)


def _cache_hit_rate(section: CacheHitRateSection) -> CacheHitRate | None:
    return None if section.off else CacheHitRate(section.below, int(section.window), section.minimum_calls)


def _success_rate(section: SuccessRateSection) -> SuccessRate | None:
    if section.off:
        return None
    return SuccessRate(section.warning, section.critical, int(section.window), section.minimum_calls)


def _thresholds(section: CostThresholdsSection) -> Iterator[CostThreshold]:
    if section.off:
        return
    periods: tuple[tuple[SpendPeriod, str, HourSection | DaySection | MonthSection], ...] = (
        ("hour", "hourly", section.hour),
        ("day", "daily", section.day),
        ("month", "monthly", section.month),
    )
    for period, word, levels in periods:
        if levels.warning is not None:
            yield CostThreshold(f"{word} warning", "global", period, levels.warning)
        if levels.critical is not None:
            yield CostThreshold(f"{word} critical", "global", period, levels.critical, severity="critical")
    if section.user_day is not None:
        yield CostThreshold("daily user", "user:*", "day", section.user_day)


def _written(rule: Written) -> CostThreshold:
    return CostThreshold(
        name=rule.name,
        scope=rule.scope,
        period=rule.period,
        amount_nano_usd=rule.amount,
        share_millionths=None if rule.threshold is None else round(rule.threshold * _PER_MILLION),
        severity=rule.severity,
        channels=tuple(rule.channels),
    )


def _reactions(section: AnomaliesSection) -> dict[str, Reaction]:
    acting: dict[str, AgentRuleSection | VelocitySection] = {
        "velocity_all": section.velocity_all,
        "hourly_jump": section.hourly_jump,
        "daily_sigma": section.daily_sigma,
        "seasonal": section.seasonal,
        "error_rate": section.error_rate,
    }
    return {
        name: Reaction(rule.action, rule.switch_for)
        for name, rule in acting.items()
        if rule.action != "notify"
    }
