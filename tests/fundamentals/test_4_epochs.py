"""Epochs: Redis that lost anything decides nothing until Postgres has told it everything again (I8)."""

from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.calls import Settlement
from gateway.errors import ConfigurationError, StateUnavailable
from gateway.policy.refusals import RefusalKind
from gateway.policy.scopes import Period
from gateway.state.authority import (
    Authority,
    CounterLoad,
    EpochSnapshot,
    ReservationLoad,
)
from tests.budget_world import (
    FAR,
    Connect,
    amounts,
    ask,
    counter,
    events,
    held,
    line,
    refused,
    settled,
    spend,
    today,
)

DAY = line("agent:coder", 1000)
AGENT_DAY = "agent:coder|day|2026-11-21"


async def test_an_empty_redis_admits_nothing(connect: Connect) -> None:
    authority = await connect()
    refusal = await refused(authority, ask("c1", 10, DAY))
    assert refusal.kind is RefusalKind.UNAVAILABLE
    assert refusal.detail == "admission is closed: the budgets in Redis are not loaded"
    assert refusal.retry_at_ms is not None


async def test_settling_while_closed_is_told_so_that_it_can_be_written_elsewhere(
    authority: Authority,
) -> None:
    reservation = await held(authority, ask("c1", 10, DAY))
    await authority.close_epoch("maintenance")
    with pytest.raises(StateUnavailable, match="admission is closed: maintenance"):
        await authority.close_attempt(settled(reservation, 5))
    assert authority.memory.live() == [reservation]


async def test_closing_is_told_to_this_process_once(authority: Authority) -> None:
    reasons: list[str] = []
    authority.on_closed = reasons.append
    await authority.close_epoch("maintenance")
    for _ in range(3):
        await refused(authority, ask("c1", 10, DAY))
    assert reasons == ["maintenance"]
    state = await authority.epoch_state()
    assert (state.open, state.reason) == (False, "maintenance")


async def test_a_redis_emptied_under_way_is_noticed(authority: Authority, raw: Any) -> None:
    await spend(authority, "c1", 10, DAY)
    await raw.flushdb()
    assert (await refused(authority, ask("c2", 10, DAY))).kind is RefusalKind.UNAVAILABLE


async def test_a_redis_thrown_back_in_time_is_noticed_and_closed_for_everybody(
    authority: Authority, connect: Connect, raw: Any
) -> None:
    await spend(authority, "c1", 10, DAY)
    backup = {key: await raw_dump(raw, key) async for key in raw.scan_iter()}
    await spend(authority, "c2", 500, DAY)
    await raw.flushdb()
    for key, (dump, ttl_ms) in backup.items():
        await raw_restore(raw, key, dump, ttl_ms)

    refusal = await refused(authority, ask("c3", 10, DAY))

    assert (refusal.kind, "thrown back" in refusal.detail) == (RefusalKind.UNAVAILABLE, True)
    newcomer = await connect("p2")
    assert "thrown back" in (await refused(newcomer, ask("c4", 10, DAY))).detail


async def test_an_epoch_of_another_server_is_closed_by_the_first_connection(
    authority: Authority, connect: Connect, raw: Any
) -> None:
    """A restart, or a failover to a replica: the last second of writes may be missing."""
    await spend(authority, "c1", 10, DAY)
    await raw.set("curb:server", "another")
    newcomer = await connect("p2")
    for process in (newcomer, authority):
        refusal = await refused(process, ask("c2", 10, DAY))
        assert (refusal.kind, "restarted or failed over" in refusal.detail) == (RefusalKind.UNAVAILABLE, True)


async def test_a_newcomer_that_was_told_by_the_ledger_notices_too(
    authority: Authority, connect: Connect
) -> None:
    newcomer = await connect("p2")
    newcomer.note_seen(1, 10_000)
    assert (await refused(newcomer, ask("c1", 10, DAY))).kind is RefusalKind.UNAVAILABLE
    assert (await refused(authority, ask("c1", 10, DAY))).kind is RefusalKind.UNAVAILABLE


async def test_an_older_epoch_is_noticed(authority: Authority) -> None:
    authority.note_seen(2, 0)
    assert (await refused(authority, ask("c1", 10, DAY))).kind is RefusalKind.UNAVAILABLE


SNAPSHOT = EpochSnapshot(
    epoch=2,
    limits_version=7,
    limits={("agent:coder", Period.DAY): 1000},
    counters=(
        CounterLoad(AGENT_DAY, spent_nano_usd=300, topped_nano_usd=50, ends_ms=FAR),
        CounterLoad("run:r1|run|run", spent_nano_usd=30, default_limit_nano_usd=400),
    ),
    reservations=(
        ReservationLoad(
            "c1#1", "c1", 1, "pending", 100, (AGENT_DAY, "run:r1|run|run"), "2026-11-21", "coder", "p1"
        ),
        ReservationLoad("c2#3", "c2", 3, "in_doubt", 20, (AGENT_DAY,), "2026-11-21", "coder", "dead"),
    ),
    closed=("c3#2", "c3#1", "c2#2"),
    top_ups=("t1",),
    postings=("p1",),
    switches={"kill:agent:other": ("manual:adam:x", 0), "kill:model:old": ("auto:curb:x", 1)},
)


