"""The real OpenAI and Anthropic clients at the front door: answers, streams, tools, both ways."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from tests.integration.front import Front, in_thread, open_front
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

OPENAI_MODEL, ANTHROPIC_MODEL = "gpt-5-mini@steady-2", "claude-sonnet-4-5@steady-2"
HELLO: list[Any] = [{"role": "user", "content": "What is in the directory?"}]
FUNCTION: Any = {
    "type": "function",
    "function": {
        "name": "list_files",
        "description": "Files of a directory.",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}
TOOL: Any = {
    "name": "list_files",
    "description": "Files of a directory.",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    tiers = [
        ("balanced", [OPENAI_MODEL, "gpt-5-mini@say-40"]),
        ("frontier", [ANTHROPIC_MODEL, "claude-sonnet-4-5@say-40"]),
    ]
    async with open_front(config(simulator.url, *tiers), Servers(redis_url, database), simulator) as opened:
        yield opened


MODELS = pytest.mark.parametrize("model", [f"openai/{OPENAI_MODEL}", f"anthropic/{ANTHROPIC_MODEL}"])


@MODELS
async def test_an_openai_client_uses_tools_with_any_model(front: Front, model: str) -> None:
    client = front.openai
    asked = await client.chat.completions.create(
        model=model, messages=HELLO, tools=[FUNCTION], max_tokens=300
    )
    [choice] = asked.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    [use] = choice.message.tool_calls
    assert use.type == "function"
    assert json.loads(use.function.arguments) == {"path": "."}

    result = {"role": "tool", "tool_call_id": use.id, "content": "notes.md"}
    told = [*HELLO, choice.message.model_dump(exclude_none=True), result]
    answer = await client.chat.completions.create(
        model=model, messages=told, tools=[FUNCTION], max_tokens=300
    )

    assert answer.choices[0].finish_reason == "stop"
    assert "1 tool results" in (answer.choices[0].message.content or "")
    assert answer.usage
    assert answer.usage.total_tokens > answer.usage.completion_tokens > 0
    await front.booked()


@MODELS
async def test_an_openai_client_streams_tools_from_any_model(front: Front, model: str) -> None:
    stream = await front.openai.chat.completions.create(
        model=model,
        messages=HELLO,
        tools=[FUNCTION],
        max_tokens=300,
        stream=True,
        stream_options={"include_usage": True},
    )
    text, name, arguments, finish, usage = "", "", "", "", None
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or []:
                assert call.function
                name += call.function.name or ""
                arguments += call.function.arguments or ""

    assert (name, json.loads(arguments), finish) == ("list_files", {"path": "."}, "tool_calls")
    assert text.startswith("Step 1")
    assert usage
    assert usage.completion_tokens > 0
    await front.booked()


@MODELS
async def test_an_anthropic_client_uses_tools_with_any_model(front: Front, model: str) -> None:
    client = front.anthropic
    asked = await client.messages.create(model=model, messages=HELLO, tools=[TOOL], max_tokens=300)
    assert asked.stop_reason == "tool_use"
    [use] = [block for block in asked.content if block.type == "tool_use"]
    assert use.input == {"path": "."}

    result = {"type": "tool_result", "tool_use_id": use.id, "content": "notes.md"}
    told = [*HELLO, {"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
    answer = await client.messages.create(model=model, messages=told, tools=[TOOL], max_tokens=300)

    assert answer.stop_reason == "end_turn"
    assert answer.content[0].type == "text"
    assert "1 tool results" in answer.content[0].text
    assert answer.usage.output_tokens > 0
    await front.booked()


@MODELS
async def test_an_anthropic_client_streams_tools_from_any_model(front: Front, model: str) -> None:
    async with front.anthropic.messages.stream(
        model=model, messages=HELLO, tools=[TOOL], max_tokens=300
    ) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        message = await stream.get_final_message()

    assert text.startswith("Step 1")
    assert message.stop_reason == "tool_use"
    [use] = [block for block in message.content if block.type == "tool_use"]
    assert use.input == {"path": "."}
    assert message.usage.output_tokens > 0
    assert message.usage.input_tokens > 0
    await front.booked()


async def test_synchronous_clients_work_alike(front: Front) -> None:
    chat = openai.OpenAI(base_url=f"{front.url}/v1", api_key="curb", max_retries=0)
    messages = anthropic.Anthropic(base_url=front.url, api_key="curb", max_retries=0)
    try:
        said = await in_thread(
            lambda: chat.chat.completions.create(model="balanced", messages=HELLO, max_tokens=100)
        )
        told = await in_thread(
            lambda: messages.messages.create(model="frontier", messages=HELLO, max_tokens=100)
        )
    finally:
        chat.close()
        messages.close()
    assert said.choices[0].message.content
    assert told.content[0].text
    await front.booked()


async def test_models_are_listed_in_the_clients_own_shape(front: Front) -> None:
    listed = [model.id async for model in front.openai.models.list()]
    told = [model.id async for model in front.anthropic.models.list()]

    assert listed == told
    assert {"balanced", "frontier", f"openai/{OPENAI_MODEL}"} <= set(listed)
    assert (await front.openai.models.retrieve("balanced")).owned_by == "curb"


async def test_tokens_are_counted_for_free_and_as_they_are_billed(front: Front) -> None:
    rows = len(front.world.simulator.invoice())
    asked: Any = {"model": "frontier", "messages": HELLO, "system": "Be brief.", "tools": [TOOL]}

    counted = await front.anthropic.messages.count_tokens(**asked)

    assert len(front.world.simulator.invoice()) == rows
    bought = await front.anthropic.messages.create(**asked, max_tokens=50)
    assert counted.input_tokens == bought.usage.input_tokens > 0
    await front.booked()


async def test_tokens_are_not_counted_by_models_that_cannot_or_while_a_switch_is_set(front: Front) -> None:
    with pytest.raises(anthropic.BadRequestError, match="only Anthropic's deployments count tokens"):
        await front.anthropic.messages.count_tokens(model="balanced", messages=HELLO)
    await front.world.parts.authority.set_switch("kill:provider:anthropic", "manual:test:off")
    try:
        with pytest.raises(anthropic.PermissionDeniedError, match="manual:test:off"):
            await front.anthropic.messages.count_tokens(model="frontier", messages=HELLO)
    finally:
        await front.world.parts.authority.clear_switch("kill:provider:anthropic")


async def test_a_count_that_the_provider_refuses_is_told_in_its_words(front: Front) -> None:
    with pytest.raises(anthropic.BadRequestError, match="first message must use the user role"):
        await front.anthropic.messages.count_tokens(
            model="frontier", messages=[{"role": "assistant", "content": "x"}]
        )
