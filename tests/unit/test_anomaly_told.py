"""What the sweep finds can be told: each rule has a title for its numbers, and its end its beginning."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from gateway.policy.alert_catalogue import RULES
from gateway.policy.alerts import Event, Reader
from gateway.policy.anomaly import DailySigma, DayBefore, Finding, HourlyJump, Seasonal, Spending
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
from gateway.policy.cost_thresholds import DEFAULT_THRESHOLDS, Spent, over_thresholds
from gateway.policy.money import usd

AT = datetime(2026, 11, 21, 10, 31, tzinfo=UTC)


def findings() -> Sequence[Finding | None]:
    agent = Spending("coder", usd(30), usd(2), usd(90), (DayBefore(usd(20), usd(9), usd(1)),) * 7)
    return [
        VelocityAll().judge(usd(60)),
        HourlyJump().judge(agent),
        DailySigma().judge(agent),
        Seasonal().judge(agent),
        ErrorRate().judge(Outcomes("coder", 20, 5)),
        ErrorCascade().judge([Outcomes(f"a{n}", 5, 5) for n in range(4)]),
        ModelDegradation().judge(Durations("sim/slow", 20, 12_000.0)),
        CacheHitRate().judge(100, 3),
        SuccessRate().judge(Outcomes("", 100, 20)),
        RedisMemory().judge(99, 100),
        TraceLag().judge("langfuse", 9, 700, 1),
        BackupAge().judge(success=False, error="disk full", good_age_seconds=None),
        *over_thresholds(DEFAULT_THRESHOLDS, [Spent("global", "day", "2026-11-21", usd(120))], {}),
    ]


@pytest.mark.parametrize("finding", findings(), ids=lambda finding: finding.rule)
def test_it_has_a_title_and_an_end(finding: Finding) -> None:
    begun = Event("k1", finding.rule, finding.scope, finding.evidence, AT, severity=finding.severity)
    window = {"window": finding.window} if finding.window else {}
    over = Event("k2", finding.rule, finding.scope, window, AT, state="resolved")

    first, last = Reader().event(begun), Reader().event(over)

    assert finding.rule in RULES
    assert not first.title.lower().startswith(finding.rule.replace("_", " "))
    assert first.severity == finding.severity
    assert (first.fingerprint, last.over) == (last.fingerprint, True)
