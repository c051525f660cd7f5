"""An Idempotency-Key makes asking again free, whatever went wrong in between."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.keys import ANONYMOUS
from tests.integration.front import ANYBODY, Front, open_front
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GPT, CLAUDE = "gpt-5-mini@say-40", "claude-sonnet-4-5@say-40"
WAYS = pytest.mark.parametrize(
    ("path", "model", "stream"),
    list(itertools.product([CHAT, MESSAGES], [f"openai/{GPT}", f"anthropic/{CLAUDE}"], [False, True])),
)
_KEYS = (f"key-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    every = [f"{model}{manner}" for model in (GPT, CLAUDE) for manner in ("", "+slow-stream-20", "+500-once")]
    given = config(simulator.url, ("quick", every))
    async with open_front(given, Servers(redis_url, database), simulator) as opened:
        yield opened


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": next(_KEYS)}


def asked(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 90, **more}


@WAYS
async def test_asking_again_is_free_and_gives_the_same_bytes(
    front: Front, key: dict[str, str], path: str, model: str, stream: bool
) -> None:
    first = await front.post(path, asked(model, stream=stream), key)
    await front.booked()
    rows = len(front.world.simulator.invoice())

    second = await front.post(path, asked(model, stream=stream), key)

    assert first.status_code == second.status_code == 200
    assert second.content == first.content
    assert second.headers["content-type"] == first.headers["content-type"]
    assert (first.headers["x-curb-cache"], second.headers["x-curb-cache"]) == ("none", "replayed")
    assert second.headers["x-curb-cost"] == "0"
    assert second.headers["x-curb-call-id"] == first.headers["x-curb-call-id"]
    assert len(front.world.simulator.invoice()) == rows
    [row] = await front.attempts(first.headers["x-curb-call-id"])
    assert row["replayed"]
    await front.booked()


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_the_same_key_for_another_request_is_422(front: Front, key: dict[str, str], path: str) -> None:
    await front.post(path, asked(f"openai/{GPT}"), key)

    answer = await front.post(path, asked(f"openai/{GPT}", temperature=0.5), key)

    assert answer.status_code == 422
    assert "idempotency-key" in answer.json()["error"]["message"]
    await front.booked()


async def test_the_same_key_of_somebody_else_is_another_call(front: Front, key: dict[str, str]) -> None:
    first = await front.post(CHAT, asked(f"openai/{GPT}"), key)
    front.keys.principal = ANYBODY.__class__("kother", "other", rate_tier="")
    try:
        second = await front.post(CHAT, asked(f"openai/{GPT}"), key)
    finally:
        front.keys.principal = ANYBODY

    assert second.headers["x-curb-cache"] == "none"
    assert second.headers["x-curb-call-id"] != first.headers["x-curb-call-id"]
    await front.booked()


@WAYS
async def test_two_at_once_are_bought_once(
    front: Front, key: dict[str, str], path: str, model: str, stream: bool
) -> None:
    rows = len(front.world.simulator.invoice())
    body = asked(f"{model}+slow-stream-20", max_tokens=10, stream=stream)

    both = await asyncio.gather(*(front.post(path, body, key) for _ in range(2)))

    assert both[0].content == both[1].content
    assert sorted(each.headers["x-curb-cache"] for each in both) == ["none", "replayed"]
    assert len(front.world.simulator.invoice()) == rows + 1
    await front.booked()


async def test_a_call_that_was_given_up_is_bought_again_in_an_attempt_of_its_own(
    front: Front, key: dict[str, str]
) -> None:
    body = asked(f"openai/{GPT}+slow-stream-20")
    async with httpx.AsyncClient(base_url=front.url) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(CHAT, json=body, headers=key, timeout=0.3)

    answer = await front.post(CHAT, body, key)

    assert answer.status_code == 200
    rows = await front.attempts(answer.headers["x-curb-call-id"])
    assert [(row["number"], row["state"]) for row in rows] == [(1, "in_doubt"), (2, "settled")]
    await front.booked()


async def test_a_refused_call_may_be_asked_again(front: Front, key: dict[str, str]) -> None:
    first = await front.post(CHAT, asked(f"openai/{GPT}+500-once"), key)

    second = await front.post(CHAT, asked(f"openai/{GPT}+500-once"), key)

    assert (first.status_code, second.status_code) == (503, 200)
    await front.booked()


async def test_answers_without_a_key_are_kept_nowhere(front: Front) -> None:
    answer = await front.post(CHAT, asked(f"openai/{GPT}"))

    assert await front.world.parts.store.answers.load(answer.headers["x-curb-call-id"]) is None
    await front.booked()


@pytest.mark.parametrize("name", ["with#hash", "x" * 201, "ü"])
async def test_a_key_that_cannot_be_one_is_400(front: Front, name: str) -> None:
    answer = await front.post(CHAT, asked(f"openai/{GPT}"), {"Idempotency-Key": name.encode("latin-1")})  # type: ignore[dict-item]

    assert answer.status_code == 400
    assert "idempotency-key" in answer.json()["error"]["message"]


async def test_callers_without_a_key_of_their_own_share_no_answers(front: Front, key: dict[str, str]) -> None:
    front.keys.principal = ANONYMOUS
    try:
        answer = await front.post(CHAT, asked(f"openai/{GPT}"), key)
    finally:
        front.keys.principal = ANYBODY

    assert answer.status_code == 400
