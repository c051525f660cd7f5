"""Circuit breakers over the whole way: what is left out, what answers instead, and how it comes back."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from redis.asyncio import Redis

from gateway.calls import Completion
from gateway.config import GatewayConfig, Provider
from gateway.policy.breaker import BreakerRules
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.providers.errors import ProviderError
from tests.budget_world import KEY
from tests.integration.world import World, call, config, open_world
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

FLAKY, STEADY = "openai/gpt-5-mini@say-2", "openai/gpt-5-mini@say"
RULES = BreakerRules(failures=2, of=4)
_KEYS = itertools.count()


@dataclass
class Flaky:
    """A provider that answers, or says this status; it counts what it is asked."""

    url: str = ""
    status: str = ""
    headers: str = ""
    asked: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(line for line in head.lower().splitlines() if line.startswith("content-length:"))
        await reader.readexactly(int(length.partition(":")[2]))
        self.asked.append(head)
        choice = {"message": {"content": "Hello."}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 20, "completion_tokens": 3}
        answer = (
            {"error": {"message": "no"}} if self.status else {"id": "r", "choices": [choice], "usage": usage}
        )
        body = json.dumps(answer).encode()
        said = f"HTTP/1.1 {self.status or '200 OK'}\r\ncontent-type: application/json\r\n{self.headers}"
        writer.write(f"{said}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()


@pytest.fixture
async def flaky() -> AsyncIterator[Flaky]:
    flaky = Flaky()
    server = await asyncio.start_server(flaky.serve, "127.0.0.1", 0)
    flaky.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        yield flaky


@pytest.fixture
async def world(
    redis_url: str, database: str, simulator: SimulatedProvider, flaky: Flaky
) -> AsyncIterator[World]:
    """A tier of two deployments, the first of which is the flaky one."""
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()
    async with open_world(two(simulator, flaky), Servers(redis_url, database), simulator) as opened:
        yield opened


def two(simulator: SimulatedProvider, flaky: Flaky) -> GatewayConfig:
    base = config(simulator.url, ("balanced", ["gpt-5-mini@say-2", "gpt-5-mini@say"]))
    own = {
        **base.deployments,
        FLAKY: replace(base.deployments[FLAKY], provider="flaky", price_model="gpt-5-mini"),
    }
    priced: tuple[dict[str, object], ...] = (
        {"provider": "flaky", "model": "gpt-5-mini", "input": "1", "output": "1"},
    )
    providers = {**base.providers, "flaky": Provider("flaky", "openai", flaky.url)}
    return replace(base, providers=providers, deployments=own, prices_overlay=priced, breaker=RULES)


async def answered_by(world: World, times: int = 1, tier: str = "balanced") -> list[str]:
    """Who answered each of so many calls."""
    outcomes = [
        await world.parts.gateway.complete(call(f"http:breaker:{next(_KEYS)}", tier)) for _ in range(times)
    ]
    return [each.deployment if isinstance(each, Completion) else each.kind.value for each in outcomes]


async def circuit(world: World) -> str:
    [state] = await world.parts.authority.breakers([FLAKY])
    return state.circuit


async def make_it_late(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        for name in ("open_until", "paused_until"):
            if await redis.hexists(KEY(f"breaker:{FLAKY}"), name):
                await redis.hset(KEY(f"breaker:{FLAKY}"), name, 1)


async def test_a_deployment_that_fails_is_not_asked_any_more_until_it_is_tried_again(
    world: World, flaky: Flaky, redis_url: str
) -> None:
    healthy = await answered_by(world)
    flaky.status = "503 Service Unavailable"
    failing = await answered_by(world, 6)
    asked, while_open = len(flaky.asked), await circuit(world)
    flaky.status = ""
    still = await answered_by(world)
    await make_it_late(redis_url)
    again = await answered_by(world, 2)

    assert healthy == [FLAKY]
    assert failing == [STEADY] * 6
    assert (asked, while_open) == (1 + RULES.failures, "open")
    assert still == [STEADY]
    assert again == [FLAKY] * 2
    assert await circuit(world) == "closed"


async def test_a_try_that_fails_falls_back_and_waits_longer(
    world: World, flaky: Flaky, redis_url: str
) -> None:
    flaky.status = "500 Internal Server Error"
    await answered_by(world, 2)
    await make_it_late(redis_url)
    tried = await answered_by(world)
    [state] = await world.parts.authority.breakers([FLAKY])

    assert tried == [STEADY]
    assert (state.circuit, state.trips, len(flaky.asked)) == ("open", 2, 3)


async def test_retry_after_is_waited_for(world: World, flaky: Flaky, redis_url: str) -> None:
    flaky.status, flaky.headers = "429 Too Many Requests", "retry-after: 30\r\n"
    answers = await answered_by(world, 3)
    flaky.status, paused = "", await circuit(world)
    await make_it_late(redis_url)

    assert answers == [STEADY] * 3
    assert (len(flaky.asked), paused) == (1, "paused")
    assert await answered_by(world) == [FLAKY]


async def test_a_request_that_is_wrong_by_itself_opens_nothing(world: World, flaky: Flaky) -> None:
    flaky.status = "400 Bad Request"
    for _ in range(4):
        with pytest.raises(ProviderError):
            await answered_by(world, tier=FLAKY)

    assert (len(flaky.asked), await circuit(world)) == (4, "closed")


async def test_a_deployment_asked_for_by_name_is_refused_at_once_and_told_when(
    world: World, flaky: Flaky
) -> None:
    flaky.status = "503 Service Unavailable"
    await answered_by(world, 2)

    refusal = await world.parts.gateway.complete(call("http:breaker:by-name", FLAKY))

    assert isinstance(refusal, Refusal)
    assert (refusal.kind, refusal.scope) == (RefusalKind.UNAVAILABLE, f"model:{FLAKY}")
    assert refusal.retry_at_ms is not None
    assert len(flaky.asked) == RULES.failures


async def test_circuits_that_open_are_counted(world: World, flaky: Flaky) -> None:
    flaky.status = "503 Service Unavailable"
    await answered_by(world, 3)

    labels = {"model": FLAKY, "to": "opened"}
    assert world.parts.metrics.registry.get_sample_value("curb_circuit_changes_total", labels) == 1
