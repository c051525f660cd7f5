"""`anomalies:` in curb.yaml: every rule can be switched off, and errors name the line."""

import pytest

from gateway.errors import ConfigurationError
from gateway.policy.anomaly import HourlyJump
from gateway.policy.anomaly_calls import VelocityAll
from gateway.policy.money import usd
from gateway.policy.sweep_rules import Reaction, SweepRules
from worker.config import parse_config, template

RULES = (
    "velocity_all", "hourly_jump", "daily_sigma", "seasonal", "error_rate", "error_cascade",
    "model_degradation", "cache_hit_rate", "success_rate", "redis_memory", "trace_export_lag",
    "backup_failed",
)  # fmt: skip


def sweep(text: str) -> SweepRules:
    return parse_config(text).sweep


def test_without_a_section_the_defaults_hold() -> None:
    assert sweep("") == SweepRules()


def test_the_template_shows_the_defaults() -> None:
    _, _, after = template().partition("# anomalies:\n")
    shown = "\n".join(line.removeprefix("# ") for line in after.split("\n\n")[0].splitlines())

    assert sweep(f"anomalies:\n{shown}") == SweepRules()


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_can_be_switched_off_and_on(rule: str) -> None:
    assert getattr(sweep(f"anomalies: {{{rule}: off}}"), rule) is None
    assert getattr(sweep(f"anomalies: {{{rule}: on}}"), rule) is not None


def test_numbers_and_actions_can_be_changed() -> None:
    rules = sweep(
        "anomalies:\n  hourly_jump: {times: 4, minimum: 2.50, action: kill, switch_for: 5m}\n  remind: 1h\n"
    )

    assert rules.hourly_jump == HourlyJump(4.0, usd("2.50"))
    assert rules.reactions == {"hourly_jump": Reaction("kill", 300.0)}
    assert rules.remind_seconds == 3_600


def test_everybodys_velocity_has_the_global_threshold_unless_it_has_its_own() -> None:
    assert sweep("velocity: {global: 80, window: 2m}").velocity_all == VelocityAll(usd(80), 120)
    assert sweep("anomalies: {velocity_all: {threshold: 30}}").velocity_all == VelocityAll(usd(30), 300)


def test_one_of_the_cost_thresholds_can_be_moved_or_switched_off() -> None:
    rules = sweep("anomalies: {cost_thresholds: {hour: {warning: 20, critical: off}, user_day: off}}")

    assert [(t.name, t.amount_nano_usd) for t in rules.thresholds] == [
        ("hourly warning", usd(20)),
        ("daily warning", usd(100)),
        ("daily critical", usd(500)),
        ("monthly warning", usd(1_000)),
        ("monthly critical", usd(5_000)),
    ]
    assert sweep("anomalies: {cost_thresholds: off}").thresholds == ()


def test_alert_rules_are_thresholds_too() -> None:
    mine = sweep(
        "alert_rules:\n"
        "  - {name: half, scope: global, period: month, threshold: 50%}\n"
        "  - {name: red, scope: 'team:red', period: hour, amount: 3, severity: critical}\n"
    ).thresholds[-2:]

    assert [(t.name, t.share_millionths, t.amount_nano_usd, t.severity) for t in mine] == [
        ("half", 500_000, None, "warning"),
        ("red", None, usd(3), "critical"),
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("anomalies:\n  seasonal: {history: 20}", "curb.yaml:2: anomalies.seasonal.history: only 14 days"),
        ("anomalies:\n  hourly_jmp: off", "curb.yaml:2: anomalies.hourly_jmp: no such field; did you mean"),
        (
            "anomalies:\n  error_cascade: {action: kill}",
            "curb.yaml:2: anomalies.error_cascade.action: no such",
        ),
        ("anomalies:\n  velocity_all: {action: throttle}", "curb.yaml:2: anomalies.velocity_all.action"),
        ("anomalies:\n  success_rate: {critical: 97%}", "anomalies.success_rate.critical: 0.97 is above"),
        (
            "anomalies:\n  cost_thresholds: {hour: {warning: -1}}",
            "cost_thresholds.hour.warning: '-1': an amount",
        ),
        (
            "alert_rules:\n- {name: a, period: hour, threshold: 50%}",
            "alert_rules[0].threshold: an hour has no",
        ),
        ("alert_rules:\n- {name: a, scope: 'run:x', amount: 5}", "alert_rules[0].scope: runs have budgets"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(text: str, error: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_config(text)

    assert error in str(refused.value)
