"""Attempts: from the hold to the end, whoever brings it about and however often."""

import asyncio
import time
from typing import Any

import pytest

from gateway.policy.refusals import RefusalKind
from gateway.state.authority import Authority, Reservation
from tests.budget_world import (
    KEY,
    Connect,
    amounts,
    ask,
    counter,
    doubted,
    events,
    held,
    lapse,
    line,
    opened,
    refused,
    released,
    rules,
    settled,
    spend,
)

DAY = line("agent:coder", 1000)
AGENT_DAY = "agent:coder|day|2026-11-21"


async def test_attempts_of_a_call_are_numbered(authority: Authority) -> None:
    for number in (1, 2):
        reservation = await held(authority, ask("run:x:1", 10, DAY))
        assert (reservation.attempt_id, reservation.number) == (f"run:x:1#{number}", number)
        await authority.close_attempt(settled(reservation, 1))


async def test_two_attempts_of_a_call_are_never_both_alive(authority: Authority) -> None:
    first = await held(authority, ask("c1", 10, DAY))
    refusal = await refused(authority, ask("c1", 10, DAY))
    assert refusal.kind is RefusalKind.IN_FLIGHT
    assert first.attempt_id in refusal.detail


@pytest.mark.parametrize("how", [settled("c1#1", 7), released("c1#1")])
async def test_ending_an_attempt_twice_changes_nothing_the_second_time(
    authority: Authority, how: Any
) -> None:
    await held(authority, ask("c1", 10, DAY))
    assert await authority.close_attempt(how) == "applied"
    before = await counter(authority, AGENT_DAY)
    assert await authority.close_attempt(how) == "already"
    assert await authority.close_attempt(settled("c1#1", 999)) == "already"
    assert await counter(authority, AGENT_DAY) == before


async def test_an_attempt_nobody_knows_is_unknown(authority: Authority) -> None:
    assert await authority.close_attempt(settled("nobody#1", 5)) == "unknown"
    assert await authority.budgets() == []


async def test_a_released_hold_costs_nothing(authority: Authority) -> None:
    reservation = await held(authority, ask("c1", 10, DAY))
    await authority.close_attempt(released(reservation))
    assert await amounts(authority, AGENT_DAY) == (0, 0, 0)


async def test_what_is_in_doubt_stays_counted_until_somebody_knows(
    authority: Authority, connect: Connect
) -> None:
    reservation = await held(authority, ask("c1", 600, DAY))
    assert await authority.close_attempt(doubted(reservation, estimate=50)) == "applied"
    assert await authority.close_attempt(doubted(reservation, estimate=50)) == "already"
    assert await amounts(authority, AGENT_DAY) == (0, 0, 600)
    refusal = await refused(authority, ask("c2", 500, DAY))
    assert (refusal.kind, refusal.in_doubt_nano_usd) == (RefusalKind.CONTENDED, 600)

    somebody = await connect("resolver")
    assert await somebody.close_attempt(settled(reservation, 40, basis="invoice")) == "applied"

    assert await amounts(authority, AGENT_DAY) == (40, 0, 0)


async def test_of_what_is_in_doubt_only_the_owner_may_say_that_it_was_not_sent(
    authority: Authority, connect: Connect
) -> None:
    reservation = await held(authority, ask("c1", 600, DAY))
    await authority.close_attempt(doubted(reservation))

    assert await (await connect("another")).close_attempt(released(reservation)) == "refused"
    assert await amounts(authority, AGENT_DAY) == (0, 0, 600)
    assert await authority.close_attempt(released(reservation)) == "applied"
    assert await amounts(authority, AGENT_DAY) == (0, 0, 0)


async def test_a_cost_above_the_bound_is_charged_in_full_and_alerted(authority: Authority) -> None:
    reservation = await held(authority, ask("c1", 10, DAY))
    await authority.close_attempt(settled(reservation, 25))
    assert await amounts(authority, AGENT_DAY) == (25, 0, 0)
    (alert,) = await events(authority, "alert")
    assert alert.body == {
        "rule": "over_bound",
        "scope": "agent:coder",
        "evidence": {"attempt_id": "c1#1", "reserved_nano_usd": 10, "cost_nano_usd": 25},
    }


async def test_a_lease_is_counted_from_before_the_request(authority: Authority) -> None:
    before = time.monotonic()
    reservation = await held(authority, ask("c1", 10, DAY))
    assert before + 5.0 <= reservation.lease_until <= time.monotonic() + 5.0


