"""Outages that the simulated provider plays: one family in trouble, the other as ever."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.simulated import SimulatedProvider

HELLO = [{"role": "user", "content": "Hello"}]
ANTHROPIC = {"anthropic-version": "2023-06-01", "x-api-key": "k"}


@pytest.fixture
async def client(simulator: SimulatedProvider) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.url, timeout=10) as client:
        yield client
        for family in ("openai", "anthropic"):
            await client.delete(f"/outages/{family}")


async def chat(client: httpx.AsyncClient) -> int:
    body = {"model": "gpt-5-mini@say-3", "messages": HELLO}
    return (await client.post("/v1/chat/completions", json=body)).status_code


async def messages(client: httpx.AsyncClient) -> int:
    body = {"model": "claude-sonnet-4-5@say-3", "messages": HELLO, "max_tokens": 50}
    return (await client.post("/v1/messages", json=body)).status_code


async def test_a_family_that_is_down_answers_503_and_bills_nothing_and_the_other_answers(
    client: httpx.AsyncClient, simulator: SimulatedProvider
) -> None:
    before = len(simulator.invoice())
    await client.put("/outages/openai", json={"mode": "down"})

    assert (await chat(client), await messages(client)) == (503, 200)
    assert (await client.get("/v1/models")).status_code == 503
    assert (await client.get("/v1/models", headers=ANTHROPIC)).status_code == 200
    assert len(simulator.invoice()) == before + 1

    assert (await client.delete("/outages/openai")).json() == {}
    assert await chat(client) == 200


async def test_each_family_lists_its_models_in_its_own_words(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()
    claude = (await client.get("/v1/models", headers=ANTHROPIC)).json()

    assert listed["object"] == "list"
    assert "gpt-5-mini" in [model["id"] for model in listed["data"]]
    assert [model["id"] for model in claude["data"]] == ["claude-sonnet-4-5", "claude-opus-4-6"]
    assert claude["has_more"] is False


async def test_a_hanging_family_answers_once_the_outage_is_over(client: httpx.AsyncClient) -> None:
    await client.put("/outages/openai", json={"mode": "hang"})
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/v1/models", timeout=0.2)
    waiting = asyncio.create_task(client.get("/v1/models"))

    await client.delete("/outages/openai")

    assert (await waiting).status_code == 200


async def test_a_slow_family_is_late_and_a_refusing_one_closes_the_connection(
    client: httpx.AsyncClient,
) -> None:
    await client.put("/outages/anthropic", json={"mode": "slow", "milliseconds": 30})
    assert await messages(client) == 200
    assert (await client.get("/outages")).json() == {"anthropic": {"mode": "slow", "milliseconds": 30}}

    await client.put("/outages/anthropic", json={"mode": "refuse"})
    with pytest.raises(httpx.TransportError):
        await messages(client)


@pytest.mark.parametrize(
    ("family", "body", "said"),
    [
        ("openai", {"mode": "sulk"}, "none of down"),
        ("openai", {"mode": "slow", "milliseconds": -1}, "milliseconds"),
        ("openai", ["down"], "none of down"),
        ("nobody", {"mode": "down"}, "no family"),
    ],
)
async def test_what_is_no_outage_is_said(
    client: httpx.AsyncClient, family: str, body: Any, said: str
) -> None:
    answer = await client.put(f"/outages/{family}", json=body)

    assert answer.status_code == 400
    assert said in answer.json()["error"]
