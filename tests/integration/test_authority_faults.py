"""What happens to money when Redis is full, gone, slow or forgets a reply."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import ConfigurationError, StateUnavailable
from gateway.policy.refusals import RefusalKind
from gateway.state.authority import Authority, EpochSnapshot
from gateway.state.connection import Connection
from gateway.state.wire import admit_json, opened_body
from tests.budget_world import (
    DATABASE,
    Connect,
    amounts,
    ask,
    doubted,
    events,
    held,
    lapse,
    line,
    refused,
    released,
    settings,
    settled,
)

DAY = line("agent:coder", 1_000)
AGENT_DAY = "agent:coder|day|2026-11-21"


@pytest.fixture
async def full(raw: Any) -> AsyncIterator[Any]:
    """`await full()` fills Redis up; the test's end empties it."""

    async def fill() -> None:
        await raw.config_set("maxmemory", "1mb")  # an empty Valkey uses more

    yield fill
    await raw.config_set("maxmemory", "0")


async def test_a_full_redis_stops_buying_and_not_accounting(
    authority: Authority, raw: Any, full: Any
) -> None:
    first, second, third, lost = [await held(authority, ask(f"c{n}", 100, DAY)) for n in range(4)]
    await lapse(raw, lost)
    await full()

    refusal = await refused(authority, ask("c9", 10, DAY))

    assert (refusal.kind, "Redis is full" in refusal.detail) == (RefusalKind.UNAVAILABLE, True)
    assert await amounts(authority, AGENT_DAY) == (0, 400, 0)  # not a trace of the refused one
    assert await authority.close_attempt(settled(first, 60)) == "applied"
    assert await authority.close_attempt(released(second)) == "applied"
    assert await authority.close_attempt(doubted(third)) == "applied"
    assert await authority.expire_overdue() == 1
    assert await authority.post("p1", [AGENT_DAY], 5, {})
    assert await authority.set_switch("kill:global", "manual:full")
    assert await amounts(authority, AGENT_DAY) == (65, 0, 200)


async def test_a_reply_that_was_lost_gets_the_same_reservation_again(authority: Authority) -> None:
    """redis-py and we send a script again when its reply does not come: the nonce tells it apart."""
    connection, config = authority._connection, settings()
    what = ask("c1", 100, DAY)
    values = admit_json(what, config, "p1", nonce="n1") | {"seen": (0, 0)}
    body = opened_body(what.opened)

    replies = [await _admit(connection, values, body) for _ in range(2)]
    other = await _admit(connection, values | {"nonce": "n2"}, body)

    assert replies[0] == replies[1]
    assert (replies[0][0], replies[0][3], other[0]) == ("held", "c1#1", "refused")
    assert await amounts(authority, AGENT_DAY) == (0, 100, 0)
    assert len(await events(authority, "reserved")) == 1


async def _admit(connection: Connection, values: dict[str, Any], body: dict[str, Any]) -> list[str]:
    reply: list[str] = await connection.run("admit", json.dumps(values), json.dumps(body))
    return reply


async def test_scripts_that_redis_forgot_are_sent_again(authority: Authority, raw: Any) -> None:
    await raw.script_flush()
    await held(authority, ask("c1", 10, DAY))


async def test_a_redis_that_is_gone_refuses(unused_redis_url: str) -> None:
    authority = Authority(Connection(unused_redis_url, "curb:"), process_id="p1", config=settings())

    refusal = await refused(authority, ask("c1", 10, DAY))

    assert (refusal.kind, refusal.asked_nano_usd) == (RefusalKind.UNAVAILABLE, 10)
    assert refusal.detail.startswith("Redis cannot be reached")
    with pytest.raises(StateUnavailable):
        await authority.close_attempt(settled("c1#1", 5))
    await authority.close()


async def test_connecting_to_nothing_says_so(unused_redis_url: str) -> None:
    with pytest.raises(StateUnavailable, match="cannot be reached"):
        await Authority.connect(unused_redis_url, process_id="p1", config=settings())


async def test_a_redis_that_evicts_is_refused(connect: Connect, raw: Any) -> None:
    await raw.config_set("maxmemory", "100mb")
    await raw.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(ConfigurationError, match="noeviction"):
            await connect()
    finally:
        await raw.config_set("maxmemory-policy", "noeviction")
        await raw.config_set("maxmemory", "0")


async def test_a_redis_that_hangs_is_unavailable_within_seconds(authority: Authority, raw: Any) -> None:
    await raw.client_pause(4_000)
    try:
        refusal = await refused(authority, ask("c1", 10, DAY))
        assert refusal.kind is RefusalKind.UNAVAILABLE
    finally:
        await raw.client_unpause()


async def test_a_cancelled_caller_is_cancelled_at_once_and_always(authority: Authority) -> None:
    """Whatever the instant: redis-py on Python 3.11 can swallow a cancellation."""
    for wait in range(40):

        async def endless() -> None:
            while True:
                await authority.renew(["nobody#1"])

        task = asyncio.create_task(endless())
        for _ in range(wait):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=2)
        assert done, "the cancellation was swallowed"


async def test_keys_have_the_prefix_that_was_asked_for(raw: Any, redis_url: str) -> None:
    url = redis_url.rsplit("/", 1)[0] + f"/{DATABASE}"
    authority = await Authority.connect(url, process_id="p1", config=settings(), prefix="own*:")
    await authority.open_epoch(EpochSnapshot(epoch=1))
    reservation = await held(authority, ask("c1", 10, DAY))
    await authority.close_attempt(settled(reservation, 5))
    await authority.open_epoch(EpochSnapshot(epoch=2))

    keys = [key async for key in raw.scan_iter()]

    assert {key.split(":")[0] for key in keys} == {"own*"}
    assert "own*:a:c1#1" not in keys  # a rebuild clears its own
    await raw.delete(*keys)
    await authority.close()


@pytest.fixture
def unused_redis_url(unused_tcp_port: int) -> str:
    return f"redis://127.0.0.1:{unused_tcp_port}/0"