async def test_a_renewed_attempt_stays_held(authority: Authority, raw: Any) -> None:
    reservation = await held(authority, ask("c1", 10, DAY))
    await lapse(raw, reservation, grace=False)  # late, but nobody minds within the grace

    ((attempt_id, (state, until)),) = (await authority.renew([reservation.attempt_id])).items()

    assert (attempt_id, state) == (reservation.attempt_id, "held")
    assert until > time.monotonic()
    assert (await refused(authority, ask("c1", 10, DAY))).kind is RefusalKind.IN_FLIGHT


async def test_renewing_never_shortens_a_lease(authority: Authority, raw: Any) -> None:
    batch = await held(authority, ask("c1", 10, DAY))
    await authority.renew([batch.attempt_id], 3_600)

    await authority.renew([batch.attempt_id])  # who looks whether it is alive still asks for seconds only

    lease_ms = int(await raw.hget(KEY.reservation(batch.attempt_id), "lease"))
    assert lease_ms > (time.time() + 3_000) * 1_000


async def test_an_attempt_that_nobody_renews_is_swept_into_doubt(authority: Authority, raw: Any) -> None:
    reservation = await held(authority, ask("c1", 10, DAY))
    await lapse(raw, reservation)

    assert await authority.expire_overdue() == 1
    assert await authority.expire_overdue() == 0

    assert await amounts(authority, AGENT_DAY) == (0, 0, 10)
    assert await authority.renew(["c1#1"]) == {"c1#1": ("in_doubt", 0.0)}
    (event,) = await events(authority, "in_doubt")
    assert event.body == {"attempt_id": "c1#1", "state": "in_doubt", "by": "sweep"}


async def test_every_admission_sweeps_a_few(authority: Authority, raw: Any) -> None:
    await lapse(raw, await held(authority, ask("c1", 10, DAY)))
    await held(authority, ask("c2", 10, DAY))
    assert await amounts(authority, AGENT_DAY) == (0, 10, 10)


async def test_a_retry_fences_the_attempt_whose_lease_lapsed(
    authority: Authority, connect: Connect, raw: Any
) -> None:
    zombie = await held(authority, ask("c1", 10, DAY))
    await lapse(raw, zombie, grace=False)

    heir = await connect("p2")
    second = await held(heir, ask("c1", 20, DAY))

    assert second.number == 2
    assert await amounts(authority, AGENT_DAY) == (0, 20, 10)
    assert (await authority.renew([zombie.attempt_id]))[zombie.attempt_id] == ("fenced", 0.0)
    assert (await heir.renew([second.attempt_id]))[second.attempt_id][0] == "held"
    (event,) = await events(authority, "in_doubt")
    assert event.body["by"] == "fence"


async def test_a_zombie_that_had_sent_settles_its_own_attempt(authority: Authority, raw: Any) -> None:
    zombie = await held(authority, ask("c1", 10, DAY))
    await lapse(raw, zombie, grace=False)
    second = await held(authority, ask("c1", 20, DAY))

    await authority.close_attempt(settled(zombie, 8))
    await authority.close_attempt(settled(second, 9))

    assert await amounts(authority, AGENT_DAY) == (17, 0, 0)


async def test_the_owners_word_on_a_swept_attempt_reaches_the_ledger_once(
    authority: Authority, raw: Any
) -> None:
    reservation = await held(authority, ask("c1", 10, DAY))
    await lapse(raw, reservation)
    await authority.expire_overdue()

    assert await authority.close_attempt(doubted(reservation, estimate=4)) == "applied"
    assert await authority.close_attempt(doubted(reservation, estimate=4)) == "already"

    assert [e.body.get("estimate_nano_usd") for e in await events(authority, "in_doubt")] == [None, 4]
    assert await amounts(authority, AGENT_DAY) == (0, 0, 10)


async def test_renewing_what_has_ended_says_closed(authority: Authority) -> None:
    await spend(authority, "c1", 10, DAY)
    assert await authority.renew(["c1#1", "nobody#1"]) == {
        "c1#1": ("closed", 0.0),
        "nobody#1": ("closed", 0.0),
    }


async def test_a_caller_cancelled_in_the_middle_leaves_no_hold(authority: Authority) -> None:
    for wait in range(30):
        task = asyncio.create_task(authority.admit(ask(f"c{wait}", 10, DAY)))
        for _ in range(wait):
            await asyncio.sleep(0)
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, Reservation):
            await authority.close_attempt(released(outcome))  # it was faster
    await authority.finish_background()
    states = await authority.counters([AGENT_DAY])
    assert [state.held_nano_usd for state in states] in ([], [0])
    assert authority.memory.live() == []


