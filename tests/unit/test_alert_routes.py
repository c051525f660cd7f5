"""Which channels an alert goes to: routes of the configuration, and what holds without any."""

from typing import Any

import pytest

from gateway.errors import ConfigurationError
from gateway.policy.alert_routes import AlertPolicy, Escalation, Route, default_escalations, default_routes
from tests.unit.test_alert_plan import alert
from worker.alerting import alerts_here
from worker.config import parse_config
from worker.config_alerts import alert_policy

KINDS = {"log": "log", "chat": "slack", "mail": "email", "pager": "pagerduty", "hook": "webhook"}
DEFAULT = AlertPolicy(default_routes(KINDS))


def channels(rule: str, severity: Any, scope: str = "agent:coder", policy: AlertPolicy = DEFAULT) -> set[str]:
    return set(policy.channels(alert(rule=rule, severity=severity, scope=scope)))


@pytest.mark.parametrize(
    ("rule", "severity", "scope", "told"),
    [
        ("switch_set", "info", "agent:coder", {"log"}),
        ("velocity_warning", "warning", "agent:coder", {"log", "chat", "hook"}),
        ("daily_budget_80", "warning", "agent:coder", {"log", "chat", "hook"}),
        ("daily_budget_80", "warning", "global", {"log", "chat", "hook", "mail"}),
        ("daily_budget_80", "warning", "team:red", {"log", "chat", "hook", "mail"}),
        ("cost_threshold", "warning", "user:ann", {"log", "chat", "hook", "mail"}),
        ("velocity_critical", "critical", "agent:coder", set(KINDS)),
    ],
)
def test_without_routes_everybody_hears_what_the_requirements_say(
    rule: str, severity: str, scope: str, told: set[str]
) -> None:
    assert channels(rule, severity, scope) == told


def test_without_anything_configured_the_log_has_it() -> None:
    assert channels("velocity_critical", "critical", policy=AlertPolicy(default_routes({"log": "log"}))) == {
        "log"
    }
    assert default_escalations({"log": "log"}) == ()


def test_what_nobody_acknowledges_goes_to_whoever_pages_else_to_mail_else_to_all() -> None:
    assert default_escalations(KINDS) == (Escalation(600, ("pager",)),)
    assert default_escalations({"chat": "slack", "mail": "email"}) == (Escalation(600, ("mail",)),)
    assert default_escalations({"log": "log", "chat": "slack"}) == (Escalation(600, ("chat",)),)


def test_a_threshold_that_names_channels_goes_to_these() -> None:
    named = alert(rule="cost_threshold", evidence={"channels": ["mail"]})

    assert DEFAULT.channels(named) == ("mail",)


def test_the_first_route_that_matches_is_the_last_unless_it_says_also() -> None:
    routes = (
        Route(("a",), rules=("velocity_*",), also=True),
        Route(("b", "a"), agents=("code*",), teams=("",)),
        Route(("c",)),
    )
    policy = AlertPolicy(routes)

    assert policy.channels(alert(rule="velocity_warning", agent="coder")) == ("a", "b")
    assert policy.channels(alert(rule="velocity_warning", agent="writer")) == ("a", "c")


def test_routes_are_read_from_the_file() -> None:
    config = parse_config(
        """
        timezone: Europe/Berlin
        alerts:
          channels:
            ops: {type: slack, url_env: OPS}
          routes:
            - severity: critical
              rule: "velocity_*"
              agent: [a, b]
              channels: ops
              escalate: {after: 5m, to: ops}
            - {channels: [log], continue: true}
          quiet_hours: {from: "22:00", to: "07:30"}
          repeat_after: 2h
          resolve_after: {"velocity_*": 10m}
          escalation: off
        """
    )
    policy = alert_policy(config.alerts, {"log": "log", "ops": "slack"}, "Europe/Berlin")

    assert policy.routes == (
        Route(("ops",), ("critical",), ("velocity_*",), ("a", "b"), escalations=(Escalation(300, ("ops",)),)),
        Route(("log",), also=True),
    )
    assert policy.quiet_hours is not None
    assert str(policy.quiet_hours.zone) == "Europe/Berlin"
    assert (policy.repeat_after_seconds, policy.escalations) == (7_200, ())
    assert policy.resolve_after_seconds("velocity_warning") == 600
    assert policy.resolve_after_seconds("error_rate") == 900


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "routes: [{channels: [slak]}]",
            "alerts.routes[0].channels: there is no channel slak; did you mean slack?",
        ),
        ("routes: [{channels: [log], rule: velocty_warning}]", "did you mean velocity_warning?"),
        ("routes: [{rule: velocity_warning}]", "alerts.routes[0].channels: is missing"),
        ("escalation: {to: [nobody]}", "alerts.escalation: there is no channel nobody"),
        ("resolve_after: {provder_down: 1m}", "did you mean provider_down?"),
        ('quiet_hours: {from: "22:00", to: "22:00"}', "alerts.quiet_hours: from and to are the same"),
        ('quiet_hours: {from: "22:00", to: "07:00", zone: Moon}', "Moon is no time zone"),
        ("routes: [{channels: [log], severity: loud}]", "alerts.routes[0].severity[0]"),
    ],
)
def test_what_leads_nowhere_is_an_error_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parse_config(f"alerts:\n  {text}\n")

    assert message in str(error.value)
    assert str(error.value).startswith("curb.yaml:2: ")


def test_alert_rules_name_channels_that_exist() -> None:
    with pytest.raises(ConfigurationError, match="there is no channel opps"):
        parse_config("alert_rules: [{name: x, amount: 5, channels: [opps]}]")


def test_a_route_to_a_channel_that_this_machine_has_no_secret_for_is_told_at_start() -> None:
    config = parse_config("alerts: {routes: [{channels: [slack]}]}")

    with pytest.raises(ConfigurationError, match="CURB_SLACK_WEBHOOK_URL"):
        alerts_here(config, {"log": None})  # type: ignore[dict-item]
    assert alerts_here(config, {}).routes
