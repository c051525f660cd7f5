"""LangChain's own models of OpenAI and Anthropic at the front door: answers, tools, streams, embeddings."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import pytest

from tests.integration.front import Front, open_front
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

GPT, CLAUDE = "gpt-5-mini@steady-2", "claude-sonnet-4-5@steady-2"


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    tiers = [("balanced", [GPT]), ("frontier", [CLAUDE]), ("vectors", ["text-embedding-3-small"])]
    async with open_front(config(simulator.url, *tiers), Servers(redis_url, database), simulator) as opened:
        yield opened


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("model", [f"openai/{GPT}", f"anthropic/{CLAUDE}"])
async def test_a_langchain_program_only_changes_its_base_url(front: Front, kind: str, model: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.langchain_client", front.url, kind, model,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, err.decode()
    found = json.loads(out)

    assert found["call"] == {"name": "list_files", "args": {"path": "."}}
    assert "1 tool results" in found["answer"]
    assert found["usage"] > 0
    assert found["pieces"] > 2
    assert found["streamed_usage"] > 0
    assert found["vectors"] == [1536, 1536]
    await front.booked()
    assert await front.held() == 0
