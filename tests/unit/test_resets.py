"""What the reset of a day lifts: curb's own, of that day, and only when its cause is over."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.errors import ConfigurationError
from gateway.policy.resets import Cause, agent_of, day_scoped, still_stands
from gateway.policy.retention import ALWAYS, CLASSES, RetentionPolicy
from worker.config import parse_config


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("kill:agent:coder", "auto:budget:curb:$5.00 of $5.00 spent", "budget"),
        ("kill:agent:coder", "auto:velocity:curb:$16.00 in 300 s", None),
        ("kill:agent:coder", "auto:anomaly:curb:jump", None),
        ("kill:agent:coder", "manual:ann:runaway", None),
        ("kill:global", "auto:velocity:curb:$60.00 in 300 s", None),
        ("kill:provider:openai", "auto:health:curb:down", None),
        ("throttle:agent:coder", "auto:velocity:curb:$6.00 in 300 s", "velocity"),
        ("throttle:agent:coder", "auto:budget:curb:near", "budget"),
        ("throttle:agent:a:b", "auto:anomaly:curb:dear", "anomaly"),
        ("throttle:agent:coder", "manual:ann:watching", None),
        ("throttle:agent:coder", "yes", None),
    ],
)
def test_only_curbs_own_switches_of_a_day_are_lifted(name: str, value: str, cause: Cause | None) -> None:
    assert day_scoped(name, value) == cause


def test_an_agents_name_may_hold_a_colon() -> None:
    assert agent_of("throttle:agent:a:b") == "a:b"


@pytest.mark.parametrize(
    ("cause", "used", "velocity", "stands"),
    [
        ("budget", 99, 0, False),
        ("budget", 100, 0, True),
        ("velocity", 100, 5, False),
        ("velocity", 0, 6, True),
        ("anomaly", 100, 6, False),
    ],
)
def test_a_cause_that_holds_in_the_new_day_keeps_its_switch(
    cause: Cause, used: int, velocity: int, stands: bool
) -> None:
    found = still_stands(
        cause, limit_nano_usd=100, used_nano_usd=used, velocity_nano_usd=velocity, alert_nano_usd=5
    )
    assert found is stands


def test_without_a_limit_no_budget_is_spent() -> None:
    assert not still_stands(
        "budget", limit_nano_usd=None, used_nano_usd=9, velocity_nano_usd=0, alert_nano_usd=5
    )


def test_classes_are_kept_as_long_as_the_file_says_and_for_ever_where_it_says_so() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    text = "retention: {conversations: 30d, probes: keep, attempts: 70d}"

    before = parse_config(text).retention.before(now)

    assert before["conversations"] == now - timedelta(days=30)
    assert before["attempts"] == now - timedelta(days=70)
    assert "probes" not in before
    assert before["usage"] == now - timedelta(days=365)
    assert {before[name] for name in ALWAYS} == {now}


def test_by_default_traces_are_kept_for_90_days_and_summaries_for_a_year() -> None:
    kept = {each.name: each.keep_days for each in CLASSES}

    assert [kept[name] for name in ("conversations", "attempts", "run_events")] == [90, 90, 90]
    assert [kept[name] for name in ("usage", "runs", "switch_events")] == [365, 365, 365]
    assert parse_config("").retention == RetentionPolicy()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("retention: {attempts: 60d}", "retention.attempts: write 70d or more"),
        ("retention: {ledger: 90d}", "no such field"),
        ("retention: {runs: soon}", "write a duration"),
    ],
)
def test_less_than_is_needed_cannot_be_configured(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_config(text)

    assert said in str(refused.value)
