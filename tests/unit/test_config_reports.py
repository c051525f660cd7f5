"""`reports:` in curb.yaml."""

import pytest

from activities.channels.stdout import Log
from activities.reports.policy import ReportPolicy
from gateway.errors import ConfigurationError
from worker.config import parse_config
from worker.config_reports import reports_here


def test_without_a_section_reports_go_to_the_usual_channels_that_there_are() -> None:
    policy = parse_config("").reports

    assert policy == ReportPolicy()
    assert policy.channels("daily", ["log", "slack", "ops"]) == ("slack",)
    assert policy.channels("weekly", ["log", "slack", "email"]) == ("email", "slack")
    assert policy.channels("weekly", []) == ()


def test_channels_are_named_per_kind_and_none_is_an_answer() -> None:
    policy = parse_config(
        """
alerts: {channels: {finance: {type: email, to: [cfo@example.org]}}}
reports: {daily: {channels: []}, weekly: {channels: [finance, log, finance]}, top: 25}
"""
    ).reports

    assert policy.channels("daily", ["email"]) == ()
    assert policy.channels("weekly", ["email"]) == ("finance", "log")
    assert policy.top == 25


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reports: {weekly: {channels: [slak]}}", "there is no channel slak; did you mean slack?"),
        ("reports: {monthly: {channels: [slack]}}", "no such field"),
        ("reports: {top: 0}", "reports.top"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match="reports") as error:
        parse_config(text)

    assert said in str(error.value)


def test_a_process_without_a_channel_that_is_named_does_not_start() -> None:
    policy = parse_config("reports: {daily: {channels: [email]}}").reports

    with pytest.raises(ConfigurationError, match=r"reports\.daily\.channels: there is no channel email here"):
        reports_here(policy, {"log": Log()})
    assert reports_here(policy, {}) is policy  # it tells nobody
