"""A finding that holds every minute is told at its beginning, now and then, and at its end."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.anomaly import Finding, Severity
from gateway.policy.episodes import Episode, Plan, plan

START = datetime(2026, 11, 21, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
REMIND, REST = 300.0, 600.0


def finding(severity: Severity = "warning", *, scope: str = "agent:coder", acts: bool = True) -> Finding:
    return Finding("hourly_jump", scope, severity, {}, acts=acts)


def sweep(at: datetime, findings: Sequence[Finding], episodes: Sequence[Episode] = ()) -> Plan:
    return plan(findings, episodes, at, remind_seconds=REMIND, rest_seconds={}, default_rest_seconds=REST)


def remember(done: Plan, at: datetime, episodes: Sequence[Episode]) -> list[Episode]:
    """As the store does."""
    kept = {e.name: e for e in episodes if e not in done.over}
    for each in done.found:
        f = each.finding
        old = kept.get((f.rule, f.scope, f.window))
        kept[f.rule, f.scope, f.window] = Episode(
            f.rule, f.scope, f.window,
            "critical" if old and old.severity == "critical" else f.severity,
            min(old.since, at) if old else at,
            max(old.seen_at, at) if old else at,
            (max(old.told_at, at) if each.tell else old.told_at) if old else at,
            each.act or bool(old and old.acted),
        )  # fmt: skip
    return list(kept.values())


def live(days: Sequence[Sequence[Finding]]) -> list[Plan]:
    """One sweep a minute."""
    episodes: list[Episode] = []
    plans = []
    for number, findings in enumerate(days):
        at = START + number * MINUTE
        plans.append(sweep(at, findings, episodes))
        episodes = remember(plans[-1], at, episodes)
    return plans


def told(plans: Sequence[Plan]) -> list[int]:
    return [minute for minute, each in enumerate(plans) for found in each.found if found.tell]


def test_it_is_told_at_once_and_every_five_minutes() -> None:
    assert told(live([[finding()]] * 12)) == [0, 5, 10]


def test_it_is_told_when_it_becomes_critical_and_not_when_it_eases() -> None:
    plans = live([[finding()], [finding("critical")], [finding()], [finding("critical")]])

    assert told(plans) == [0, 1]


def test_what_is_configured_is_done_once() -> None:
    plans = live([[finding(acts=False)], [finding("critical")], [finding("critical")]])

    assert [found.act for each in plans for found in each.found] == [False, True, False]


def test_it_is_over_when_it_was_not_found_for_its_rest() -> None:
    plans = live([[finding()], *[[]] * 12])

    assert [minute for minute, each in enumerate(plans) if each.over] == [10]


def test_what_comes_and_goes_is_one_episode() -> None:
    plans = live([[finding()], [], [], [finding()], [], [finding()]])

    assert told(plans) == [0, 5]
    assert not any(each.over for each in plans)


def test_the_same_minute_again_tells_nothing() -> None:
    first = sweep(START, [finding()])

    again = sweep(START, [finding()], remember(first, START, []))

    assert [found.tell for found in again.found] == [False]


def test_a_sweep_of_the_past_ends_nothing_and_repeats_nothing() -> None:
    now = [Episode("hourly_jump", "agent:coder", "", "warning", START, START, START, True)]
    earlier = START - timedelta(hours=3)

    assert sweep(earlier, [], now).over == []
    assert [found.tell for found in sweep(earlier, [finding()], now).found] == [False]


@given(st.lists(st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True), max_size=60))
def test_every_episode_begins_once_and_ends_once(minutes: list[list[str]]) -> None:
    plans = live([[finding(scope=f"agent:{name}") for name in names] for names in (*minutes, *[[]] * 11)])

    for name in ("a", "b"):
        acted = sum(f.act for p in plans for f in p.found if f.finding.scope == f"agent:{name}")
        ended = sum(e.scope == f"agent:{name}" for p in plans for e in p.over)
        assert acted == ended
