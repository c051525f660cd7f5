"""Thousands of requests that make no sense, and several doors under one budget."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.http.app import build_app
from tests.integration.front import ANYBODY, Front, OneKey, open_front
from tests.integration.world import config, open_world
from tests.simulated import SimulatedProvider
from worker.listening import listening
from worker.wiring import Servers

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GPT, CLAUDE = "gpt-5-mini@say-20", "claude-sonnet-4-5@say-20"
RESPONSES, EMBEDDINGS, COUNT = "/v1/responses", "/v1/embeddings", "/v1/messages/count_tokens"
MANY = 10_000
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**53, 10**30, 1.5, "", "x", "auto", [], [None], {}, {"type": "text"}),
    *([{"type": "text", "text": "x"}], [{"role": "user", "content": "x"}], {"a": {"b": [1]}}, "\ud800", "\0"),
)
PATHS = (CHAT, MESSAGES, CHAT, MESSAGES, RESPONSES, EMBEDDINGS, COUNT)
FIELDS = (
    *("model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options", "n", "stop"),
    *("temperature", "top_p", "tools", "tool_choice", "system", "metadata", "user", "thinking", "functions"),
    *(
        "response_format",
        "stop_sequences",
        "service_tier",
        "cache_control",
        "context_management",
        "brand_new",
        "input",
        "instructions",
        "max_output_tokens",
        "dimensions",
    ),
)


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    given = config(simulator.url, ("quick", [GPT, CLAUDE]))
    async with open_front(given, Servers(redis_url, database), simulator) as opened:
        yield opened


def strange(chance: random.Random) -> tuple[str, bytes, dict[str, str]]:
    """A request that is nearly right: some fields are something else, some bytes too."""
    document: dict[str, Any] = {
        "model": chance.choice(["quick", f"openai/{GPT}", f"anthropic/{CLAUDE}"]),
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 20,
    }
    for _ in range(chance.randint(1, 4)):
        document[chance.choice(FIELDS)] = chance.choice(VALUES)
    path = chance.choice(PATHS)
    if path in (RESPONSES, EMBEDDINGS):
        document["input"] = document.pop("messages")
    message = document.get("messages")
    if isinstance(message, list) and message and isinstance(message[0], dict) and chance.random() < 0.5:
        message = [dict(message[0])]
        message[0][chance.choice(["role", "content", "tool_calls", "name", "tool_call_id"])] = chance.choice(
            VALUES
        )
        document["messages"] = message
    body = json.dumps(document).encode()
    if chance.random() < 0.2:
        place = chance.randrange(len(body))
        body = body[:place] + bytes([chance.randrange(256)]) + body[place + 1 :]
    header = chance.choice(["x-curb-agent", "x-curb-tags", "x-curb-user", "idempotency-key", "x-nothing"])
    return path, body, {header: chance.choice(["x", "a b", "=", "#", "ok"])}


async def test_whatever_comes_is_answered_or_refused_and_nothing_stays_held(front: Front) -> None:
    chance = random.Random(20261121)
    limits = httpx.Limits(max_connections=8)
    statuses: dict[int, int] = {}

    async with httpx.AsyncClient(base_url=front.url, timeout=60, limits=limits) as client:

        async def asks() -> None:
            for _ in range(MANY // 8):
                path, body, headers = strange(chance)
                answer = await client.post(path, content=body, headers=headers)
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                assert answer.status_code < 500, (answer.status_code, answer.text, path, body)

        await asyncio.gather(*(asks() for _ in range(8)))

    assert statuses[400] > MANY // 3
    assert statuses[200] > MANY // 100
    await front.booked()
    assert await front.held() == 0


async def test_several_doors_admit_exactly_what_one_budget_allows(
    front: Front, redis_url: str, database: str, simulator: SimulatedProvider
) -> None:
    """Each door has a gateway process of its own, as far as Redis can tell."""
    given = config(simulator.url, ("quick", [GPT, CLAUDE]))
    asked = {"model": f"openai/{GPT}", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 25}
    headers = {"x-curb-agent": "shared"}
    first = await front.post(CHAT, asked, headers)
    [row] = await front.attempts(first.headers["x-curb-call-id"])
    cost, bound = row["cost_nano_usd"], row["reserved_nano_usd"]
    fits = 10  # so many may have been paid for when another is asked for
    await front.world.limit(agent__shared=cost * fits + bound)

    answers: list[httpx.Response] = []
    async with open_world(given, Servers(redis_url, database), simulator) as world:
        app = build_app(world.parts.gateway, OneKey(ANYBODY))
        async with (
            listening(app, "127.0.0.1", 0, grace_seconds=2) as other,
            httpx.AsyncClient(timeout=30) as client,
        ):
            while len(answers) < 60 and [a.status_code for a in answers[-4:]] != [402] * 4:
                answers += await asyncio.gather(
                    *(client.post(f"{u}{CHAT}", json=asked, headers=headers) for u in (front.url, other) * 2)
                )

    spent = (await front.world.parts.authority.utilization("shared")).spent_nano_usd
    assert spent == cost * (fits + 1)  # the one that went before, and the last that still fitted
    assert {answer.status_code for answer in answers} <= {200, 402, 429}
    await front.booked()
