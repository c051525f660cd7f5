"""Anybody may set a switch, with any tool: its value need not be text that UTF-8 can read."""

import asyncio

from redis.asyncio import Redis

from gateway.policy.refusals import RefusalKind
from gateway.state.authority import Authority
from gateway.state.watcher import CallWatcher, Cut
from tests.budget_world import DATABASE, ask, line, refused

LATIN_1 = "arrêté à la main".encode("latin-1")
DAY = line("agent:coder", 1000)


async def _set(redis_url: str, name: str) -> None:
    async with Redis.from_url(redis_url.rsplit("/", 1)[0] + f"/{DATABASE}") as plain:
        await plain.set(name, LATIN_1)


async def test_such_a_switch_refuses_and_its_event_can_be_read(authority: Authority, redis_url: str) -> None:
    await _set(redis_url, "kill:agent:coder")

    refusal = await refused(authority, ask("c1", 10, DAY))

    assert (refusal.kind, refusal.scope) == (RefusalKind.SWITCHED, "agent:coder")
    [event] = [e for e in await authority.read_events("drainer", 10, 0) if e.kind == "switch"]
    assert event.body["name"] == "kill:agent:coder"
    assert event.body["new"].startswith("arr")


async def test_such_a_switch_cuts_calls_in_flight(authority: Authority, redis_url: str) -> None:
    cut: asyncio.Future[Cut] = asyncio.get_running_loop().create_future()
    watcher = CallWatcher(authority)
    with watcher.watching(["kill:agent:coder"], [], cut.set_result):
        await _set(redis_url, "kill:agent:coder")
        async with asyncio.timeout(5):
            assert (await cut).name == "kill:agent:coder"
    await watcher.close()
