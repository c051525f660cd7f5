"""What an event says of which alert: titles, fingerprints, severities, what belongs together."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.policy.alert_catalogue import RULES, known_rule
from gateway.policy.alert_words import duration, facts, percent, plain, short_usd
from gateway.policy.alerts import Consequence, Event, Reader, Sighting, SwitchEvent, alert_id
from gateway.policy.loops import Rule
from gateway.policy.money import usd
from gateway.policy.periods import Calendar

AT = datetime(2026, 11, 21, 10, 2, tzinfo=UTC)
READER = Reader({"coder": "red"}, Calendar(ZoneInfo("Europe/Berlin")))


def event(
    rule: str, scope: str = "agent:coder", evidence: dict[str, Any] | None = None, **changes: Any
) -> Event:
    values = {"key": "e1", "at": AT, **changes}
    return Event(rule=rule, scope=scope, evidence=evidence or {}, **values)


def spent(amount: str, limit: str, counter: str) -> dict[str, Any]:
    return {"counter": counter, "spent_nano_usd": usd(amount), "limit_nano_usd": usd(limit)}


def switched(name: str, old: str, new: str, **changes: Any) -> list[Sighting | Consequence]:
    return READER.switch(SwitchEvent("s1", name, old, new, changes.get("expires_at"), AT))


@pytest.mark.parametrize(
    ("rule", "scope", "evidence", "title"),
    [
        ("velocity_warning", "agent:coder", {"spent_nano_usd": usd("6.203"), "window_seconds": 300},
         "coder spent $6.20 in 5 minutes"),
        ("velocity_critical", "agent:coder", {"spent_nano_usd": usd("15.005"), "window_seconds": 300},
         "coder spent $15.01 in 5 minutes and is paused"),
        ("velocity_all", "global", {"spent_nano_usd": usd(51), "window_seconds": 300},
         "All agents together spent $51.00 in 5 minutes"),
        ("daily_budget_80", "agent:coder", spent("8.123", "10", "agent:coder|day|2026-11-21"),
         "coder: 81.2% of the daily budget is spent ($8.12 of $10.00)"),
        ("daily_budget_80", "global", spent("160", "200", "global|day|2026-11-21"),
         "All agents: 80% of the daily budget is spent ($160.00 of $200.00)"),
        ("daily_budget_exceeded", "team:red", spent("0.5", "0.5", "team:red|day|2026-11-21"),
         "Team red: the daily budget is spent ($0.50 of $0.50)"),
        ("over_bound", "agent:coder", {"reserved_nano_usd": 1_000_000, "cost_nano_usd": 1_234_567},
         "coder: a call cost $0.0012, and $0.001 was held for it"),
        ("cost_threshold", "user:ann",
         {"period": "day", "actual_nano_usd": usd(12), "threshold_nano_usd": usd(10)},
         "User ann: $12.00 spent this day, more than $10.00"),
        ("repeated_call", "run:r1", {"agent": "coder"}, "coder makes the same call again and again"),
        ("human_escalation", "run:r1", {"agent": "coder", "kind": "approval"},
         "coder waits for a person (approval)"),
        ("error_rate", "agent:coder", {"error_ratio": 0.1234}, "coder: 12.34% of the calls fail"),
        ("success_rate", "global", {"success_ratio": 0.94}, "Only 94% of the calls succeed"),
        ("provider_down", "provider:openai", {}, "Provider openai is down"),
        ("model_degradation", "model:openai/gpt-5-mini", {"p95_ms": 12_345},
         "Model openai/gpt-5-mini is slow: p95 12.345 seconds"),
        ("invoice_differs", "provider:openai",
         {"model": "gpt-5-mini", "day": "2026-11-20", "booked_beyond_nano_usd": usd(3)},
         "Provider openai: $3.00 booked beyond what was invoiced for gpt-5-mini"),
        ("usage_unattributed", "provider:openai", {"model": "gpt-5-mini", "amount_nano_usd": None},
         "Provider openai: usage of gpt-5-mini that curb did not buy"),
        ("counters_differ", "global", {"counters": 2}, "2 counters differ from the ledger"),
        ("forecast_over_budget", "global", {"expected_nano_usd": usd(3_210), "limit_nano_usd": usd(3_000)},
         "All agents: $3,210.00 expected for this month, more than $3,000.00"),
        ("supervision_failed", "workflow:anomaly-sweep", {"reason": "x"},
         "Workflow anomaly-sweep does not work"),
        ("velocity_warning", "agent:coder", {}, "velocity warning: coder"),
        ("something_new", "provider:openai", {}, "Something new: provider openai"),
    ],
)  # fmt: skip
def test_a_title_is_one_line_with_the_numbers(
    rule: str, scope: str, evidence: dict[str, Any], title: str
) -> None:
    assert READER.event(event(rule, scope, evidence)).title == title


def test_fields_have_the_exact_numbers() -> None:
    found = facts(
        {
            "spent_nano_usd": 6_203_144_021,
            "window_seconds": 300,
            "error_ratio": 0.1234,
            "p95_ms": 850,
            "rows": [{"counter": "c"}],
            "steps": [1, 2, 3],
            "evidence": {"input_tokens": 123_456},
            "nothing": None,
        }
    )

    assert {fact.name: fact.exact for fact in found} == {
        "spent": "$6.203144021",
        "window": "5 minutes",
        "error ratio": "12.34%",
        "p95": "850 ms",
        "steps": "1, 2, 3",
        "input tokens": "123,456",
    }


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (15, "$0.000000015"),
        (4_123_117, "$0.0041"),
        (999_999_999, "$1.00"),
        (-5 * 10**9, "-$5.00"),
    ],
)
def test_small_amounts_keep_two_digits_that_tell(nano: int, text: str) -> None:
    assert short_usd(nano) == text


def test_durations_and_shares_are_said_in_words() -> None:
    assert [duration(s) for s in (1, 90, 300, 5_400, 90_000)] == [
        "1 second", "1 minute 30 seconds", "5 minutes", "1 hour 30 minutes", "1 day 1 hour",
    ]  # fmt: skip
    assert [percent(share) for share in (0.8, 1, 0.12345)] == ["80%", "100%", "12.35%"]


def test_names_cannot_break_out_of_their_line() -> None:
    sighting = READER.event(event("velocity_warning", "agent:x\n\x1b[31mPAY", {}))

    assert sighting.title == "velocity warning: x [31mPAY"
    assert plain("a" * 500).endswith("…")


def test_rules_of_a_family_are_one_alert_that_gets_worse() -> None:
    rules = ("velocity_warning", "velocity_critical", "velocity_global")
    sightings = [READER.event(event(rule)) for rule in rules]

    assert len({each.fingerprint for each in sightings}) == 1
    assert [each.severity for each in sightings] == ["warning", "critical", "critical"]


def test_each_day_of_a_budget_is_an_alert_of_its_own_that_ends_with_the_day() -> None:
    today, tomorrow = (
        READER.event(event("daily_budget_80", evidence=spent("8", "10", f"agent:coder|day|2026-11-{day}")))
        for day in (21, 22)
    )

    assert today.fingerprint != tomorrow.fingerprint
    assert today.ends_at == datetime(2026, 11, 21, 23, 0, tzinfo=UTC)  # midnight in Berlin


def test_the_runs_of_an_agent_that_loop_are_one_alert_and_questions_are_one_each() -> None:
    loops = {
        READER.event(event("repeated_call", f"run:r{n}", {"agent": "coder"})).fingerprint for n in (1, 2)
    }
    questions = {
        READER.event(event("human_escalation", "run:r1", {"agent": "coder"}, key=f"e{n}")).fingerprint
        for n in (1, 2)
    }

    assert (len(loops), len(questions)) == (1, 2)


def test_usage_that_is_unexplained_is_an_alert_for_each_model_and_day() -> None:
    fingerprints = {
        READER.event(event("usage_unattributed", "provider:openai", {"model": model, "day": day})).fingerprint
        for model, day in (("a", "2026-11-20"), ("a", "2026-11-21"), ("b", "2026-11-21"), ("b", "2026-11-21"))
    }

    assert len(fingerprints) == 3


def test_a_sighting_knows_its_agent_and_team() -> None:
    by_scope, by_evidence = (
        READER.event(event("error_rate")),
        READER.event(event("repeated_call", "run:r1", {"agent": "coder"})),
    )

    assert (by_scope.agent, by_scope.team) == (by_evidence.agent, by_evidence.team) == ("coder", "red")


def test_an_event_may_say_its_own_severity_and_nonsense_is_the_rules_own() -> None:
    assert READER.event(event("success_rate", severity="critical")).severity == "critical"
    assert READER.event(event("success_rate", severity="loud")).severity == "warning"


def test_the_same_event_gives_the_same_id() -> None:
    first, again, other = (READER.event(event("error_rate", key=key)) for key in ("e1", "e1", "e2"))

    assert alert_id(first) == alert_id(again) != alert_id(other)
    assert len(alert_id(first)) == 8


def test_a_switch_set_by_hand_is_an_alert_until_it_is_lifted() -> None:
    [is_set] = switched("kill:agent:coder", "", "manual:adam:runaway_loop")
    [is_lifted] = switched("kill:agent:coder", "manual:adam:runaway_loop", "")

    assert isinstance(is_set, Sighting)
    assert isinstance(is_lifted, Sighting)
    assert is_set.title == "coder is switched off by adam: runaway loop"
    assert (is_set.severity, is_set.agent, is_set.evidence["reason"]) == ("warning", "coder", "runaway loop")
    assert (is_set.over, is_lifted.over) == (False, True)
    assert is_set.fingerprint == is_lifted.fingerprint


def test_switching_everything_off_is_critical_and_a_throttle_or_a_key_is_worth_knowing() -> None:
    [everything] = switched("kill:global", "", "x")
    [throttle] = switched("throttle:agent:coder", "", "manual:adam:")
    [key] = switched("kill:key:k1", "", "manual:adam:revoked")

    assert isinstance(everything, Sighting)
    assert isinstance(throttle, Sighting)
    assert (everything.title, everything.severity) == ("Everything is switched off by x", "critical")
    assert isinstance(key, Sighting)
    assert (throttle.title, throttle.severity) == ("coder is throttled by adam", "info")
    assert (key.title, key.severity) == ("API key k1 is switched off by adam: revoked", "info")


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("auto:budget:curb:$10.00 of $10.00 spent", "daily_budget_exceeded"),
        ("auto:velocity:curb:$15.20 in 300 s", "velocity_critical"),
        ("auto:anomaly:hourly_jump: spent $12", "hourly_jump"),
    ],
)
def test_a_switch_that_curb_set_is_what_was_done_about_another_alert(value: str, rule: str) -> None:
    expires = datetime(2026, 11, 22, tzinfo=UTC)
    [done] = switched("kill:agent:coder", "", value, expires_at=expires)

    assert isinstance(done, Consequence)
    assert rule in done.rules
    assert (done.agent, done.otherwise) == ("coder", None)
    assert done.text == "kill:agent:coder is set until 2026-11-22 00:00 UTC"


def test_everything_is_never_switched_off_without_a_word() -> None:
    [done] = switched("kill:global", "", "auto:velocity:curb:$60 in 300 s")

    assert isinstance(done, Consequence)
    assert done.otherwise is not None
    assert done.otherwise.severity == "critical"


def test_a_switch_that_curb_takes_over_is_no_longer_that_of_a_person() -> None:
    over, done = switched("kill:agent:coder", "manual:adam:x", "auto:budget:curb:y")

    assert isinstance(over, Sighting)
    assert over.over
    assert isinstance(done, Consequence)


def test_every_rule_of_a_loop_is_known() -> None:
    assert {rule.value for rule in Rule} <= set(RULES)


def test_the_table_of_severities_is_that_of_the_requirements() -> None:
    critical = {"velocity_critical", "daily_budget_exceeded", "error_cascade", "backup_failed"}
    warning = {
        "velocity_warning", "daily_budget_80", "error_rate", "provider_down", "repeated_call",
        "context_explosion", "model_degradation", "gateway_errors", "cache_hit_rate", "success_rate",
        "redis_memory", "trace_export_lag", "forecast_over_budget", "cost_threshold",
    }  # fmt: skip

    assert {known_rule(rule).severity for rule in critical} == {"critical"}
    assert {known_rule(rule).severity for rule in warning} == {"warning"}
