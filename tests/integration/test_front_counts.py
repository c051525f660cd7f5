"""The front door counts how it answered: what its objective is judged by."""

from collections.abc import AsyncIterator, Iterator

import httpx
import openai
import pytest

from tests.integration.databases import migrated_database
from tests.integration.front import Front, open_front
from tests.integration.waiting import until
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

CHAT = "/v1/chat/completions"
MODELS = ["gpt-5-mini@say-20", "gpt-5-mini@say-20+cut", "gpt-5-mini@say-400+slow-stream-400"]


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "front_counts") as url:
        yield url


@pytest.fixture
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    given = config(simulator.url, ("balanced", MODELS))
    async with open_front(given, Servers(redis_url, database), simulator) as opened:
        yield opened


def counted(front: Front) -> dict[tuple[str, str], float]:
    """By route and code; what is 0 is left out."""
    return {
        (sample.labels["route"], sample.labels["code"]): sample.value
        for family in front.world.parts.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "curb_http_requests_total" and sample.value
    }


async def test_answers_and_refusals_count_under_their_route(front: Front) -> None:
    async with httpx.AsyncClient(base_url=front.url) as client:
        await front.openai.chat.completions.create(
            model="openai/gpt-5-mini@say-20", messages=[{"role": "user", "content": "Hello."}], max_tokens=50
        )
        await client.post(CHAT, content=b"no JSON")
        await client.get("/v1/models")
        await client.get("/v1/models/nothing-is-called-so")
        await client.get("/nowhere")
    assert counted(front) == {
        (CHAT, "200"): 1,
        (CHAT, "400"): 1,
        ("/v1/models", "200"): 1,
        ("other", "404"): 2,
    }


async def test_common_codes_are_there_before_anybody_came(front: Front) -> None:
    labels = [
        (sample.labels["route"], sample.labels["code"])
        for family in front.world.parts.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "curb_http_requests_total"
    ]
    assert {(CHAT, "200"), (CHAT, "500"), (CHAT, "503"), ("/v1/messages", "500")} <= set(labels)


async def test_a_stream_that_fails_after_it_has_begun_counts_as_failed(front: Front) -> None:
    stream = await front.openai.chat.completions.create(
        model="openai/gpt-5-mini@say-20+cut",
        messages=[{"role": "user", "content": "Hello."}],
        max_tokens=50,
        stream=True,
    )
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass
    assert counted(front) == {(CHAT, "503"): 1}


async def test_a_client_that_leaves_is_no_error_of_the_door(front: Front) -> None:
    body = {
        "model": "openai/gpt-5-mini@say-400+slow-stream-400",
        "messages": [{"role": "user", "content": "Hello."}],
        "max_tokens": 500,
    }
    async with httpx.AsyncClient(base_url=front.url, timeout=0.5) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(CHAT, json=body)

    async def has_counted() -> bool:
        return bool(counted(front))

    await until(has_counted)
    assert counted(front) == {(CHAT, "499"): 1}