@pytest.fixture
async def rebuilt(authority: Authority) -> Authority:
    """After something that must not survive, everything comes from the snapshot."""
    await held(authority, ask("ghost", 999, DAY))
    await authority.close_epoch("test")
    await authority.open_epoch(SNAPSHOT)
    return authority


async def test_a_rebuild_replaces_what_redis_knew(rebuilt: Authority, raw: Any) -> None:
    assert await amounts(rebuilt, AGENT_DAY) == (300, 100, 20)
    assert await amounts(rebuilt, "run:r1|run|run") == (30, 100, 0)
    assert (await counter(rebuilt, AGENT_DAY)).limit_nano_usd == 1050
    assert (await counter(rebuilt, "run:r1|run|run")).limit_nano_usd == 400
    assert await rebuilt.close_attempt(settled("ghost#1", 5)) == "unknown"
    assert [state.counter for state in await rebuilt.budgets()] == [AGENT_DAY, "run:r1|run|run"]
    assert rebuilt.seen >= (2, 0)
    state = await rebuilt.epoch_state()
    assert (state.open, state.epoch, state.reason) == (True, 2, "")
    assert await raw.exists("curb:closed") == 0


async def test_living_owners_go_on_with_what_they_hold(rebuilt: Authority) -> None:
    assert (await rebuilt.renew(["c1#1"]))["c1#1"][0] == "held"
    assert await rebuilt.close_attempt(settled("c1#1", 60)) == "applied"
    assert await rebuilt.close_attempt(settled("c2#3", 20, basis="invoice")) == "applied"
    assert await amounts(rebuilt, AGENT_DAY) == (380, 0, 0)


async def test_what_was_done_before_is_not_done_again(rebuilt: Authority) -> None:
    assert await rebuilt.close_attempt(settled("c3#2", 60)) == "already"
    assert not (await rebuilt.top_up("t1", AGENT_DAY, 50)).applied
    assert not await rebuilt.post("p1", [AGENT_DAY], 50, {})
    assert not await rebuilt.apply_limits(6, {})


async def test_attempts_are_numbered_on(rebuilt: Authority) -> None:
    numbers = [(await held(rebuilt, ask(call, 1, DAY))).number for call in ("c3", "c2", "new")]
    assert numbers == [3, 4, 1]
    assert (await refused(rebuilt, ask("c1", 1, DAY))).kind is RefusalKind.IN_FLIGHT


async def test_switches_are_restored_where_none_is_set(rebuilt: Authority, raw: Any) -> None:
    assert await raw.get("kill:agent:other") == "manual:adam:x"
    assert await raw.get("kill:model:old") is None  # it had expired meanwhile
    assert await events(rebuilt, "switch") == []  # nothing changed


async def test_the_outbox_survives_a_rebuild(rebuilt: Authority) -> None:
    assert [e.body["attempt_id"] for e in await events(rebuilt, "reserved")] == ["ghost#1"]


async def test_an_epoch_that_is_not_new_is_refused(rebuilt: Authority) -> None:
    with pytest.raises(ConfigurationError, match="epoch 2 is not new"):
        await rebuilt.open_epoch(EpochSnapshot(epoch=2))


async def test_counters_of_the_snapshot_get_their_windows_from_the_next_call(
    rebuilt: Authority, raw: Any
) -> None:
    window = today()
    await held(rebuilt, ask("c9", 1, line("agent:coder", None, windows=(window,))))
    assert (await counter(rebuilt, AGENT_DAY)).ends_ms == window.end_ms


async def test_ten_thousand_attempts_are_loaded_in_chunks(connect: Connect) -> None:
    authority = await connect()
    open_attempts = tuple(
        ReservationLoad(f"c{n}#1", f"c{n}", 1, "in_doubt", n, (AGENT_DAY,), "2026-11-21", "coder", "dead")
        for n in range(10_000)
    )
    await authority.open_epoch(EpochSnapshot(epoch=1, reservations=open_attempts))
    assert await amounts(authority, AGENT_DAY) == (0, 0, sum(range(10_000)))


async def test_an_event_written_while_closed_is_not_lost_but_told(authority: Authority) -> None:
    await authority.close_epoch("test")
    with pytest.raises(StateUnavailable):
        await authority.alert("rule", "global", {})
    with pytest.raises(StateUnavailable):
        await authority.close_attempt(Settlement(attempt_id="c1#1", state="released", basis="not_sent"))


async def raw_dump(raw: Any, key: str) -> tuple[bytes, int]:
    async with binary_client(raw) as binary:
        return await binary.dump(key), max(0, await raw.pttl(key))


async def raw_restore(raw: Any, key: str, dump: bytes, ttl_ms: int) -> None:
    async with binary_client(raw) as binary:
        await binary.restore(key, ttl_ms, dump)


def binary_client(raw: Any) -> Any:
    """The same database, without decoding."""
    values = raw.connection_pool.connection_kwargs
    return Redis(host=values["host"], port=values["port"], db=values["db"])
