"""Rates in the admission itself: exact, counted once, and apart from budgets (REQUIREMENTS 4)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.calls import Settlement
from gateway.policy.rate_limits import HOUR_MS, InFlightLine, Rate, RateLine
from gateway.policy.refusals import RefusalKind
from gateway.state.authority import Ask, Authority, EpochSnapshot, Reservation, ReservationLoad
from tests.budget_world import (
    KEY,
    Connect,
    ask,
    doubted,
    held,
    lapse,
    line,
    opened,
    refused,
    released,
    settled,
)
from tests.rates import pass_time

MINUTE_MS = 60_000
Ending = Callable[[Reservation], Settlement]


def rate(limit: int, scope: str = "key:k1", *, window_ms: int = HOUR_MS, **fields: Any) -> RateLine:
    rule = fields.pop("rule", "tier")
    return RateLine(rule, scope, Rate(limit, window_ms), **fields)


def rated(call: str, *rates: RateLine, asked: int = 10, limit: int | None = None, **fields: Any) -> Ask:
    """An ask of `asked` nano-dollars, by default against a budget that is no obstacle."""
    what = (
        ask(call, asked, line("agent:coder", limit), **fields)
        if limit is not None
        else ask(call, asked, **fields)
    )
    return replace(what, rates=rates)


async def everything(redis: Any) -> dict[str, Any]:
    """Every key with what is in it."""
    found = {}
    async for name in redis.scan_iter():
        found[name] = await redis.dump(name) if await redis.type(name) != "stream" else await redis.xlen(name)
    return found


# How many pass


async def test_exactly_three_anonymous_requests_pass_in_an_hour(authority: Authority, raw: Any) -> None:
    address = rate(3, "address:192.0.2.1", tier="anonymous")
    first = [await held(authority, rated(f"c{n}", address)) for n in range(3)]
    refusals = [await refused(authority, rated(f"c{n}", address)) for n in (3, 4)]
    await held(authority, rated("other", rate(3, "address:192.0.2.2", tier="anonymous")))
    oldest = int((await raw.lrange(KEY("rate:tier:3600000:address:192.0.2.1"), 0, -1))[-1])

    assert len(first) == 3
    for refusal in refusals:
        assert refusal.kind is RefusalKind.RATE_LIMITED
        assert (refusal.scope, refusal.rate_rule, refusal.rate_tier) == (
            "address:192.0.2.1",
            "tier",
            "anonymous",
        )
        assert (refusal.rate_limit, refusal.rate_window_ms) == (3, HOUR_MS)
        assert refusal.retry_at_ms == oldest + HOUR_MS


async def test_a_place_is_free_when_its_request_is_a_window_ago_and_not_before(
    authority: Authority, raw: Any
) -> None:
    for n in range(2):
        await held(authority, rated(f"a{n}", rate(2)))
        await pass_time(raw, 20 * MINUTE_MS)
    await refused(authority, rated("early", rate(2)))
    await pass_time(raw, 20 * MINUTE_MS)
    await held(authority, rated("third", rate(2)))

    refusal = await refused(authority, rated("fourth", rate(2)))
    times = await raw.lrange(KEY("rate:tier:3600000:key:k1"), 0, -1)
    assert refusal.retry_at_ms == int(times[1]) + HOUR_MS
    await pass_time(raw, 20 * MINUTE_MS)
    await held(authority, rated("fifth", rate(2)))


async def test_a_limit_of_none_lets_nobody_pass_and_says_so(authority: Authority) -> None:
    refusal = await refused(authority, rated("c1", rate(0)))

    assert (refusal.kind, refusal.rate_limit, refusal.retry_at_ms) == (RefusalKind.RATE_LIMITED, 0, None)


async def test_a_limit_that_is_raised_or_lowered_counts_what_was_before(authority: Authority) -> None:
    for n in range(3):
        await held(authority, rated(f"a{n}", rate(3)))

    await refused(authority, rated("lower", rate(2)))
    await held(authority, rated("higher", rate(4)))
    await refused(authority, rated("again", rate(4)))


async def test_of_several_limits_the_refusal_is_the_one_that_takes_longest(authority: Authority) -> None:
    both = (rate(1, window_ms=1_000), rate(1, rule="key"))
    await held(authority, rated("c1", *both))

    refusal = await refused(authority, rated("c2", *both))

    assert (refusal.rate_rule, refusal.rate_window_ms) == ("key", HOUR_MS)


# What counts


async def test_a_refusal_for_its_rate_changes_nothing(authority: Authority, raw: Any) -> None:
    await held(authority, rated("c1", rate(1)))
    before = await everything(raw)

    for n in range(3):
        await refused(authority, rated(f"more{n}", rate(1), rate(5, rule="key")))

    assert await everything(raw) == before


async def test_a_refusal_for_its_budget_uses_up_no_rate(authority: Authority, raw: Any) -> None:
    for n in range(5):
        refusal = await refused(authority, rated(f"c{n}", rate(1), asked=20, limit=10))
        assert refusal.kind is RefusalKind.NEVER_FITS

    assert await raw.exists(KEY("rate:tier:3600000:key:k1")) == 0
    await held(authority, rated("fits", rate(1), asked=5, limit=10))


async def test_a_switch_comes_before_rates(authority: Authority) -> None:
    await authority.set_switch("kill:agent:coder", "manual:ann:test", 60_000)

    assert (await refused(authority, rated("c1", rate(0)))).kind is RefusalKind.SWITCHED


@pytest.mark.parametrize("end", [lambda attempt: settled(attempt, 1), released, doubted])
async def test_a_call_that_is_tried_again_counts_once(authority: Authority, end: Ending) -> None:
    once = rate(2)
    for _ in range(4):
        attempt = await held(authority, rated("same", once))
        await authority.close_attempt(end(attempt))

    await held(authority, rated("another", once))
    await refused(authority, rated("third", once))


async def test_a_call_that_is_tried_for_ever_counts_again(authority: Authority) -> None:
    """Or else one idempotency key, and hanging up each time, would be a way around any limit."""
    for _ in range(8):
        await authority.close_attempt(released(await held(authority, rated("same", rate(2)))))

    refusal = await refused(authority, rated("same", rate(2)))

    assert refusal.kind is RefusalKind.RATE_LIMITED


async def test_a_fallback_after_a_lapsed_attempt_counts_once(authority: Authority, raw: Any) -> None:
    first = await held(authority, rated("same", rate(1)))
    await lapse(raw, first, grace=False)

    second = await held(authority, rated("same", rate(1)))

    assert second.number == 2
    await refused(authority, rated("another", rate(1)))


async def test_a_rate_that_a_later_try_meets_first_is_counted_then(authority: Authority) -> None:
    dear = rate(1, rule="expensive")
    await authority.close_attempt(released(await held(authority, rated("same", rate(5)))))
    await authority.close_attempt(released(await held(authority, rated("same", rate(5), dear))))

    assert (await refused(authority, rated("another", rate(5), dear))).rate_rule == "expensive"


async def test_a_models_rate_counts_every_attempt(authority: Authority) -> None:
    model = rate(2, "model:sim/steady", rule="model", each_attempt=True)
    for _ in range(2):
        await authority.close_attempt(released(await held(authority, rated("same", model))))

    assert (await refused(authority, rated("same", model))).scope == "model:sim/steady"


# At once


async def test_calls_of_a_key_at_once_are_limited_until_one_ends(authority: Authority) -> None:
    lane = (InFlightLine("key:k1", 2),)
    attempts = [await held(authority, replace(ask(f"c{n}", 1), in_flight=lane)) for n in range(2)]
    refusal = await refused(authority, replace(ask("c3", 1), in_flight=lane))
    await held(authority, replace(ask("other", 1), in_flight=(InFlightLine("key:k2", 2),)))

    for ending in (settled(attempts[0], 1), doubted(attempts[1])):
        await authority.close_attempt(ending)
        await held(authority, replace(ask(f"after {ending.state}", 1), in_flight=lane))

    assert (refusal.kind, refusal.scope, refusal.rate_rule) == (
        RefusalKind.RATE_LIMITED,
        "key:k1",
        "in_flight",
    )
    assert (refusal.rate_limit, refusal.rate_window_ms) == (2, 0)
    assert refusal.retry_at_ms is not None
    assert (await refused(authority, replace(ask("full", 1), in_flight=lane))).scope == "key:k1"


async def test_a_call_whose_owner_died_does_not_count_as_in_flight(authority: Authority, raw: Any) -> None:
    lane = (InFlightLine("key:k1", 1),)
    lost = await held(authority, replace(ask("lost", 1), in_flight=lane))
    await lapse(raw, lost)
    await raw.zadd(KEY("busy:k1"), {lost.attempt_id: 1})

    await held(authority, replace(ask("next", 1), in_flight=lane))


async def test_calls_of_an_agent_at_once_are_limited(authority: Authority) -> None:
    lane = (InFlightLine("agent:coder", 1),)
    await held(authority, replace(ask("c1", 1), in_flight=lane))

    refusal = await refused(authority, replace(ask("c2", 1), in_flight=lane))

    assert (refusal.scope, refusal.rate_rule) == ("agent:coder", "in_flight")


async def test_a_lease_that_is_renewed_stays_in_flight(connect: Connect, raw: Any) -> None:
    authority = await connect(lease_seconds=30.0)
    await authority.open_epoch(EpochSnapshot(epoch=1))
    lane = (InFlightLine("key:k1", 1),)
    attempt = await held(authority, replace(ask("c1", 1), in_flight=lane))
    await raw.zadd(KEY("busy:k1"), {attempt.attempt_id: 1})
    await authority.renew([attempt.attempt_id])

    assert (await refused(authority, replace(ask("c2", 1), in_flight=lane))).rate_rule == "in_flight"


async def test_a_rebuild_knows_what_a_key_has_in_flight_and_leaves_rates_alone(
    connect: Connect, raw: Any
) -> None:
    authority = await connect()
    await authority.open_epoch(EpochSnapshot(epoch=1))
    await held(authority, rated("before", rate(1)))
    load = ReservationLoad("c#1", "c", 1, "pending", 5, (), "2026-11-21", "coder", "p1", key_id="k1")
    await authority.open_epoch(EpochSnapshot(epoch=2, reservations=(load,)))
    busy = replace(ask("next", 1), in_flight=(InFlightLine("key:k1", 1),))

    assert (await refused(authority, busy)).rate_rule == "in_flight"
    assert (await refused(authority, rated("after", rate(1)))).rate_rule == "tier"
    await authority.close_attempt(settled("c#1", 5))
    await held(authority, busy)


async def test_what_has_no_limits_writes_none(authority: Authority, raw: Any) -> None:
    answer = await authority.admit(Ask(replace(opened("c1", 1), key_id="k1"), (line("global", 100),)))

    assert isinstance(answer, Reservation)
    assert [key async for key in raw.scan_iter(KEY("rate:*"))] == []
    assert await raw.exists(KEY("busy:k1")) == 0
