"""Several keys of one provider against a server that knows which of them are good."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from redis.asyncio import Redis

from gateway.calls import Completion
from gateway.config import Provider
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.providers.errors import ProviderError
from tests.integration.world import World, call, config, open_world
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

NAME = "openai/gpt-5-mini@say"
_KEYS = itertools.count()


@dataclass
class Guarded:
    """Answers whoever has a good key; the others get the status that is said of their key."""

    url: str = ""
    statuses: dict[str, str] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
        lower = {name.lower(): value for name, value in fields.items()}
        await reader.readexactly(int(lower["content-length"]))
        key = lower.get("authorization", "").removeprefix("Bearer ") or lower.get("x-api-key", "")
        self.asked[key] += 1
        status = self.statuses.get(key, "200 OK")
        body = _answer(head) if status == "200 OK" else {"error": {"message": f"no, {status}"}}
        text = json.dumps(body).encode()
        said = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n"
        writer.write(f"{said}connection: close\r\n\r\n".encode() + text)
        await writer.drain()
        writer.close()


def _answer(head: str) -> dict[str, object]:
    if "/messages" in head.split("\r\n", 1)[0]:
        content = [{"type": "text", "text": "Hello."}]
        usage = {"input_tokens": 20, "output_tokens": 3}
        return {"id": "m", "role": "assistant", "content": content, "stop_reason": "end_turn", "usage": usage}
    choice = {"message": {"content": "Hello."}, "finish_reason": "stop"}
    return {"id": "r", "choices": [choice], "usage": {"prompt_tokens": 20, "completion_tokens": 3}}


@pytest.fixture
async def guarded() -> AsyncIterator[Guarded]:
    guarded = Guarded()
    server = await asyncio.start_server(guarded.serve, "127.0.0.1", 0)
    guarded.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield guarded


@pytest.fixture(params=["openai", "anthropic"])
async def world(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    redis_url: str,
    database: str,
    simulator: SimulatedProvider,
    guarded: Guarded,
) -> AsyncIterator[World]:
    """One deployment at a provider with three keys, by either wire format."""
    for number in "123":
        monkeypatch.setenv(f"GUARDED_KEY_{number}", f"secret-{number}")
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()
    url = f"{guarded.url}/v1" if request.param == "openai" else guarded.url
    names = ("GUARDED_KEY_2", "GUARDED_KEY_3")
    own = Provider("guarded", request.param, url, "GUARDED_KEY_1", api_key_envs=names)
    base = config(simulator.url, ("balanced", ["gpt-5-mini@say"]))
    deployment = replace(base.deployments[NAME], provider="guarded", price_model="gpt-5-mini")
    priced: tuple[dict[str, object], ...] = (
        {"provider": "guarded", "model": "gpt-5-mini", "input": "1", "output": "1"},
    )
    given = replace(base, providers={"guarded": own}, deployments={NAME: deployment}, prices_overlay=priced)
    async with open_world(given, Servers(redis_url, database), simulator) as opened:
        yield opened


async def buy(world: World, times: int) -> list[Completion]:
    outcomes = [await world.parts.gateway.complete(call(f"http:keys:{next(_KEYS)}")) for _ in range(times)]
    assert all(isinstance(each, Completion) for each in outcomes), outcomes
    return [each for each in outcomes if isinstance(each, Completion)]


async def test_the_calls_are_shared_out_among_the_keys(world: World, guarded: Guarded) -> None:
    await buy(world, 6)

    assert guarded.asked == {"secret-1": 2, "secret-2": 2, "secret-3": 2}


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "429 Too Many Requests"])
async def test_one_key_that_is_refused_takes_nothing_down_and_costs_nothing(
    world: World, guarded: Guarded, status: str
) -> None:
    guarded.statuses["secret-1"] = status
    answers = await buy(world, 4)
    ledger = await world.ledger()
    [circuit] = await world.parts.authority.breakers([NAME])

    assert guarded.asked["secret-1"] == 1
    assert {answer.attempt_id.rpartition("#")[2] for answer in answers} == {"1"}
    assert ledger >= sum(answer.cost_nano_usd for answer in answers) > 0
    assert (circuit.circuit, circuit.calls) == ("closed", 0)


async def test_when_every_key_is_refused_the_provider_is_out(world: World, guarded: Guarded) -> None:
    guarded.statuses = {f"secret-{number}": "401 Unauthorized" for number in "123"}

    with pytest.raises(ProviderError, match="401"):
        await world.parts.gateway.complete(call(f"http:keys:{next(_KEYS)}"))

    assert guarded.asked == {"secret-1": 1, "secret-2": 1, "secret-3": 1}
    [circuit] = await world.parts.authority.breakers([NAME])
    assert (circuit.bad, circuit.why) == (1, "auth")


async def test_when_every_key_is_out_of_quota_the_refusal_says_when_to_come_again(
    world: World, guarded: Guarded
) -> None:
    guarded.statuses = {
        f"secret-{number}": f"429 Too Many Requests\r\nretry-after: {number}0" for number in "123"
    }

    outcome = await world.parts.gateway.complete(call(f"http:keys:{next(_KEYS)}"))

    assert isinstance(outcome, Refusal)
    assert outcome.kind is RefusalKind.UNAVAILABLE
    [circuit] = await world.parts.authority.breakers([NAME])
    assert circuit.circuit == "paused"
    assert guarded.asked.total() == 3
