"""OpenAI's Responses API at the front door, with the real client: passed on, translated, streamed, cut."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from gateway.config import GatewayConfig
from tests.integration.front import Front, in_thread, open_front
from tests.integration.waiting import until
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

RESPONSES = "/v1/responses"
GPT, CLAUDE, PLAIN = "gpt-5-mini@steady-2", "claude-sonnet-4-5@steady-2", "gpt-5.2@steady-2"
SAY = "@say-40"
TOOL: Any = {
    "type": "function",
    "name": "list_files",
    "description": "Files of a directory.",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
MANNERS = ("", "+slow-stream-40", "+cut", "+error", "+no-usage", "+invalid", "+500")


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    given = _configured(simulator.url)
    async with open_front(given, Servers(redis_url, database), simulator) as opened:
        yield opened


def _configured(url: str) -> GatewayConfig:
    """gpt-5-mini has the Responses API; gpt-5.2 is with somebody who has chat completions alone."""
    says = [f"{model}{SAY}{manner}" for model in ("gpt-5-mini", "claude-sonnet-4-5") for manner in MANNERS]
    given = config(
        url, ("quick", [GPT, CLAUDE, PLAIN, *says]), ("balanced", [f"gpt-5-mini{SAY}+500", CLAUDE])
    )
    plain = replace(given.providers["openai"], name="plain", responses=False)
    deployment = replace(
        given.deployments[f"openai/{PLAIN}"],
        name=f"plain/{PLAIN}",
        provider="plain",
        price_model="openai/gpt-5.2",
    )
    return replace(
        given,
        providers={**given.providers, "plain": plain},
        deployments={**given.deployments, deployment.name: deployment},
    )


EVERY = pytest.mark.parametrize("model", [f"openai/{GPT}", f"anthropic/{CLAUDE}", f"plain/{PLAIN}"])
SAYING = pytest.mark.parametrize("model", [f"openai/gpt-5-mini{SAY}", f"anthropic/claude-sonnet-4-5{SAY}"])


@EVERY
async def test_a_client_uses_tools_with_any_model(front: Front, model: str) -> None:
    asked = await front.openai.responses.create(
        model=model, input="What is here?", tools=[TOOL], max_output_tokens=300, instructions="Be brief."
    )
    [use] = [item for item in asked.output if item.type == "function_call"]
    assert json.loads(use.arguments) == {"path": "."}
    assert asked.status == "completed"

    told: Any = [
        {"role": "user", "content": "What is here?"},
        *[item.model_dump(exclude_none=True) for item in asked.output],
        {"type": "function_call_output", "call_id": use.call_id, "output": "notes.md"},
    ]
    answer = await front.openai.responses.create(
        model=model, input=told, tools=[TOOL], max_output_tokens=300, instructions="Be brief."
    )

    assert "1 tool results" in answer.output_text
    assert answer.usage
    assert answer.usage.total_tokens > answer.usage.output_tokens > 0
    await front.booked()


@EVERY
async def test_a_stream_adds_up_to_the_answer(front: Front, model: str) -> None:
    """The client's own accumulator checks that every event fits those before it."""
    async with front.openai.responses.stream(
        model=model, input="What is here?", tools=[TOOL], max_output_tokens=300
    ) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()

    [use] = [item for item in final.output if item.type == "function_call"]
    arguments = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert "".join(arguments) == use.arguments
    numbers = [event.sequence_number for event in events if hasattr(event, "sequence_number")]
    assert numbers == sorted(set(numbers))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert final.usage
    await front.booked()


@SAYING
async def test_a_streamed_text_adds_up(front: Front, model: str) -> None:
    async with front.openai.responses.stream(model=model, input="Talk.", max_output_tokens=300) as stream:
        pieces = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()

    assert "".join(pieces) == final.output_text
    assert len(pieces) > 1


@SAYING
async def test_an_answer_that_was_too_long_is_incomplete(front: Front, model: str) -> None:
    answer = await front.openai.responses.create(model=model, input="Talk.", max_output_tokens=16)

    assert answer.status == "incomplete"
    assert answer.incomplete_details
    assert answer.incomplete_details.reason == "max_output_tokens"


async def test_the_synchronous_client_works_too(front: Front) -> None:
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key="curb", max_retries=0) as client:
        answer = await in_thread(
            lambda: client.responses.create(model=f"openai/{GPT}", input="Hello", max_output_tokens=50)
        )

    assert answer.output_text


