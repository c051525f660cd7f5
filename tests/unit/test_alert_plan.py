"""What is done about an alert, and when: told, told again, escalated, held back, ended."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from gateway.policy.alert_plan import Decision, Delivery, Tell, decide
from gateway.policy.alert_routes import AlertPolicy, Escalation, QuietHours, Route, Silence
from gateway.policy.alerts import AlertRecord

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
POLICY = AlertPolicy(
    routes=(Route(("chat",)),), escalations=(Escalation(600, ("pager",)),), repeat_after_seconds=4 * 3_600
)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def alert(**changes: Any) -> AlertRecord:
    return AlertRecord(
        **{
            "id": "a", "fingerprint": "f", "rule": "provider_down", "severity": "warning",
            "scope": "provider:openai", "agent": "", "team": "", "title": "t", "evidence": {}, "action": "",
            "first_seen": START, "last_seen": START, "ends_at": None, "count": 1, "generation": 1,
            "status": "firing", **changes,
        }
    )  # fmt: skip


def told(minutes: float = 0, **changes: Any) -> AlertRecord:
    """An alert that people were told of."""
    values = {"told_generation": 1, "told_at": at(minutes), "last_told_at": at(minutes)}
    return alert(**values | {"quiet_until": at(minutes + 240)} | changes)


def delivery(
    kind: Any = "firing", number: int = 1, channel: str = "chat", state: Any = "delivered"
) -> Delivery:
    return Delivery(kind, number, channel, state, START)


def plan(
    given: AlertRecord, minutes: float, *planned: Delivery, policy: AlertPolicy = POLICY, silences: Any = ()
) -> Decision:
    return decide(given, planned, silences, policy, at(minutes))


def test_a_new_alert_is_told_at_once() -> None:
    decision = plan(alert(), 0)

    assert decision.tells == (Tell("firing", 1, "chat"),)
    assert decision.told
    assert decision.quiet_until == at(240)
    assert decision.look_at == at(15)  # when it is over, if it is not seen again


def test_what_was_told_is_not_told_again_before_its_quiet_time_is_over() -> None:
    decision = plan(told(last_seen=at(10), count=9), 11, delivery())

    assert decision.tells == ()
    assert decision.look_at == at(25)


def test_it_is_told_again_after_the_quiet_time_while_it_is_still_seen() -> None:
    seen, unseen = told(last_seen=at(241)), told(last_seen=at(0))
    long = replace(POLICY, resolve_after={"*": 100_000.0})

    assert plan(seen, 242, delivery(), policy=long).tells == (Tell("repeated", 1, "chat"),)
    assert plan(unseen, 242, delivery(), policy=long).tells == ()


def test_repetitions_are_numbered() -> None:
    decision = plan(told(last_seen=at(241)), 242, delivery(), delivery("repeated", 3))

    assert decision.tells == (Tell("repeated", 4, "chat"),)


def test_what_gets_worse_is_told_anew() -> None:
    worse = told(generation=2, severity="critical", last_seen=at(3))

    assert plan(worse, 3, delivery()).tells == (Tell("firing", 2, "chat"),)


def test_it_is_escalated_when_nobody_has_acknowledged_for_long_enough() -> None:
    critical = told(severity="critical", last_seen=at(9))

    assert plan(critical, 9, delivery()).look_at == at(10)
    assert plan(critical, 10, delivery()).tells == (Tell("escalated", 10, "pager"),)
    assert plan(critical, 11, delivery(), delivery("escalated", 10, "pager")).tells == ()


def test_what_is_acknowledged_is_neither_escalated_nor_repeated() -> None:
    mine = told(severity="critical", status="acknowledged", last_seen=at(300))

    decision = plan(mine, 301, delivery())

    assert decision.tells == ()
    assert decision.look_at == at(315)


def test_warnings_are_not_escalated_unless_their_route_says_so() -> None:
    route = Route(("chat",), escalations=(Escalation(60, ("phone",)), Escalation(120, ("pager", "chat"))))
    own = replace(POLICY, routes=(route,))

    assert plan(told(last_seen=at(10)), 10, delivery()).tells == ()
    assert plan(told(last_seen=at(1)), 1, delivery(), policy=own).tells == (Tell("escalated", 10, "phone"),)
    assert plan(told(last_seen=at(2)), 2, delivery("escalated", 10, "phone"), policy=own).tells == (
        Tell("escalated", 11, "pager"),
        Tell("escalated", 11, "chat"),
    )


def test_it_is_over_when_it_was_not_seen_for_its_time_and_those_who_know_are_told() -> None:
    decision = plan(
        told(), 15, delivery(), delivery("escalated", 10, "pager"), delivery(channel="gone", state="refused")
    )

    assert decision.resolution == "quiet"
    assert decision.tells == (Tell("resolved", 0, "chat"), Tell("resolved", 0, "pager"))
    assert decision.look_at is None


def test_a_budget_is_over_when_its_window_ends() -> None:
    decision = plan(told(ends_at=at(30)), 30, delivery())

    assert decision.resolution == "window"
    assert plan(told(ends_at=at(30)), 29, delivery()).resolution == ""


def test_the_end_is_told_once() -> None:
    over = told(status="resolved", resolution="over", resolved_at=at(5))

    assert plan(over, 5, delivery()).tells == (Tell("resolved", 0, "chat"),)
    assert plan(over, 6, delivery(), delivery("resolved", 0)).tells == ()


def test_what_nobody_was_told_of_ends_in_silence() -> None:
    assert plan(alert(status="resolved", resolution="over"), 0).tells == ()


def test_the_end_of_a_moment_is_nothing_to_tell() -> None:
    assert plan(told(rule="repeated_call"), 60, delivery()) == Decision(resolution="quiet")


def test_a_moment_that_could_not_be_told_in_its_time_is_told_late() -> None:
    lost = alert(rule="dead_event", severity="critical")

    decision = plan(lost, 90)  # Temporal was away for longer than a moment is remembered

    assert decision.tells == (Tell("firing", 1, "chat"),)
    assert plan(told(90, rule="dead_event"), 91, delivery()) == Decision(resolution="quiet")
    assert plan(lost, 90, silences=[Silence("s", "dead_*", "", "", "", at(120), "ann")]).tells == ()


def test_a_moment_of_the_quiet_hours_is_told_when_they_end() -> None:
    quiet = replace(POLICY, quiet_hours=QuietHours(time(9), time(17), ZoneInfo("UTC")))
    loop = alert(rule="repeated_call")

    assert plan(loop, 0, policy=quiet).look_at == at(7 * 60)
    assert plan(loop, 61, policy=quiet).resolution == ""
    assert plan(loop, 7 * 60, policy=quiet).tells == (Tell("firing", 1, "chat"),)


def test_a_silence_holds_back_and_lets_go_what_still_fires() -> None:
    silence = Silence("s", "provider_*", "", "", "", at(10), "ann")
    held = plan(alert(), 0, silences=[silence])

    assert (held.tells, held.told, held.look_at) == ((), False, at(10))
    assert held.held == "silenced by ann until 10:10 UTC"
    assert plan(alert(), 10, silences=[silence]).tells == (Tell("firing", 1, "chat"),)
    assert plan(alert(), 16, silences=[silence]).tells == ()


def test_a_silence_covers_only_what_all_its_patterns_match() -> None:
    assert not Silence("s", "provider_*", "", "coder", "", at(10)).covers(alert(), START)
    assert Silence("s", "", "provider:*", "", "", at(10)).covers(alert(), START)
    assert not Silence("s", "", "provider:*", "", "", at(10)).covers(alert(), at(10))


def test_quiet_hours_hold_back_what_is_not_severe_until_they_end() -> None:
    quiet = replace(POLICY, quiet_hours=QuietHours(time(9), time(10, 5), ZoneInfo("UTC")))

    assert plan(alert(), 0, policy=quiet).look_at == at(5)
    assert plan(alert(), 0, policy=quiet).tells == ()
    assert plan(alert(), 5, policy=quiet).tells == (Tell("firing", 1, "chat"),)
    assert plan(alert(severity="critical"), 0, policy=quiet).tells == (Tell("firing", 1, "chat"),)


def test_good_news_wait_for_the_end_of_quiet_hours_too() -> None:
    quiet = replace(POLICY, quiet_hours=QuietHours(time(9), time(10, 5), ZoneInfo("UTC")))
    over = told(status="resolved", resolution="over", resolved_at=START)

    assert plan(over, 0, delivery(), policy=quiet).look_at == at(5)
    assert plan(over, 5, delivery(), policy=quiet).tells == (Tell("resolved", 0, "chat"),)


def test_quiet_hours_may_span_midnight_and_go_by_the_clock_of_their_zone() -> None:
    hours = QuietHours(time(22), time(7), ZoneInfo("Europe/Berlin"))

    assert hours.until(datetime(2026, 11, 21, 20, 59, tzinfo=UTC)) is None
    assert hours.until(datetime(2026, 11, 21, 21, 0, tzinfo=UTC)) == datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
    assert hours.until(datetime(2026, 11, 22, 5, 59, tzinfo=UTC)) == datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
    assert hours.until(datetime(2026, 11, 22, 6, 0, tzinfo=UTC)) is None


def test_a_decision_made_again_plans_nothing_new() -> None:
    first = plan(alert(), 0)
    after = told(quiet_until=first.quiet_until)

    assert plan(after, 0, delivery(state="pending")).tells == ()
