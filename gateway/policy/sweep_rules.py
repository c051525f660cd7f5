"""All rules of the anomaly sweep, and what is done about what they find."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.policy.anomaly import DailySigma, Finding, HourlyJump, Seasonal
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
from gateway.policy.cost_thresholds import DEFAULT_THRESHOLDS, CostThreshold
from gateway.policy.money import format_usd

Action = Literal["notify", "throttle", "kill"]
_HOUR = 3_600.0
_REST = (("hourly_jump", _HOUR), ("daily_sigma", _HOUR), ("seasonal", _HOUR))
SWITCH_PREFIX = "auto:anomaly:"


@dataclass(frozen=True, slots=True)
class Reaction:
    """What is done beside telling: nothing (notify), or a switch that lifts itself after so long."""

    action: Action = "notify"
    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class SweepRules:
    """None: the rule is off. reactions: by rule; none is `notify`. remind_seconds: how often an episode
    that goes on is told again. rest_seconds: by rule, how long it must not be found to be over."""

    velocity_all: VelocityAll | None = VelocityAll()
    hourly_jump: HourlyJump | None = HourlyJump()
    daily_sigma: DailySigma | None = DailySigma()
    seasonal: Seasonal | None = Seasonal()
    error_rate: ErrorRate | None = ErrorRate()
    error_cascade: ErrorCascade | None = ErrorCascade()
    model_degradation: ModelDegradation | None = ModelDegradation()
    cache_hit_rate: CacheHitRate | None = None  # most calls are not to be cached
    success_rate: SuccessRate | None = SuccessRate()
    redis_memory: RedisMemory | None = RedisMemory()
    trace_export_lag: TraceLag | None = TraceLag()
    backup_failed: BackupAge | None = BackupAge()
    thresholds: tuple[CostThreshold, ...] = DEFAULT_THRESHOLDS
    reactions: Mapping[str, Reaction] = field(default_factory=dict)
    remind_seconds: float = 300.0
    rest_seconds: Mapping[str, float] = field(default_factory=lambda: dict(_REST))


@dataclass(frozen=True, slots=True)
class SwitchWish:
    """A switch to be set where none is."""

    name: str
    value: str
    seconds: float


def switch_wish(finding: Finding, reactions: Mapping[str, Reaction]) -> SwitchWish | None:
    """The switch that is configured for what was found; None where it is only told."""
    reaction = reactions.get(finding.rule, Reaction())
    kind = finding.scope.partition(":")[0]
    if reaction.action == "notify" or not finding.acts or kind not in ("agent", "global"):
        return None
    if kind == "global" and reaction.action == "throttle":
        return None
    return SwitchWish(
        name=f"{reaction.action}:{finding.scope}",
        value=f"{SWITCH_PREFIX}{finding.rule}: {_numbers(finding)}",
        seconds=reaction.seconds,
    )


def _numbers(finding: Finding) -> str:
    """`spent $12.40, limit $6.00`: what decided, in the order of the evidence."""
    said = []
    for key, value in finding.evidence.items():
        if isinstance(value, int) and key.endswith("_nano_usd"):
            said.append(f"{key.removesuffix('_nano_usd').replace('_', ' ')} {format_usd(value)}")
        elif isinstance(value, int | float):
            said.append(f"{key.replace('_', ' ')} {value:g}")
    return ", ".join(said[:4])