async def test_what_nobody_here_knows_passes_and_the_answer_says_who_gave_it(front: Front) -> None:
    answer = await front.post(
        RESPONSES,
        {"model": f"openai/{GPT}", "input": "Hello", "max_output_tokens": 50, "sparkle": 3, "store": False},
    )

    assert answer.status_code == 200
    assert answer.json()["simulator"] == {"sparkle": 3, "store": False}
    assert answer.headers["x-curb-deployment"] == f"openai/{GPT}"
    assert float(answer.headers["x-curb-cost"]) > 0


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
         "input[0].content[0].type"),
        ({"input": []}, "input"),
        ({"stream": "yes"}, "stream"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)  # fmt: skip
async def test_what_has_no_upper_bound_is_refused_by_name(
    front: Front, more: dict[str, Any], field: str
) -> None:
    body = {"model": f"openai/{GPT}", "input": "Hello", "max_output_tokens": 50, **more}

    answer = await front.post(RESPONSES, body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}}, "text"),
        ({"reasoning": {"effort": "high"}}, "reasoning"),
        ({"truncation": "auto"}, "truncation"),
        ({"tools": [{**TOOL, "strict": True}]}, "tools[0].strict"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice.type"),
        ({"input": [{"type": "custom_tool_call", "call_id": "c", "name": "n", "input": "x"}]},
         "input[0].type"),
    ],
)  # fmt: skip
async def test_what_cannot_be_translated_names_the_field(
    front: Front, more: dict[str, Any], field: str
) -> None:
    body = {"model": f"anthropic/{CLAUDE}", "input": "Hello", "max_output_tokens": 50, **more}

    answer = await front.post(RESPONSES, body)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(f"{field}: cannot be translated")


async def test_hints_are_left_out_and_told(front: Front) -> None:
    body = {"model": f"anthropic/{CLAUDE}", "input": "Hello", "max_output_tokens": 50, "store": False,
            "include": ["reasoning.encrypted_content"]}  # fmt: skip

    answer = await front.post(RESPONSES, body)

    assert answer.headers["x-curb-left-out"] == "store, include"


async def test_a_fallback_to_another_family_is_translated(front: Front) -> None:
    answer = await front.openai.responses.create(model="balanced", input="Hello", max_output_tokens=50)

    assert answer.output_text
    assert answer.model == CLAUDE


@SAYING
async def test_a_client_that_goes_away_is_billed_for_what_came(front: Front, model: str) -> None:
    body = {"model": f"{model}+slow-stream-40", "input": "Talk.", "max_output_tokens": 300, "stream": True}
    async with front.stream(RESPONSES, body, {"x-curb-agent": f"gone-{model[:6]}"}) as answer:
        call = answer.headers["x-curb-call-id"]
        async for piece in answer.aiter_text():
            if "output_text.delta" in piece:
                break

    async def killed() -> bool:
        return [row["status"] for row in await front.attempts(call)] == ["killed"]

    await until(killed)
    await front.booked()


@SAYING
async def test_a_broken_stream_ends_in_an_error_event_and_is_booked(front: Front, model: str) -> None:
    for manner in ("+cut", "+error"):
        with pytest.raises(openai.APIError):
            async with front.openai.responses.stream(
                model=f"{model}{manner}", input="Talk.", max_output_tokens=300
            ) as stream:
                _ = [event async for event in stream]

    await front.booked()


async def test_asking_again_is_free_and_the_same_stream(front: Front) -> None:
    body = {"model": f"openai/gpt-5-mini{SAY}", "input": "Talk.", "max_output_tokens": 99, "stream": True}
    headers = {"idempotency-key": "responses-once"}

    first, second = [await front.post(RESPONSES, body, headers) for _ in range(2)]

    assert first.content == second.content
    assert second.headers["x-curb-cache"] == "replayed"
    assert (await front.post(RESPONSES, {**body, "input": "Else."}, headers)).status_code == 422


async def test_without_a_limit_there_is_a_default_or_an_error_that_says_so(front: Front) -> None:
    answer = await front.post(RESPONSES, {"model": f"openai/{GPT}", "input": "Hello"})

    assert answer.status_code == 400
    assert "max_output_tokens is missing" in answer.json()["error"]["message"]


async def test_a_providers_no_passes_in_its_own_words(front: Front) -> None:
    with pytest.raises(openai.BadRequestError, match="Invalid value for a parameter"):
        await front.openai.responses.create(
            model=f"openai/gpt-5-mini{SAY}+invalid", input="Hello", max_output_tokens=50
        )


async def test_usage_that_never_comes_is_in_doubt_until_the_invoice(front: Front) -> None:
    answer: httpx.Response = await front.post(
        RESPONSES, {"model": f"openai/gpt-5-mini{SAY}+no-usage", "input": "Hello", "max_output_tokens": 99}
    )

    assert answer.status_code == 200
    assert await front.booked() > 0
