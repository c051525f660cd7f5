"""Embeddings at the front door: vectors for clients, and for curb itself."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from gateway.calls import Caller
from gateway.embeddings import Embedded, embed
from gateway.policy.money import usd
from gateway.policy.refusals import Refusal, RefusalKind
from tests.integration.front import Front, in_thread, open_front
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

EMBEDDINGS, SMALL = "/v1/embeddings", "openai/text-embedding-3-small"


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    tiers = [
        ("vectors", ["text-embedding-3-small@say+500", "text-embedding-3-small"]),
        ("quick", ["gpt-5-mini", "text-embedding-3-large", "text-embedding-3-small@say+no-usage"]),
    ]
    async with open_front(config(simulator.url, *tiers), Servers(redis_url, database), simulator) as opened:
        yield opened


@pytest.mark.parametrize(
    ("given", "tokens"),
    [("Some words.", 3), (["Some words.", "More."], 5), ([1, 2, 3], 3), ([[1, 2], [3]], 3)],
)
async def test_whatever_the_input_it_is_billed_by_its_tokens(front: Front, given: Any, tokens: int) -> None:
    answer = await front.openai.embeddings.create(model=SMALL, input=given)

    assert [len(each.embedding) for each in answer.data] == [1536] * (len(answer.data))
    assert answer.usage.prompt_tokens == tokens
    await front.booked()


async def test_dimensions_and_encoding_pass_on(front: Front) -> None:
    floats = await front.openai.embeddings.create(
        model=SMALL, input="Some words.", dimensions=8, encoding_format="float"
    )
    packed = await front.openai.embeddings.create(model=SMALL, input="Some words.", dimensions=8)

    assert floats.data[0].embedding == pytest.approx(packed.data[0].embedding, abs=1e-6)


async def test_the_synchronous_client_works_too(front: Front) -> None:
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key="curb", max_retries=0) as client:
        answer = await in_thread(lambda: client.embeddings.create(model=SMALL, input="Hello"))

    assert len(answer.data) == 1


async def test_a_tier_of_embeddings_falls_back(front: Front) -> None:
    answer = await front.post(EMBEDDINGS, {"model": "vectors", "input": "Hello"})

    assert answer.status_code == 200
    assert answer.headers["x-curb-deployment"] == SMALL
    assert [row["status"] for row in await front.attempts(answer.headers["x-curb-call-id"])] == [
        "error",
        "success",
    ]


async def test_asking_again_is_free(front: Front) -> None:
    headers = {"idempotency-key": "vectors-once"}

    first, second = [
        await front.post(EMBEDDINGS, {"model": SMALL, "input": "Hello"}, headers) for _ in range(2)
    ]

    assert first.json() == second.json()
    assert (second.headers["x-curb-cache"], second.headers["x-curb-cost"]) == ("replayed", "0")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": SMALL}, "input: must be a text or a list"),
        ({"model": SMALL, "input": ""}, "input: must be a text or a list"),
        ({"model": SMALL, "input": ["a", 3.5]}, "input[1]: must be a text or a list of token ids"),
        ({"model": SMALL, "input": ["a"] * 2049}, "input: has 2049 entries; 2048 is the most"),
        ({"model": SMALL, "input": "a", "encoding_format": "hex"}, "encoding_format: there are float"),
        ({"model": SMALL, "input": "a", "dimensions": 0}, "dimensions: must be 1 or more"),
        ({"model": "openai/gpt-5-mini", "input": "a"}, "openai/gpt-5-mini makes no embeddings"),
    ],
)
async def test_what_makes_no_sense_is_said(front: Front, body: dict[str, Any], said: str) -> None:
    answer = await front.post(EMBEDDINGS, body)

    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert await front.held() == 0


async def test_a_model_for_embeddings_is_not_asked_for_an_answer(front: Front) -> None:
    body = {"model": SMALL, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}

    answer = await front.post("/v1/chat/completions", body)

    assert answer.status_code == 400
    assert "ask for it at /v1/embeddings" in answer.json()["error"]["message"]


async def test_usage_that_never_comes_is_in_doubt_until_the_invoice(front: Front) -> None:
    model = "openai/text-embedding-3-small@say+no-usage"

    assert (await front.post(EMBEDDINGS, {"model": model, "input": "Hello"})).status_code == 200

    await front.booked()


async def test_curb_makes_vectors_within_the_same_budgets(front: Front) -> None:
    gateway, caller = front.world.parts.gateway, Caller(agent="librarian")
    texts = ["the cat sat on the mat", "the cat sat on a mat", "quarterly tax report"]

    embedded = await embed(gateway, caller, SMALL, texts, key="vectors-1")

    assert isinstance(embedded, Embedded)
    near, far = [_cosine(embedded.vectors[0], each) for each in embedded.vectors[1:]]
    assert near > 0.8 > far
    assert embedded.cost_nano_usd > 0
    await front.booked()

    await front.world.limit(agent__librarian=usd("0.00000001"))
    refused = await embed(gateway, caller, SMALL, texts, key="vectors-2")
    assert isinstance(refused, Refusal)
    assert refused.kind in (RefusalKind.NEVER_FITS, RefusalKind.EXHAUSTED)


def _cosine(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
