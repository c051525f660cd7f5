"""OpenAI's client for Node at the front door: answers, streams, tools, responses, and every kind of no."""

import asyncio
import json
from typing import Any

import pytest

from gateway.keys import Principal
from tests.clients.programs import CLAUDE, CLAUDE_SLOW, GPT, GPT_SLOW, NODE, Program, told
from tests.integration.front import ANYBODY, Front

EVERY = pytest.mark.parametrize("model", [f"openai/{GPT}", f"anthropic/{CLAUDE}"])
SLOW = pytest.mark.parametrize("model", [f"openai/{GPT_SLOW}", f"anthropic/{CLAUDE_SLOW}"])


async def node(front: Front, scene: str, model: str = "balanced", agent: str = "node") -> Any:
    return await told(*NODE, scene, front.url, model, agent)


async def is_on_the_books(front: Front) -> None:
    assert await front.booked() > 0
    assert await front.held() == 0


@EVERY
async def test_an_answer(front: Front, model: str) -> None:
    found = await node(front, "chat", model)

    assert found["text"]
    assert found["finish"] == "stop"
    assert found["usage"]["total_tokens"] > found["usage"]["completion_tokens"] > 0
    await is_on_the_books(front)


@EVERY
async def test_a_stream_that_asks_for_a_tool(front: Front, model: str) -> None:
    found = await node(front, "stream", model)

    assert found["pieces"] > 2
    assert (found["call"]["name"], json.loads(found["call"]["arguments"])) == ("list_files", {"path": "."})
    assert found["usage"]["completion_tokens"] > 0
    await is_on_the_books(front)


@EVERY
async def test_the_clients_own_loop_carries_out_tools_until_the_model_is_done(
    front: Front, model: str
) -> None:
    found = await node(front, "tools", model)

    assert found["roles"][:3] == ["user", "assistant", "tool"]
    assert "tool results" in found["text"]
    await is_on_the_books(front)


@EVERY
async def test_responses_with_a_tool_and_a_stream_whose_events_add_up(front: Front, model: str) -> None:
    found = await node(front, "responses", model)

    assert json.loads(found["call"]["arguments"]) == {"path": "."}
    assert "1 tool results" in found["text"]
    assert (found["events"][0], found["events"][-1]) == ("response.created", "response.completed")
    assert found["usage"]["output_tokens"] > 0
    await is_on_the_books(front)


@pytest.mark.parametrize("scene", ["chat", "stream", "responses"])
async def test_a_budget_that_cannot_hold_the_call_is_402_with_its_numbers(front: Front, scene: str) -> None:
    await front.world.limit(agent__poor=10)

    found = await node(front, scene, agent="poor")

    assert (found["error"], found["status"]) == ("APIError", 402)
    numbers = found["body"]["curb"]
    assert (numbers["kind"], numbers["scope"]) == ("never_fits", "agent:poor")


async def test_a_switch_is_permission_denied_and_names_who_set_it(front: Front) -> None:
    await front.world.parts.authority.set_switch("kill:agent:off", "manual:adam:runaway_loop")

    found = await node(front, "chat", agent="off")

    assert (found["error"], found["status"]) == ("PermissionDeniedError", 403)
    assert "manual:adam:runaway_loop" in found["message"]


async def test_a_throttled_agent_with_a_call_in_flight_is_told_when_to_come_again(front: Front) -> None:
    await front.world.parts.authority.set_switch("throttle:agent:slow", "manual:test:slower")
    async with Program(*NODE, "cut", front.url, f"openai/{GPT_SLOW}", "slow") as first:
        assert await first.said() == {"begun": True}

        found = await node(front, "chat", agent="slow")

    assert (found["error"], found["status"]) == ("RateLimitError", 429)
    assert found["body"]["curb"]["kind"] == "throttled"
    assert int(found["retryAfter"]) > 0
    await is_on_the_books(front)


async def test_a_key_that_asks_too_often_is_told_when_to_come_again(front: Front) -> None:
    front.keys.principal = Principal("knode", "free", rate_tier="free")
    try:
        first = await asyncio.gather(*(node(front, "chat") for _ in range(2)))
        while "error" not in (found := await node(front, "chat")):
            first.append(found)
    finally:
        front.keys.principal = ANYBODY

    assert len(first) == 10
    assert (found["error"], found["status"]) == ("RateLimitError", 429)
    assert int(found["retryAfter"]) > 3_000
    await is_on_the_books(front)


@SLOW
async def test_a_stream_that_a_switch_cuts_ends_in_an_error(front: Front, model: str) -> None:
    async with Program(*NODE, "cut", front.url, model, "cut") as program:
        assert await program.said() == {"begun": True}
        await front.world.parts.authority.set_switch("kill:agent:cut", "manual:test:enough")
        found = await program.ended()
    await front.world.parts.authority.clear_switch("kill:agent:cut")

    assert found["error"] == "APIError"
    assert "manual:test:enough" in found["message"]
    await is_on_the_books(front)
