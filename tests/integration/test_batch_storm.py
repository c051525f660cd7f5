"""Files and batches that make no sense: each is refused in words, and nothing stays held."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from gateway.errors import StateUnavailable
from tests.integration.front import Front, open_front
from tests.integration.test_front_storm import FIELDS, VALUES
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

GPT, CLAUDE = "gpt-5-mini@say-20", "claude-sonnet-4-5@say-20"
MANY = 1_000
CHAT = "/v1/chat/completions"


async def nobody(batch_id: str) -> None:
    """What makes sense after all finds nobody who would follow it."""
    raise StateUnavailable("nobody follows batches here")


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    given = config(simulator.url, ("quick", [GPT, CLAUDE]))
    async with open_front(given, Servers(redis_url, database), simulator, batches=nobody) as opened:
        yield opened


def twisted(chance: random.Random, document: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """The same, with some fields something else, or gone."""
    document = dict(document)
    for _ in range(chance.randint(0, 2)):
        field = chance.choice(fields)
        if chance.random() < 0.3:
            document.pop(field, None)
        else:
            document[field] = chance.choice(VALUES)
    return document


def bitten(chance: random.Random, body: bytes) -> bytes:
    """The same, now and then with one byte changed."""
    if not body or chance.random() > 0.2:
        return body
    place = chance.randrange(len(body))
    return body[:place] + bytes([chance.randrange(256)]) + body[place + 1 :]


def params(chance: random.Random, model: str) -> dict[str, Any]:
    hello = [{"role": "user", "content": "Hello"}]
    return twisted(chance, {"model": model, "messages": hello, "max_tokens": 20}, FIELDS)


async def a_file(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    lines = []
    for number in range(chance.randint(0, 3)):
        line = {"custom_id": f"r{chance.randrange(4)}", "method": "POST", "url": CHAT}
        line["body"] = params(chance, f"openai/{GPT}")  # type: ignore[assignment]
        line["custom_id"] = line["custom_id"] if number else "first"
        fields = ("custom_id", "method", "url", "body")
        lines.append(bitten(chance, json.dumps(twisted(chance, line, fields)).encode()))
    form = {"purpose": chance.choice(["batch", "batch", "batch", "vision", ""])}
    return await client.post("/v1/files", data=form, files={"file": ("a.jsonl", b"\n".join(lines))})


async def a_form(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    body = b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x--\r\n'
    kind = chance.choice(["multipart/form-data; boundary=x", "multipart/form-data", "text/plain", ""])
    return await client.post("/v1/files", content=bitten(chance, body), headers={"content-type": kind})


async def a_batch(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    kept = await a_file(client, chance)
    file_id = kept.json().get("id", "file-nothing")
    order = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    order = twisted(chance, order, ("input_file_id", "endpoint", "completion_window", "metadata"))
    return await client.post("/v1/batches", content=bitten(chance, json.dumps(order).encode()))


async def a_message_batch(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    requests: list[Any] = [
        twisted(
            chance,
            {"custom_id": f"r{number}", "params": params(chance, f"anthropic/{CLAUDE}")},
            ("custom_id", "params"),
        )
        for number in range(chance.randint(0, 3))
    ]
    document = twisted(chance, {"requests": requests}, ("requests", "more"))
    return await client.post("/v1/messages/batches", content=bitten(chance, json.dumps(document).encode()))


async def a_question(client: httpx.AsyncClient, chance: random.Random) -> httpx.Response:
    place = chance.choice(["batches", "files", "messages/batches"])
    what = chance.choice(["", "/x", "/x/cancel", "/%00", "/" + "y" * 300, "?limit=0", "?limit=x", "?after=z"])
    return await client.request(chance.choice(["GET", "POST", "DELETE", "PUT"]), f"/v1/{place}{what}")


WAYS: tuple[Callable[[httpx.AsyncClient, random.Random], Any], ...] = (
    a_file, a_form, a_batch, a_batch, a_message_batch, a_message_batch, a_question,
)  # fmt: skip


async def test_whatever_comes_is_refused_in_words_and_nothing_stays_held(front: Front) -> None:
    chance = random.Random(20261129)
    statuses: dict[int, int] = {}
    async with httpx.AsyncClient(base_url=front.url, timeout=60) as client:

        async def asks() -> None:
            for _ in range(MANY // 8):
                answer = await chance.choice(WAYS)(client, chance)
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                assert answer.status_code < 500 or "nobody follows" in answer.text, answer.text

        await asyncio.gather(*(asks() for _ in range(8)))

    assert statuses[400] > MANY // 4
    assert statuses[503] > MANY // 100  # they were batches
    assert await front.held() == 0
    assert await front.booked() == 0
