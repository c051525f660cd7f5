"""The front door while its servers are away: it goes on without Postgres, and buys nothing without Redis."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.store.migrate import migrate
from tests.integration.front import Front, open_front
from tests.integration.waiting import until
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.stack import FREE_PORTS, Stack
from worker.wiring import Servers

CHAT = "/v1/chat/completions"
SLOW = "openai/gpt-5-mini@say-60+slow-stream-20"
ASKED: dict[str, Any] = {
    "model": "quick", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 90
}  # fmt: skip


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """Servers of this test's own."""
    async with Stack(tmp_path, servers=["valkey", "postgres"], ports=FREE_PORTS) as own:
        migrate(own.database_url)
        yield own


@pytest.fixture
async def front(stack: Stack) -> AsyncIterator[Front]:
    simulator = SimulatedProvider()
    given = config(simulator.url, ("quick", ["gpt-5-mini@say-40", SLOW.partition("/")[2]]))
    async with open_front(given, Servers(stack.redis_url, stack.database_url), simulator) as opened:
        yield opened
    simulator.stop()


async def test_without_postgres_calls_go_on_and_are_booked_when_it_is_back(
    stack: Stack, front: Front
) -> None:
    await front.post(CHAT, ASKED)
    await stack.server("postgres").stop()

    plain = await front.post(CHAT, ASKED)
    stream = await front.post(CHAT, {**ASKED, "stream": True})
    keyed = await front.post(CHAT, ASKED, {"Idempotency-Key": "k"})

    assert (plain.status_code, stream.status_code) == (200, 200)
    assert stream.text.endswith("data: [DONE]\n\n")
    assert keyed.status_code == 503  # nobody could say whether it had been answered
    assert int(keyed.headers["retry-after"]) >= 1
    await stack.server("postgres").start()
    await until(lambda: _answers(front, {"Idempotency-Key": "k"}))
    await front.booked()


async def test_without_redis_nothing_is_bought_and_what_was_in_flight_is_booked(
    stack: Stack, front: Front
) -> None:
    async with front.stream(CHAT, {**ASKED, "model": SLOW, "stream": True}) as streaming:
        pieces = streaming.aiter_bytes()
        await anext(pieces)
        await stack.server("valkey").kill()
        refused = await front.post(CHAT, ASKED)
        rest = b"".join([piece async for piece in pieces])

    assert refused.status_code == 503
    assert refused.json()["error"]["curb"]["kind"] == "unavailable"
    assert rest.endswith(b"data: [DONE]\n\n")
    await stack.server("valkey").start()
    await until(lambda: _answers(front, {}))
    await front.booked()


async def _answers(front: Front, headers: dict[str, str]) -> bool:
    return (await front.post(CHAT, ASKED, headers)).status_code == 200
