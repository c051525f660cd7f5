"""Streams at the front door: cut by switches, by clients that go away, by providers that break off."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from gateway.http.endpoint import Limits
from tests.integration.front import Front, open_front
from tests.integration.waiting import until
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GPT, CLAUDE = "gpt-5-mini@say-200", "claude-sonnet-4-5@say-200"
HELLO: Any = [{"role": "user", "content": "Hello"}]
MANNERS = (
    "", "+slow-stream-20", "+cut", "+error", "+hang-20", "+500-once", "+hang-0-once", "+bad-json", "+no-usage"
)  # fmt: skip
ALL = pytest.mark.parametrize(
    ("path", "model"), [(path, model) for path in (CHAT, MESSAGES) for model in (GPT, CLAUDE)]
)


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    every = [f"{model}{manner}" for model in (GPT, CLAUDE) for manner in MANNERS]
    outage = ("balanced", [f"{GPT}+500", f"{CLAUDE}"])
    hangs = ("frontier", [f"{GPT}+hang-0", f"{CLAUDE}"])
    breaks = ("max", [f"{GPT}+cut", f"{CLAUDE}"])
    given = config(simulator.url, ("quick", every), outage, hangs, breaks)
    # A silence that no busy machine makes by itself.
    limits = Limits(call_seconds=60, silence_seconds=5)
    async with open_front(given, Servers(redis_url, database), simulator, limits=limits) as opened:
        yield opened


def asked(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": HELLO, "max_tokens": 300, "stream": True, **more}


def named(model: str) -> str:
    return f"{'anthropic' if model.startswith('claude') else 'openai'}/{model}"


async def last_row(front: Front) -> dict[str, Any]:
    """The attempt that was opened last, as it was before doubts were resolved."""
    await front.world.ledger()
    [row] = await front.world.parts.store.attempts.recent(limit=1)
    return dict(row)


@ALL
async def test_a_switch_cuts_a_stream_and_the_client_is_told(front: Front, path: str, model: str) -> None:
    slow = named(f"{model}+slow-stream-20")
    seen = asyncio.Event()

    async def reads() -> str:
        text = ""
        async with front.stream(path, asked(slow), {"x-curb-agent": "cut"}) as answer:
            async for piece in answer.aiter_text():
                text += piece
                seen.set()
        return text

    reading = asyncio.create_task(reads())
    await seen.wait()
    await front.world.parts.authority.set_switch("kill:agent:cut", "manual:test:enough")
    text = await reading
    await front.world.parts.authority.clear_switch("kill:agent:cut")

    last = json.loads(text.rstrip().rpartition("data: ")[2])
    assert last["error"]["curb"] == {"kind": "switched", "scope": "agent:cut", "period": ""}
    assert "manual:test:enough" in last["error"]["message"]
    assert text.count('"error"') == (2 if path == MESSAGES else 1)
    assert (await last_row(front))["state"] == "in_doubt"
    await front.booked()


@ALL
async def test_a_client_that_goes_away_ends_its_providers_stream_and_pays_for_what_came(
    front: Front, path: str, model: str
) -> None:
    slow = named(f"{model}+slow-stream-20")
    async with front.stream(path, asked(slow)) as answer:
        pieces = answer.aiter_bytes()
        for _ in range(5):
            await anext(pieces)

    async def cut() -> bool:
        return bool((await last_row(front))["status"] == "killed")

    await until(cut)
    row = await last_row(front)
    assert (row["state"], row["error_type"]) == ("in_doubt", "cancelled")
    assert 0 < row["estimate_nano_usd"] < row["reserved_nano_usd"]
    await front.booked()
    [bill] = front.world.simulator.invoice(row["attempt_id"])
    assert 0 < bill["output_tokens"] < 200


async def test_a_client_that_goes_away_before_the_first_byte_is_noticed_too(front: Front) -> None:
    async with httpx.AsyncClient(base_url=front.url) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(CHAT, json=asked(named(f"{GPT}+slow-stream-20"), stream=False), timeout=0.3)

    async def cut() -> bool:
        return bool((await last_row(front))["error_type"] == "cancelled")

    await until(cut)
    row = await last_row(front)
    assert row["estimate_nano_usd"] == row["reserved_nano_usd"]  # nobody can tell how much was made of it
    await front.booked()


@ALL
async def test_a_provider_that_breaks_off_is_told_as_an_error(front: Front, path: str, model: str) -> None:
    for manner in ("+cut", "+error", "+bad-json"):
        with pytest.raises((openai.APIError, anthropic.APIError, json.JSONDecodeError)):
            await _heard(front, path, named(f"{model}{manner}"))
        assert (await last_row(front))["state"] == "in_doubt"
    await front.booked()


async def _heard(front: Front, path: str, model: str) -> str:
    """Stream with the family's own client."""
    if path == CHAT:
        chunks = await front.openai.chat.completions.create(
            model=model, messages=HELLO, max_tokens=300, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])
    async with front.anthropic.messages.stream(model=model, messages=HELLO, max_tokens=300) as stream:
        return "".join([text async for text in stream.text_stream])


@ALL
async def test_an_error_that_the_provider_sent_is_not_told_twice(front: Front, path: str, model: str) -> None:
    answer = await front.post(path, asked(named(f"{model}+error")))

    errors = [line for line in answer.text.split("\n") if line.startswith("data: ") and '"error"' in line]
    assert len(errors) == 1
    await front.booked()


@ALL
async def test_a_silent_stream_is_given_up(front: Front, path: str, model: str) -> None:
    with pytest.raises((openai.APIError, anthropic.APIError)):
        await _heard(front, path, named(f"{model}+hang-20"))

    assert (await last_row(front))["status"] == "timeout"
    await front.booked()


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("tier", ["balanced", "frontier"])
async def test_before_the_first_byte_another_deployment_answers(front: Front, path: str, tier: str) -> None:
    text = await _heard(front, path, tier)

    assert text
    row = await last_row(front)
    assert (row["deployment"], row["number"], row["state"]) == (named(CLAUDE), 2, "settled")
    await front.booked()


async def test_after_the_first_byte_nobody_else_answers(front: Front) -> None:
    with pytest.raises(openai.APIError):
        await _heard(front, CHAT, "max")

    row = await last_row(front)
    assert (row["deployment"], row["number"], row["state"]) == (named(f"{GPT}+cut"), 1, "in_doubt")
    await front.booked()


@ALL
async def test_an_answer_without_usage_is_whole_and_in_doubt(front: Front, path: str, model: str) -> None:
    answer = await front.post(path, asked(named(f"{model}+no-usage")))

    assert ("[DONE]" if path == CHAT else "message_stop") in answer.text
    row = await last_row(front)
    assert (row["state"], row["status"]) == ("in_doubt", "success")
    await front.booked()


async def test_streams_come_piece_by_piece(front: Front) -> None:
    """The first piece is here long before the last is made."""
    loop = asyncio.get_running_loop()
    model = named(f"{CLAUDE}+slow-stream-20")
    async with front.stream(CHAT, asked(model, max_tokens=30)) as answer:
        pieces = [loop.time() async for _ in answer.aiter_bytes()]

    assert len(pieces) >= 20
    await front.booked()
