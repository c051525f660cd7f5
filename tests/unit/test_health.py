"""Whether a provider is up, by its probes and its calls."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.health import Calls, HealthRules, Judgement, Probe, Standing, judge, needed

RULES = HealthRules()
START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
SLOT = timedelta(seconds=30)
LOOKS = {
    "o": Probe(START, True, latency_ms=80),
    "x": Probe(START, False, "provider", 5_000, "no answer within 5 s"),
    "u": Probe(START, False, "us", 60, "answered 401"),
    "2": Probe(START, True, "", 80, "good at the second try: no answer within 5 s"),
    "s": Probe(START, True, latency_ms=4_000),
}


def at(slot: int) -> datetime:
    return START + slot * SLOT


def probes(seen: str) -> list[Probe]:
    """`ox`: good, then failed; newest first, as judged."""
    return [replace(LOOKS[look], at=at(slot)) for slot, look in enumerate(seen)][::-1]


def walk(seen: str, rules: HealthRules = RULES, calls: Sequence[Calls] = ()) -> list[Judgement]:
    """Judge slot after slot, each by what was held after the one before."""
    judged: list[Judgement] = []
    was = Standing()
    for slot in range(len(seen)):
        now = calls[slot] if slot < len(calls) else Calls()
        judged.append(judge(probes(seen[: slot + 1]), now, was, rules, at(slot)))
        was = judged[-1].standing
    return judged


def statuses(seen: str, rules: HealthRules = RULES, calls: Sequence[Calls] = ()) -> list[str]:
    return [each.status for each in walk(seen, rules, calls)]


def test_a_provider_nobody_looked_at_is_unknown() -> None:
    assert judge([], Calls(), Standing(), RULES, START).status == "unknown"


def test_a_failed_probe_is_an_outage_and_three_good_ones_end_it() -> None:
    assert statuses("oxooo") == ["up", "down", "down", "down", "up"]


def test_the_good_probes_must_come_in_a_row() -> None:
    assert statuses("xooxooo")[3:] == ["down", "down", "down", "up"]


def test_more_failed_probes_may_be_asked_for() -> None:
    assert statuses("xxx", replace(RULES, down_after=3)) == ["degraded", "degraded", "down"]


def test_a_provider_that_answers_and_refuses_us_is_degraded_and_never_down() -> None:
    assert statuses("uuuuuu") == ["degraded"] * 6


def test_a_second_try_and_a_slow_answer_are_degraded() -> None:
    assert statuses("2so") == ["degraded", "degraded", "up"]
    assert walk("s")[0].reason == "its probe took 4000 ms"


def test_most_calls_failing_is_an_outage_though_probes_answer() -> None:
    judged = walk("ooooo", calls=[Calls(10, 0), Calls(10, 6)])

    assert [each.status for each in judged] == ["up", "down", "down", "down", "up"]
    assert judged[1].reason == "6 of 10 calls failed"
    assert [each.good for each in judged[1:]] == [0, 1, 2, 3]


def test_half_of_the_calls_and_too_few_of_them_are_no_outage() -> None:
    assert statuses("o", calls=[Calls(10, 5)]) == ["degraded"]
    assert statuses("o", calls=[Calls(4, 4)]) == ["up"]


def test_good_probes_from_before_the_outage_do_not_end_it() -> None:
    assert statuses("oooo", calls=[Calls(), Calls(), Calls(), Calls(10, 9)])[3] == "down"


def test_calls_that_failed_before_the_recovery_do_not_bring_it_down_again() -> None:
    assert statuses("xooo", calls=[Calls(), Calls(), Calls(), Calls(20, 20)])[3] == "up"


def test_who_falls_again_soon_needs_twice_as_many_good_probes() -> None:
    bad = Calls(10, 10)
    judged = walk("xooo" + "oooooo" + "o", calls=[Calls()] * 4 + [bad])

    assert [each.status for each in judged] == ["down"] * 3 + ["up"] + ["down"] * 6 + ["up"]
    assert (judged[4].needed, judged[4].standing.relapses) == (6, 1)


def test_who_falls_again_after_long_begins_anew() -> None:
    rules = replace(RULES, relapse_seconds=30)

    assert walk("xoooooox", rules)[-1].standing.relapses == 0


def test_it_is_told_since_when() -> None:
    judged = walk("oooxx")

    assert [each.standing.since for each in judged] == [START, START, START, at(3), at(3)]


@given(st.text("oxu2s", max_size=40))
def test_a_provider_is_down_only_after_a_failed_probe_and_up_only_after_enough_good_ones(seen: str) -> None:
    was = "unknown"
    for slot, judged in enumerate(walk(seen)):
        if judged.status == "down" and was != "down":
            assert seen[slot] == "x"
        if was == "down" and judged.status != "down":
            assert set(seen[slot - judged.needed + 1 : slot + 1]) <= set("o2s")
            assert judged.needed == needed(RULES, judged.standing.relapses)
        was = judged.status
