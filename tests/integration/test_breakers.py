"""Circuit breakers in the admission itself, shared by all processes."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.policy.breaker import BreakerRules, BreakerState
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.state.authority import Authority, EpochSnapshot, Reservation
from tests.budget_world import KEY, Connect, ask, doubted, held, lapse, opened, refused, released, settled

RULES = BreakerRules(failures=3, of=6, ratio=0.5, open_seconds=10.0, longest_seconds=30.0)
NAME = "sim/steady"


@pytest.fixture
async def authority(connect: Connect) -> Authority:
    authority = await connect(breaker=RULES)
    await authority.open_epoch(EpochSnapshot(epoch=1))
    return authority


async def fails(authority: Authority, *calls: str, why: str = "server_error") -> list[str]:
    """Calls that go wrong; what each changed."""
    return [await ends(authority, call, "bad", why=why) for call in calls]


async def ends(authority: Authority, call: str, outcome: Any, **said: Any) -> str:
    attempt = await held(authority, ask(call, 1))
    await authority.close_attempt(released(attempt))
    return await authority.report_breaker(NAME, attempt.attempt_id, outcome, **said)


async def state(authority: Authority) -> BreakerState:
    [found] = await authority.breakers([NAME])
    return found


async def wait_out(redis: Any) -> None:
    """Makes it late enough for an open circuit to be tried again."""
    await redis.hset(KEY(f"breaker:{NAME}"), "open_until", 1)


async def trip(authority: Authority, redis: Any) -> None:
    """A circuit that is half-open."""
    assert await fails(authority, "f1", "f2", "f3") == ["", "", "opened"]
    await wait_out(redis)


async def test_a_deployment_that_works_leaves_no_trace(authority: Authority, raw: Any) -> None:
    answer = await held(authority, ask("c1", 1))
    await authority.report_breaker(NAME, answer.attempt_id, "good")

    assert answer.watched is False
    assert [key async for key in raw.scan_iter(KEY("breaker:*"))] == []
    assert await state(authority) == BreakerState(NAME)


async def test_a_deployment_that_fails_is_left_out_for_a_while_in_every_process(
    authority: Authority, connect: Connect
) -> None:
    changes = await fails(authority, "f1", "f2", "f3")
    other = await connect("p2", breaker=RULES)
    refusal = await refused(other, ask("c1", 1))
    elsewhere = replace(ask("c2", 1), opened=opened("c2", 1, deployment="sim/other"))

    assert changes == ["", "", "opened"]
    assert (refusal.kind, refusal.scope) == (RefusalKind.UNAVAILABLE, f"model:{NAME}")
    assert refusal.detail == "its circuit is open: server_error"
    circuit = await state(other)
    assert (circuit.circuit, circuit.trips, circuit.why) == ("open", 1, "server_error")
    assert refusal.retry_at_ms == circuit.until_ms
    assert isinstance(await other.admit(elsewhere), Reservation)


async def test_who_fails_now_and_then_is_not_left_out(authority: Authority) -> None:
    outcomes = ["bad", "good", "good", "good"] * 8

    assert {await ends(authority, f"c{n}", outcome) for n, outcome in enumerate(outcomes)} == {""}
    assert (await state(authority)).circuit == "closed"


async def test_half_of_the_last_calls_failing_is_enough(authority: Authority) -> None:
    outcomes = ["bad", "good", "bad", "good", "bad"]
    changes = [await ends(authority, f"c{n}", outcome) for n, outcome in enumerate(outcomes)]

    assert changes == ["", "", "", "", "opened"]


async def test_a_call_cut_by_ourselves_says_nothing(authority: Authority) -> None:
    await fails(authority, "f1", "f2")
    await ends(authority, "cut", "unknown")

    circuit = await state(authority)
    assert (circuit.bad, circuit.calls) == (2, 2)


async def test_one_call_at_a_time_tries_a_half_open_circuit(authority: Authority, raw: Any) -> None:
    await trip(authority, raw)
    answers = await asyncio.gather(*(authority.admit(ask(f"c{n}", 1)) for n in range(20)))
    [trying] = [answer for answer in answers if isinstance(answer, Reservation)]
    others = [answer for answer in answers if isinstance(answer, Refusal)]

    assert trying.watched
    assert {each.kind for each in others} == {RefusalKind.UNAVAILABLE}
    assert "half-open" in others[0].detail
    assert others[0].retry_at_ms is not None
    assert await state(authority) == BreakerState(NAME, "half_open", 0, 0, 0, 1, True, "server_error")


async def test_a_good_try_closes_the_circuit(authority: Authority, raw: Any) -> None:
    await trip(authority, raw)

    assert await ends(authority, "try", "good") == "closed"
    assert await state(authority) == BreakerState(NAME)
    await held(authority, ask("c1", 1))
    await held(authority, ask("c2", 1))


async def test_each_bad_try_opens_it_for_twice_as_long_up_to_a_limit(authority: Authority, raw: Any) -> None:
    await trip(authority, raw)
    lengths = []
    for n in range(3):
        before = await raw.time()
        assert await ends(authority, f"try{n}", "bad") == "opened"
        lengths.append(((await state(authority)).until_ms - before[0] * 1000) // 1000)
        await wait_out(raw)

    assert [
        length in (seconds, seconds + 1) for length, seconds in zip(lengths, (20, 30, 30), strict=True)
    ] == [True] * 3


@pytest.mark.parametrize("end", [released, doubted, lambda attempt: settled(attempt, 1)])
async def test_a_try_that_says_nothing_leaves_the_next_one_its_turn(
    authority: Authority, raw: Any, end: Any
) -> None:
    await trip(authority, raw)
    first = await held(authority, ask("cut", 1))
    await authority.close_attempt(end(first))
    await authority.report_breaker(NAME, first.attempt_id, "unknown")

    assert (await held(authority, ask("next", 1))).watched
    assert (await state(authority)).circuit == "half_open"


async def test_a_try_whose_owner_died_leaves_the_next_one_its_turn(authority: Authority, raw: Any) -> None:
    await trip(authority, raw)
    await lapse(raw, await held(authority, ask("lost", 1)))
    await authority.expire_overdue()

    assert (await held(authority, ask("next", 1))).watched


async def test_calls_from_before_it_opened_do_not_matter_to_it(authority: Authority, raw: Any) -> None:
    early = [await held(authority, ask(f"early{n}", 1)) for n in range(2)]
    await trip(authority, raw)
    changes = [
        await authority.report_breaker(NAME, early[0].attempt_id, "good"),
        await authority.report_breaker(NAME, early[1].attempt_id, "bad"),
    ]

    assert changes == ["", ""]
    assert (await state(authority)).trips == 1


async def test_retry_after_is_respected_and_nothing_is_held_against_who_says_it(
    authority: Authority, raw: Any
) -> None:
    changed = await ends(authority, "c1", "unknown", why="rate_limited", pause_seconds=7)
    refusal = await refused(authority, ask("c2", 1))
    circuit = await state(authority)
    seconds = (await raw.time())[0]

    assert changed == "paused"
    assert (circuit.circuit, circuit.bad, circuit.why) == ("paused", 0, "rate_limited")
    assert refusal.retry_at_ms == circuit.until_ms
    assert 5 <= circuit.until_ms // 1000 - seconds <= 7
    await raw.hset(KEY(f"breaker:{NAME}"), "paused_until", 1)
    both = [await held(authority, ask(f"after{n}", 1)) for n in range(2)]
    assert len(both) == 2


async def test_a_pause_is_never_longer_than_the_limit_nor_made_shorter(authority: Authority) -> None:
    attempt = await held(authority, ask("c1", 1))
    for seconds in (86_400, 1):
        await authority.report_breaker(NAME, attempt.attempt_id, "unknown", pause_seconds=seconds)

    until_ms = (await state(authority)).until_ms
    refusal = await refused(authority, ask("c2", 1))
    assert refusal.retry_at_ms == until_ms
    await authority.report_breaker(NAME, attempt.attempt_id, "bad", pause_seconds=2)
    assert (await state(authority)).until_ms >= until_ms


async def test_without_rules_nothing_is_left_out(connect: Connect) -> None:
    authority = await connect(breaker=BreakerRules(failures=0))
    await authority.open_epoch(EpochSnapshot(epoch=1))
    strict = await connect("p2", breaker=RULES)
    await fails(strict, "f1", "f2", "f3")

    assert not (await held(authority, ask("c1", 1))).watched


async def test_a_switch_is_told_before_a_circuit(authority: Authority) -> None:
    await fails(authority, "f1", "f2", "f3")
    await authority.set_switch("kill:agent:coder", "manual:ann:test", 60_000)

    assert (await refused(authority, ask("c1", 1))).kind is RefusalKind.SWITCHED
