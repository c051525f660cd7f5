"""Answers that no provider should give, from a real HTTP server: whatever comes, the attempt is booked."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis.asyncio as redis

from gateway.calls import Completion, Outcome
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.providers.errors import ProviderError
from tests.integration.databases import migrated_database
from tests.integration.world import World, call, config, open_world
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

_KEYS = itertools.count()
USAGE = {"prompt_tokens": 20, "completion_tokens": 3}


@dataclass
class Provider:
    """Answers every request with the same status and body."""

    url: str = ""
    status: str = "200 OK"
    body: str = ""
    requests: list[str] = field(default_factory=list)

    def say(self, content: Any, usage: Any = USAGE, **message: Any) -> None:
        choice = {"message": {"content": content, **message}, "finish_reason": "stop"}
        self.body = json.dumps({"id": "r1", "choices": [choice], "usage": usage})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(line for line in head.lower().splitlines() if line.startswith("content-length:"))
        await reader.readexactly(int(length.partition(":")[2]))
        self.requests.append(head)
        body = self.body.encode()
        writer.write(
            f"HTTP/1.1 {self.status}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        writer.close()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield provider


@pytest.fixture
def database(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "awkward_providers") as url:
        yield url


@pytest.fixture
async def world(
    redis_url: str, database: str, provider: Provider, simulator: SimulatedProvider
) -> AsyncIterator[World]:
    async with redis.from_url(redis_url) as client:
        await client.flushdb()
    given = config(provider.url, ("balanced", ["gpt-5-mini"]))
    async with open_world(given, Servers(redis_url, database), simulator) as opened:
        yield opened


async def buy(world: World, name: str = "") -> tuple[Outcome | Exception, dict[str, Any]]:
    """The outcome of a call, and its one attempt on the books."""
    name = name or f"http:awkward:{next(_KEYS)}"
    outcome: Outcome | Exception
    try:
        outcome = await world.parts.gateway.complete(call(name))
    except ProviderError as error:
        outcome = error
    await world.ledger()
    [row] = await world.parts.store.attempts.of_call(name)
    return outcome, row


async def test_half_an_emoji_does_not_lose_an_answer(world: World, provider: Provider) -> None:
    provider.say("cut here: \ud83d")

    outcome, row = await buy(world)

    assert isinstance(outcome, Completion)
    assert outcome.message.text == "cut here: \ufffd"
    assert (row["state"], row["basis"]) == ("settled", "usage")


async def test_half_an_emoji_in_an_error_is_booked_as_the_error_it_is(
    world: World, provider: Provider
) -> None:
    provider.status = "400 Bad Request"
    provider.body = json.dumps({"error": {"message": "bad: \ud83d"}})

    outcome, row = await buy(world)

    assert isinstance(outcome, ProviderError)
    assert (row["state"], row["status"], row["cost_nano_usd"]) == ("settled", "error", 0)


@pytest.mark.parametrize("count", [2**31, 2**63, 10**30])
async def test_absurd_counts_are_no_usage(world: World, provider: Provider, count: int) -> None:
    provider.say("Hello.", {"prompt_tokens": count, "completion_tokens": 3})

    outcome, row = await buy(world)

    assert isinstance(outcome, Completion)
    assert (row["state"], row["error_type"]) == ("in_doubt", "no_usage")


async def test_an_answer_of_the_wrong_shape_is_in_doubt(world: World, provider: Provider) -> None:
    provider.body = json.dumps({"id": "r1", "choices": [], "usage": USAGE})

    outcome, row = await buy(world)

    assert isinstance(outcome, Refusal)
    assert outcome.kind is RefusalKind.UNAVAILABLE
    assert row["state"] == "in_doubt"


@pytest.mark.parametrize("status", ["408 Request Timeout", "504 Gateway Timeout", "524 A Timeout"])
async def test_a_proxy_that_gave_up_says_nothing_of_the_bill(
    world: World, provider: Provider, status: str
) -> None:
    """The provider behind it may still be generating."""
    provider.status, provider.body = status, "upstream request timeout"

    outcome, row = await buy(world)

    assert isinstance(outcome, Refusal)
    assert (row["state"], row["error_type"]) == ("in_doubt", "timeout")


async def test_every_2xx_is_an_answer_that_was_bought(world: World, provider: Provider) -> None:
    provider.say("Hello.")
    provider.status = "201 Created"

    outcome, row = await buy(world)

    assert isinstance(outcome, Completion)
    assert row["state"] == "settled"
    assert row["cost_nano_usd"] > 0


async def test_what_a_provider_quotes_of_the_prompt_is_kept_apart_from_what_it_says(
    world: World, provider: Provider
) -> None:
    """The outcome goes into workflow history, the row stays in Postgres (I12)."""
    provider.status = "500 Internal Server Error"
    provider.body = json.dumps({"error": {"type": "server_error", "message": "cannot parse 'my secret'"}})

    outcome, row = await buy(world)

    assert isinstance(outcome, Refusal)
    assert outcome.detail == "openai answered 500 (server_error)"
    assert "my secret" in row["error_message"]


@pytest.mark.parametrize("name", ["http:awkward:ü", "http:awkward:\n", "http:awkward:" + "x" * 500])
async def test_a_key_that_cannot_be_a_header_is_refused_before_anything_is_held(
    world: World, provider: Provider, name: str
) -> None:
    refusal = await world.parts.gateway.complete(call(name))

    assert isinstance(refusal, Refusal)
    assert refusal.kind is RefusalKind.INVALID
    assert not provider.requests
    assert all(budget.held_nano_usd == 0 for budget in await world.parts.authority.budgets())
