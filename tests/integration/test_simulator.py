"""The simulated provider by itself: its invoice outlives it, and it bills what it produced."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.waiting import until
from tests.simulated import SimulatedProvider

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SimulatedProvider]:
    provider = SimulatedProvider(tmp_path)
    yield provider
    provider.stop()


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": HELLO, **more}


async def test_answers_without_streaming_are_billed_alike(simulated: SimulatedProvider) -> None:
    async with httpx.AsyncClient(base_url=simulated.url, timeout=10) as client:
        chatted = (await client.post("/v1/chat/completions", json=chat("gpt-5.2@say-40"))).json()
        body = chat("claude-opus-4-6@think-30-1", max_tokens=1000)
        messaged = (await client.post("/v1/messages", json=body)).json()
    rows = simulated.invoice()
    assert chatted["usage"]["completion_tokens"] == rows[0]["output_tokens"] == 40
    assert [block["type"] for block in messaged["content"]] == ["thinking", "text"]
    assert messaged["usage"]["output_tokens"] == rows[1]["output_tokens"]


async def test_the_same_request_is_answered_alike(simulated: SimulatedProvider) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    async with httpx.AsyncClient(base_url=simulated.url, timeout=10) as client:
        answers = [
            (await client.post("/v1/chat/completions", json=chat("gpt-5-mini@loop", tools=tools))).json()
            for _ in range(2)
        ]
    assert answers[0]["choices"] == answers[1]["choices"]


async def test_a_row_is_open_while_it_is_generated_and_survives_kill_9(
    simulated: SimulatedProvider,
) -> None:
    body = chat("gpt-5-mini@say-10000+slow-stream-5", stream=True)
    received = 0
    async with (
        httpx.AsyncClient(base_url=simulated.url, timeout=10) as client,
        client.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        lines = response.aiter_lines()
        while received < 20:
            line = await anext(lines)
            received += '"content":"' in line and '"content":""' not in line
        open_row = (await asyncio.to_thread(simulated.invoice))[0]
        simulated.kill()
    simulated.start()
    (row,) = simulated.invoice()
    assert open_row["state"] == "open"
    assert row["state"] == "final"
    assert row["output_tokens"] >= max(received, open_row["output_tokens"])
    assert row["amount_nano_usd"] == row["input_tokens"] * 250 + row["output_tokens"] * 2000


def test_a_half_written_line_is_passed_over(simulated: SimulatedProvider) -> None:
    httpx.post(f"{simulated.url}/v1/chat/completions", json=chat("gpt-5-mini"), timeout=10)
    before = simulated.invoice()
    simulated.kill()
    journal = simulated.data / "invoice.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"open":[1,"req_half')
    simulated.start()
    httpx.post(f"{simulated.url}/v1/chat/completions", json=chat("gpt-5-mini"), timeout=10)
    simulated.kill()
    simulated.start()
    assert simulated.invoice()[0] == before[0]
    assert len(simulated.invoice()) == 2


async def test_a_client_that_goes_away_ends_generation(simulated: SimulatedProvider) -> None:
    body = chat("gpt-5-mini@say-10000+slow-stream-5")
    async with httpx.AsyncClient(base_url=simulated.url, timeout=10) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/chat/completions", json=body, timeout=0.3)

    async def final() -> bool:
        return bool(simulated.invoice()[0]["state"] == "final")

    await until(final)
    row = simulated.invoice()[0]
    assert 10 < row["output_tokens"] < 200


def test_the_invoice_since_a_time_has_what_changed_after_it(simulated: SimulatedProvider) -> None:
    for _ in range(2):
        httpx.post(f"{simulated.url}/v1/chat/completions", json=chat("gpt-5-mini@slow-first-5"), timeout=10)
    first, second = simulated.invoice()
    assert simulated.invoice(since_ms=first["done_ms"] + 1) == [second]
    document = httpx.get(f"{simulated.url}/invoice", timeout=10).json()
    assert document["total_nano_usd"] == first["amount_nano_usd"] + second["amount_nano_usd"]
    assert int(document["total_usd"].replace(".", "")) == document["total_nano_usd"]


INVALID = [
    ({"model": "gpt-5-mini"}, "messages"),
    ({"model": "gpt-5-mini", "messages": []}, "messages"),
    ({"model": "gpt-5-mini@dance", "messages": HELLO}, "dance"),
    ({"model": "gpt-5-mini", "messages": HELLO, "max_tokens": 0}, "max_tokens"),
    ({"model": "gpt-5-mini", "messages": [{"role": "tool", "tool_call_id": "x", "content": ""}]}, "tool"),
    ({"model": "gpt-5-mini", "messages": [{"role": "user", "content": 7}]}, "parse"),
]


@pytest.mark.parametrize(("body", "word"), INVALID)
def test_what_the_real_api_refuses_is_refused(
    body: dict[str, Any], word: str, simulated: SimulatedProvider
) -> None:
    answer = httpx.post(f"{simulated.url}/v1/chat/completions", json=body, timeout=10)
    assert answer.status_code == 400
    assert word in answer.json()["error"]["message"]
    assert simulated.invoice() == []


async def test_two_simulators_do_not_share_an_invoice(simulated: SimulatedProvider) -> None:
    command = [sys.executable, "-m", "gateway.providers.simulator", "--data", str(simulated.data)]
    second = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
    assert second.returncode == 3
    assert "in use" in second.stderr


def test_a_recorded_trace_gives_length_and_pace(tmp_path: Path) -> None:
    provider = SimulatedProvider(tmp_path, "--trace", "sample")
    try:
        for number in range(5):
            body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": f"Hello {number}"}]}
            httpx.post(f"{provider.url}/v1/chat/completions", json=body, timeout=10)
        rows = provider.invoice()
    finally:
        provider.stop()
    assert len({row["output_tokens"] for row in rows}) > 1


async def test_it_loads_nothing_of_curbs_pricing() -> None:
    script = (
        "import json, sys, gateway.providers.simulator.__main__;"
        "print(json.dumps([name for name in sys.modules if name.startswith('gateway')]))"
    )
    run = [sys.executable, "-c", script]
    loaded = await asyncio.to_thread(subprocess.run, run, capture_output=True, text=True, timeout=20)
    names = json.loads(loaded.stdout)
    allowed = {"gateway", "gateway.providers"}
    assert {name for name in names if not name.startswith("gateway.providers.simulator")} <= allowed