async def test_postings_correct_what_is_spent_once(authority: Authority) -> None:
    await spend(authority, "c1", 10, DAY)
    body = {"attempt_id": "c1#1", "kind": "adjust", "day": "2026-11-21"}

    assert await authority.post("p1", [AGENT_DAY], -4, body)
    assert not await authority.post("p1", [AGENT_DAY], -4, body)
    assert await authority.post("p2", [AGENT_DAY, "global|day|2026-11-21"], 100, body)

    assert await amounts(authority, AGENT_DAY) == (106, 0, 0)
    assert await amounts(authority, "global|day|2026-11-21") == (100, 0, 0)
    first, _ = await events(authority, "posted")
    assert first.day == "2026-11-21"
    assert first.body == {**body, "posting_id": "p1", "amount_nano_usd": -4, "counters": [AGENT_DAY]}


async def test_refusals_are_numbered_beside_the_attempts_of_their_call(authority: Authority) -> None:
    refusal = await refused(authority, ask("c1", 2000, DAY))
    await authority.refuse(opened("c1", 2000), refusal)
    await authority.refuse(opened("c1", 2000), refusal)

    first, second = await events(authority, "refused")

    assert (first.body["attempt_id"], second.body["attempt_id"]) == ("c1/r/1", "c1/r/2")
    assert first.body["refusal"]["kind"] == "never_fits"
    assert first.body["refusal"]["limit_nano_usd"] == 1000


async def test_the_outbox_tells_the_whole_story_in_order(authority: Authority) -> None:
    reservation = await held(authority, ask("c1", 10, line("run:r1", 100), DAY))
    await authority.close_attempt(settled(reservation, 7))

    opening, ending = await events(authority)

    assert (opening.kind, opening.day, opening.body["attempt_id"]) == ("reserved", "2026-11-21", "c1#1")
    assert opening.body["counters"] == ["run:r1|run|run", AGENT_DAY]
    assert (opening.body["number"], opening.body["asked_nano_usd"]) == (1, 10)
    assert (ending.kind, ending.day, ending.body["cost_nano_usd"]) == ("settled", "2026-11-21", 7)
    assert (opening.epoch, opening.seq) < (ending.epoch, ending.seq) == authority.seen


async def test_the_process_remembers_its_events_until_they_are_drained(authority: Authority) -> None:
    await spend(authority, "c1", 10, DAY)
    running = await held(authority, ask("c2", 10, DAY))
    read = await events(authority)

    copies = authority.memory.undrained()

    assert [(e.kind, e.body, e.epoch, e.seq, e.day) for e in copies] == [
        (e.kind, e.body, e.epoch, e.seq, e.day) for e in read
    ]
    assert authority.memory.live() == [running]
    await authority.ack_events([event.id for event in read])
    authority.note_drained(read[-1].epoch, read[-1].seq)
    assert authority.memory.undrained() == []
    assert await authority.outbox_stats() == (0, 0)


async def test_a_full_outbox_stops_buying(connect: Connect, authority: Authority) -> None:
    small = await connect("p2", outbox_max=1)
    reservation = await held(small, ask("c1", 10, DAY))

    refusal = await refused(small, ask("c2", 10, DAY))

    assert (refusal.kind, "outbox" in refusal.detail) == (RefusalKind.UNAVAILABLE, True)
    assert await small.close_attempt(settled(reservation, 5)) == "applied"


async def test_events_that_a_dead_drainer_read_are_claimed_by_another(authority: Authority) -> None:
    await authority.alert("test", "global", {"n": 1})
    (read,) = await authority.read_events("dead", 10, 0)
    assert await authority.read_events("living", 10, 0) == []
    (claimed,) = await authority.claim_events("living", 0, 10)
    assert claimed == read
    assert rules([claimed]) == ["test"]


async def test_a_reservation_has_an_end_only_once_it_is_closed(authority: Authority, raw: Any) -> None:
    reservation = await held(authority, ask("c1", 10, DAY))
    key = KEY.reservation(reservation.attempt_id)
    assert await raw.pttl(key) == -1
    await authority.close_attempt(doubted(reservation))
    assert await raw.pttl(key) == -1
    await authority.close_attempt(settled(reservation, 1))
    assert 0 < await raw.pttl(key) <= 48 * 3_600_000
