"""What an alert of Prometheus becomes, and what it may not claim to be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from gateway.policy.alerts import Event, Reader
from gateway.policy.outside_alerts import OutsideAlert

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


def alert(**changes: Any) -> OutsideAlert:
    return replace(OutsideAlert("firing", "f1", AT), **changes)


def seen(given: OutsideAlert) -> Any:
    return Reader().event(
        Event(given.key, given.rule, given.scope, given.evidence(), AT, given.status, given.severity)
    )


def test_the_same_alert_is_one_key_in_whatever_zone_it_is_told() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
    assert (
        alert().key
        == alert(starts_at=elsewhere).key
        == "alertmanager:f1:2026-11-21T10:00:00.000+00:00:firing"
    )


@pytest.mark.parametrize(
    "change", [{"status": "resolved"}, {"fingerprint": "f2"}, {"starts_at": AT + timedelta(seconds=1)}]
)
def test_another_alert_another_time_and_its_end_are_news(change: dict[str, Any]) -> None:
    assert alert(**change).key != alert().key


@pytest.mark.parametrize(
    ("wanted", "rule"),
    [("gateway_errors", "gateway_errors"), ("velocity_global", "outside_alert"), ("", "outside_alert")],
)
def test_rules_that_curb_judges_itself_cannot_be_claimed(wanted: str, rule: str) -> None:
    assert alert(labels={"curb_rule": wanted}).rule == rule


@pytest.mark.parametrize(
    ("labels", "scope"),
    [
        ({"agent": "coder", "model": "m"}, "agent:coder"),
        ({"provider": "openai"}, "provider:openai"),
        ({"team": "red"}, "team:red"),
        ({"instance": "w1"}, "prometheus"),
    ],
)
def test_it_is_about_what_its_labels_name(labels: dict[str, str], scope: str) -> None:
    assert alert(labels=labels).scope == scope


def test_its_title_is_its_summary_or_else_its_name() -> None:
    named = {"alertname": "CurbDown", "severity": "critical", "instance": "w1"}
    told = seen(
        alert(labels=named, annotations={"summary": "w1 does not answer", "description": "See its log."})
    )
    assert (told.title, told.severity) == ("W1 does not answer", "critical")
    assert told.evidence["about"] == "instance=w1"
    assert seen(alert(labels=named)).title == "CurbDown"


def test_alerts_of_one_name_are_told_apart_and_their_end_ends_the_right_one() -> None:
    first, second = ({"alertname": "CurbDown", "instance": name} for name in ("w1", "w2"))
    assert seen(alert(labels=first)).fingerprint != seen(alert(labels=second)).fingerprint
    over = seen(alert(labels=first, status="resolved", annotations={"summary": "other words by now"}))
    assert (over.over, over.fingerprint) == (True, seen(alert(labels=first)).fingerprint)
