"""Errors, durations, cache and memory: what is too much, and what is too little to tell."""

import pytest

from gateway.policy.anomaly_calls import (
    BackupAge,
    CacheHitRate,
    Durations,
    ErrorCascade,
    ErrorRate,
    ModelDegradation,
    Outcomes,
    RedisMemory,
    SuccessRate,
    TraceLag,
    VelocityAll,
)
from gateway.policy.money import usd


def test_what_everybody_spends_in_five_minutes_has_a_threshold() -> None:
    finding = VelocityAll().judge(usd("50.01"))

    assert finding is not None
    assert (finding.scope, finding.severity) == ("global", "critical")
    assert VelocityAll().judge(usd(50)) is None


def test_more_than_a_tenth_of_the_calls_failing_is_told() -> None:
    finding = ErrorRate().judge(Outcomes("coder", 20, 3))

    assert finding is not None
    assert finding.scope == "agent:coder"
    assert finding.evidence["error_ratio"] == 0.15
    assert ErrorRate().judge(Outcomes("coder", 20, 2)) is None


def test_few_calls_are_no_rate() -> None:
    assert ErrorRate().judge(Outcomes("coder", 19, 19)) is None
    assert SuccessRate().judge(Outcomes("", 19, 19)) is None
    assert CacheHitRate().judge(49, 0) is None
    assert ModelDegradation().judge(Durations("sim/slow", 19, 99_000)) is None


def test_more_than_three_agents_failing_at_once_is_a_cascade() -> None:
    failing = [Outcomes(f"a{n}", 5, n + 2) for n in range(4)]

    finding = ErrorCascade().judge([*failing, Outcomes("well", 100, 0)])

    assert finding is not None
    assert finding.severity == "critical"
    assert finding.evidence["failing"] == ["a3", "a2", "a1", "a0"]
    assert ErrorCascade().judge(failing[:3]) is None


def test_one_error_here_and_there_is_no_cascade() -> None:
    assert ErrorCascade().judge([Outcomes(f"a{n}", 5, 1) for n in range(9)]) is None


def test_a_slow_deployment_is_told_by_its_95th_percentile() -> None:
    finding = ModelDegradation().judge(Durations("sim/slow", 20, 10_001))

    assert finding is not None
    assert finding.scope == "model:sim/slow"
    assert ModelDegradation().judge(Durations("sim/slow", 20, 10_000)) is None


def test_too_few_answers_from_the_cache_are_told() -> None:
    assert CacheHitRate().judge(100, 24) is not None
    assert CacheHitRate().judge(100, 25) is None


@pytest.mark.parametrize(
    ("errors", "severity"), [(5, None), (6, "warning"), (10, "warning"), (11, "critical")]
)
def test_success_has_two_levels(errors: int, severity: str | None) -> None:
    finding = SuccessRate().judge(Outcomes("", 100, errors))

    assert (finding and finding.severity) == severity


def test_memory_is_told_only_where_it_has_a_limit() -> None:
    assert RedisMemory().judge(87, 100) is not None
    assert RedisMemory().judge(86, 100) is None
    assert RedisMemory().judge(10**12, 0) is None


def test_traces_that_wait_for_long_or_were_refused_are_told() -> None:
    assert TraceLag(600).judge("langfuse", 5, 600, 0) is None
    assert TraceLag(600).judge("langfuse", 0, 0, 1) is not None
    late = TraceLag(600).judge("langfuse", 5, 601, 0)
    assert late is not None
    assert (late.scope, late.evidence["waiting"]) == ("traces:langfuse", 5)


def test_backups_that_fail_or_are_old_are_told() -> None:
    rule = BackupAge(3_600)
    assert rule.judge(success=True, error="", good_age_seconds=3_600) is None
    old = rule.judge(success=True, error="", good_age_seconds=3_601)
    failed = rule.judge(success=False, error="disk full", good_age_seconds=60)
    never = rule.judge(success=False, error="disk full", good_age_seconds=None)
    assert old is not None
    assert failed is not None
    assert never is not None
    assert (old.evidence["failed"], failed.evidence["error"]) == (False, "disk full")
    assert "good_age_seconds" not in never.evidence
