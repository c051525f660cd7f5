"""What is strange about calls: errors, durations, cache, and the memory that decisions live in.

A call here is an attempt that ended with an answer, an error or a timeout; those that a switch cut
say nothing about anybody. Every rule asks for a minimum of calls, because 1 of 2 is no rate.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.policy.anomaly import Finding, Severity
from gateway.policy.money import NanoUsd, usd

_NAMED = 10


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How calls ended, of one agent or of everybody (name '')."""

    name: str
    calls: int
    errors: int

    @property
    def ratio(self) -> float:
        return self.errors / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Durations:
    """How long the successful calls of one deployment took; p95_ms of them."""

    deployment: str
    calls: int
    p95_ms: float


@dataclass(frozen=True, slots=True)
class VelocityAll:
    """What all agents together have spent in the last few minutes (each by itself: velocity)."""

    threshold_nano_usd: NanoUsd = usd(50)
    window_seconds: int = 300

    def judge(self, spent_nano_usd: int) -> Finding | None:
        if spent_nano_usd <= self.threshold_nano_usd:
            return None
        evidence = {
            "spent_nano_usd": spent_nano_usd,
            "limit_nano_usd": self.threshold_nano_usd,
            "window_seconds": self.window_seconds,
        }
        return Finding("velocity_all", "global", "critical", evidence)


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Too many of an agent's calls fail."""

    above: float = 0.1
    window_seconds: int = 300
    minimum_calls: int = 20

    def judge(self, agent: Outcomes) -> Finding | None:
        if agent.calls < self.minimum_calls or agent.ratio <= self.above:
            return None
        evidence = {**_told(agent), "above_ratio": self.above, "window_seconds": self.window_seconds}
        return Finding("error_rate", f"agent:{agent.name}", "warning", evidence)


@dataclass(frozen=True, slots=True)
class ErrorCascade:
    """Several agents fail at once: what they share is broken."""

    agents: int = 3
    above: float = 0.1
    minimum_errors: int = 2
    window_seconds: int = 300

    def judge(self, agents: Iterable[Outcomes]) -> Finding | None:
        failing = [a for a in agents if a.errors >= self.minimum_errors and a.ratio > self.above]
        if len(failing) <= self.agents:
            return None
        worst = sorted(failing, key=lambda a: (-a.errors, a.name))
        evidence = {
            "agents": len(failing),
            "more_than": self.agents,
            "failing": [a.name for a in worst[:_NAMED]],
            "errors": sum(a.errors for a in failing),
            "calls": sum(a.calls for a in failing),
            "window_seconds": self.window_seconds,
        }
        return Finding("error_cascade", "global", "critical", evidence)


@dataclass(frozen=True, slots=True)
class ModelDegradation:
    """A deployment has become slow."""

    p95_seconds: float = 10.0
    window_seconds: int = 300
    minimum_calls: int = 20

    def judge(self, deployment: Durations) -> Finding | None:
        if deployment.calls < self.minimum_calls or deployment.p95_ms <= self.p95_seconds * 1000:
            return None
        evidence = {
            "p95_ms": round(deployment.p95_ms),
            "limit_seconds": self.p95_seconds,
            "calls": deployment.calls,
            "window_seconds": self.window_seconds,
        }
        return Finding("model_degradation", f"model:{deployment.deployment}", "warning", evidence)


@dataclass(frozen=True, slots=True)
class CacheHitRate:
    """Too few calls are answered from the cache."""

    below: float = 0.25
    window_seconds: int = 1_800
    minimum_calls: int = 50

    def judge(self, calls: int, cached: int) -> Finding | None:
        if calls < self.minimum_calls or cached >= self.below * calls:
            return None
        evidence = {
            "hit_ratio": round(cached / calls, 4),
            "below_ratio": self.below,
            "cached": cached,
            "calls": calls,
            "window_seconds": self.window_seconds,
        }
        return Finding("cache_hit_rate", "global", "warning", evidence)


@dataclass(frozen=True, slots=True)
class SuccessRate:
    """Too few logical calls succeed, after their retries and fallbacks."""

    warning_below: float = 0.95
    critical_below: float = 0.90
    window_seconds: int = 900
    minimum_calls: int = 20

    def judge(self, everybody: Outcomes) -> Finding | None:
        success = 1 - everybody.ratio
        if everybody.calls < self.minimum_calls or success >= max(self.warning_below, self.critical_below):
            return None
        severity: Severity = "critical" if success < self.critical_below else "warning"
        below = self.critical_below if severity == "critical" else self.warning_below
        evidence = {
            "success_ratio": round(success, 4),
            "below_ratio": below,
            "failed": everybody.errors,
            "calls": everybody.calls,
            "window_seconds": self.window_seconds,
        }
        return Finding("success_rate", "global", severity, evidence)


@dataclass(frozen=True, slots=True)
class RedisMemory:
    """Redis is nearly full: then it stops buying. Only where it has a limit."""

    above: float = 0.86

    def judge(self, used_bytes: int, limit_bytes: int) -> Finding | None:
        if limit_bytes <= 0 or used_bytes <= self.above * limit_bytes:
            return None
        evidence = {
            "used_ratio": round(used_bytes / limit_bytes, 4),
            "above_ratio": self.above,
            "used_bytes": used_bytes,
            "limit_bytes": limit_bytes,
        }
        return Finding("redis_memory", "redis", "warning", evidence)


@dataclass(frozen=True, slots=True)
class TraceLag:
    """Traces do not get to whoever keeps them: some wait for long, or some were refused within the hour."""

    after_seconds: float = 600.0

    def judge(self, target: str, waiting: int, oldest_seconds: float, refused: int) -> Finding | None:
        if oldest_seconds <= self.after_seconds and not refused:
            return None
        evidence = {
            "target": target,
            "waiting": waiting,
            "oldest_seconds": round(oldest_seconds),
            "refused": refused,
        }
        return Finding("trace_export_lag", f"traces:{target}", "warning", evidence)


@dataclass(frozen=True, slots=True)
class BackupAge:
    """The newest backup failed, or the newest good one is too old; silent where none was ever logged."""

    after_seconds: float = 26 * 3_600.0

    def judge(self, *, success: bool, error: str, good_age_seconds: float | None) -> Finding | None:
        if success and good_age_seconds is not None and good_age_seconds <= self.after_seconds:
            return None
        evidence: dict[str, object] = {"failed": not success, "error": error[:200]}
        if good_age_seconds is not None:
            evidence["good_age_seconds"] = round(good_age_seconds)
        return Finding("backup_failed", "backups", "critical", evidence)


def _told(agent: Outcomes) -> dict[str, object]:
    return {"error_ratio": round(agent.ratio, 4), "errors": agent.errors, "calls": agent.calls}
