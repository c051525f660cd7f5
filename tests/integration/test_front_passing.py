"""Within a family, what a client says and what it hears pass as they are; and what does not pass."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gateway.agents import Agent
from gateway.config import GatewayConfig
from gateway.policy.money import usd
from tests.integration.front import Front, open_front
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
MODEL = {CHAT: "gpt-5-mini@say-40", MESSAGES: "claude-sonnet-4-5@say-40"}
OTHER = {CHAT: MODEL[MESSAGES], MESSAGES: MODEL[CHAT]}
BOTH = pytest.mark.parametrize("path", [CHAT, MESSAGES])
EITHER_WAY = pytest.mark.parametrize("stream", [False, True])
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    agents = [Agent(name="writer", max_output_tokens=7, team="press", feature="news")]
    given = _configured(simulator.url)
    async with open_front(given, Servers(redis_url, database), simulator, agents=agents) as opened:
        yield opened


def _configured(url: str) -> GatewayConfig:
    """The tier quick gives room for 20 tokens; one deployment is in no tier; Claude sees images."""
    given = config(
        url, ("quick", [MODEL[CHAT]]), ("balanced", [MODEL[MESSAGES]]), ("loose", ["gpt-5.2@say-40"])
    )
    quick, balanced, _ = given.tiers
    claude = replace(given.deployments[f"anthropic/{MODEL[MESSAGES]}"], tokens_per_image=1_600)
    deployments = {**given.deployments, claude.name: claude}
    return replace(given, tiers=(replace(quick, max_output_tokens=20), balanced), deployments=deployments)


def asked(path: str, **more: Any) -> dict[str, Any]:
    return {
        "model": MODEL[path],
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 90,
        **more,
    }


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """The JSON of each event of a stream, without what differs from one request to the next."""
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: {")]
    return [plain(json.loads(line)) for line in lines]


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """A document without its id and time."""
    kept = {name: value for name, value in document.items() if name not in ("id", "created")}
    if "message" in kept:
        kept["message"] = plain(kept["message"])
    return kept


async def said_by_provider(front: Front, path: str, body: dict[str, Any]) -> httpx.Response:
    """The same request, straight to the provider. It is on the invoice of nobody."""
    async with httpx.AsyncClient(base_url=front.world.simulator.url) as client:
        return await client.post(path, json=body)


@BOTH
@EITHER_WAY
async def test_fields_that_nobody_here_knows_pass_both_ways(front: Front, path: str, stream: bool) -> None:
    more = {"brand_new": {"deep": [1, 2.5, "ü"]}, "top_p": 0.9, "stream": stream}

    answer = await front.post(path, asked(path, **more), {"anthropic-beta": "context-1m-2025-08-07"})

    told = events(answer)[0] if stream else answer.json()
    heard = told.get("message", told)["simulator"]
    assert heard["brand_new"] == more["brand_new"]
    assert heard["top_p"] == 0.9
    assert heard.get("anthropic-beta") == ("context-1m-2025-08-07" if path == MESSAGES else None)
    await front.booked()


async def test_n_logprobs_and_json_mode_pass(front: Front) -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}

    body = asked(CHAT, n=3, logprobs=True, top_logprobs=2, response_format=shape)
    answer = (await front.post(CHAT, body)).json()

    assert len(answer["choices"]) == 3
    assert answer["simulator"] == {"logprobs": True, "top_logprobs": 2, "response_format": shape}
    await front.booked()


@BOTH
async def test_a_stream_is_the_providers_own_event_by_event(front: Front, path: str) -> None:
    options = {"stream_options": {"include_usage": True}} if path == CHAT else {}
    body = asked(path, stream=True, **options)

    answer = await front.post(path, body)

    assert answer.headers["content-type"].startswith("text/event-stream")
    bought = await front.booked()
    direct = await said_by_provider(front, path, body)
    assert events(answer) == events(direct)
    assert [line.split(":")[0] for line in answer.text.split("\n")] == [
        line.split(":")[0] for line in direct.text.split("\n")
    ]
    assert bought > 0
    await front.booked(adopted=1)


@BOTH
async def test_an_answer_in_one_piece_is_the_providers_own(front: Front, path: str) -> None:
    answer = await front.post(path, asked(path))
    await front.booked()

    direct = await said_by_provider(front, path, asked(path))

    assert plain(answer.json()) == plain(direct.json())
    assert answer.headers["x-curb-deployment"].endswith(MODEL[path])
    assert float(answer.headers["x-curb-cost"]) > 0
    assert answer.headers["x-curb-call-id"].startswith("http:ktest:")
    await front.booked(adopted=1)


@pytest.mark.parametrize(
    ("options", "chunks"), [({}, 0), ({"include_usage": False}, 0), ({"include_usage": True}, 1)]
)
async def test_usage_is_in_a_stream_only_for_who_asks(
    front: Front, options: dict[str, bool], chunks: int
) -> None:
    told = {"stream_options": options} if options else {}

    answer = await front.post(CHAT, asked(CHAT, stream=True, **told))

    assert sum("usage" in event for event in events(answer)) == chunks
    assert answer.text.endswith("data: [DONE]\n\n")
    await front.booked()


NOT_PRICED: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"audio": {"voice": "alloy"}}, "audio"),
    (CHAT, {"modalities": ["text", "audio"]}, "modalities"),
    (CHAT, {"prediction": {"type": "content", "content": "x"}}, "prediction"),
    (CHAT, {"service_tier": "priority"}, "service_tier"),
    (CHAT, {"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
    (CHAT, {"models": ["gpt-5.2"]}, "models"),
    (CHAT, {"best_of": 5}, "best_of"),
    (CHAT, {"extra_body": {"google": {"cached_content": "x"}}}, "extra_body.google.cached_content"),
    (CHAT, {"extra_body": {"n": 9}}, "extra_body.n"),
    (CHAT, {"extra_body": {"max_tokens": 9_000}}, "extra_body.max_tokens"),
    (CHAT, {"tools": [{"type": "browser_search"}]}, "tools[0].type"),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
     "messages[0].content[0].type"),
    (CHAT, {"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "messages[0].audio"),
    (MESSAGES, {"service_tier": "priority"}, "service_tier"),
    (MESSAGES, {"speed": "fast"}, "speed"),
    (MESSAGES, {"inference_geo": "us"}, "inference_geo"),
    (MESSAGES, {"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
    (MESSAGES, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    (MESSAGES, {"system": [{"type": "text", "text": "x", "cache_control": {"ttl": "1h"}}]},
     "system[0].cache_control.ttl"),
    (MESSAGES, {"messages": [{"role": "user", "content": [
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "x"}}]}]},
     "messages[0].content[0].source.type"),
    (MESSAGES, {"context_management": {"edits": [{"type": "compact_20260112"}]}},
     "context_management.edits[0].type"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "more", "field"), NOT_PRICED)
async def test_what_may_cost_more_than_its_tokens_is_refused_by_name(
    front: Front, path: str, more: dict[str, Any], field: str
) -> None:
    rows = len(front.world.simulator.invoice())

    answer = await front.post(path, asked(path, **more))

    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]
    assert len(front.world.simulator.invoice()) == rows
    assert await front.held() == 0


UNTRANSLATABLE: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
    (CHAT, {"logit_bias": {"5": 1}}, "logit_bias"),
    (CHAT, {"seed": 7}, "seed"),
    (CHAT, {"temperature": 1.5}, "temperature"),
    (CHAT, {"n": 2}, "n is 2"),
    (CHAT, {"brand_new": 1}, "brand_new"),
    (CHAT, {"messages": [{"role": "function", "content": "x", "name": "f"}]}, "messages[0].role"),
    (MESSAGES, {"top_k": 5}, "top_k"),
    (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
    (
        MESSAGES,
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "{"}]},
        "messages",
    ),
    (MESSAGES, {"metadata": {"team": "x"}}, "metadata.team"),
]


@pytest.mark.parametrize(("path", "more", "field"), UNTRANSLATABLE)
async def test_what_the_other_family_has_no_word_for_is_refused_by_name(
    front: Front, path: str, more: dict[str, Any], field: str
) -> None:
    answer = await front.post(path, asked(path, model=OTHER[path], **more))

    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]
    assert await front.held() == 0


async def test_hints_that_a_translation_leaves_out_are_named_in_a_header(front: Front) -> None:
    answer = await front.post(
        CHAT, asked(CHAT, model=OTHER[CHAT], store=True, user="alice", prompt_cache_key="k")
    )

    assert answer.status_code == 200
    assert answer.headers["x-curb-left-out"] == "store, prompt_cache_key"
    await front.booked()


async def test_tool_choice_top_p_and_user_are_translated(front: Front) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    choice = {"type": "function", "function": {"name": "look"}}
    more = {
        "tools": [tool],
        "tool_choice": choice,
        "parallel_tool_calls": False,
        "top_p": 0.5,
        "user": "alice",
    }

    await front.post(CHAT, asked(CHAT, model=OTHER[CHAT], **more))
    chosen = {"type": "tool", "name": "look", "disable_parallel_tool_use": True}
    back = {
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "tool_choice": chosen,
        "top_p": 0.5,
    }
    answer = await front.post(
        MESSAGES, asked(MESSAGES, model=OTHER[MESSAGES], metadata={"user_id": "bob"}, **back)
    )

    assert answer.status_code == 200
    await front.booked()
    rows = await front.world.parts.store.attempts.recent(limit=2)
    assert {row["user_id"] for row in rows} == {"alice", "bob"}


@pytest.mark.parametrize(
    ("headers", "model", "tokens"),
    [({}, "quick", 20), ({}, MODEL[CHAT], 20), ({"x-curb-agent": "writer"}, MODEL[CHAT], 7)],
)
async def test_without_a_limit_the_agents_or_the_tiers_holds(
    front: Front, headers: dict[str, str], model: str, tokens: int
) -> None:
    body = asked(CHAT, model=model)
    del body["max_tokens"]

    answer = (await front.post(CHAT, body, headers)).json()

    assert answer["usage"]["completion_tokens"] == tokens
    assert answer["choices"][0]["finish_reason"] == "length"
    await front.booked()


@EITHER_WAY
async def test_the_budget_that_has_least_left_is_told(front: Front, stream: bool) -> None:
    agent = f"saver-{stream}"
    await front.world.limit(**{f"agent__{agent}": usd("0.01"), "global_": usd("5")})

    answer = await front.post(CHAT, asked(CHAT, stream=stream), {"x-curb-agent": agent})

    amount, _, scope = answer.headers["x-curb-budget-left"].partition("; ")
    use = await front.world.parts.authority.utilization(agent)
    assert scope == f"agent:{agent} per day"
    if stream:  # while it is held; how much of it will be free again nobody knows yet
        [row] = await front.attempts(answer.headers["x-curb-call-id"])
        assert usd(amount) == usd("0.01") - row["reserved_nano_usd"]
    else:
        assert usd(amount) == usd("0.01") - use.spent_nano_usd
    await front.booked()


async def test_without_any_limit_a_request_is_refused(front: Front) -> None:
    body = asked(CHAT, model="gpt-5.2@say-40")
    del body["max_tokens"]

    answer = await front.post(CHAT, body)

    assert answer.status_code == 400
    assert "max_output_tokens is missing" in answer.json()["error"]["message"]


async def test_an_image_is_held_at_its_tokens_and_not_at_its_bytes(front: Front) -> None:
    def with_image(data: str) -> dict[str, Any]:
        source = {"type": "base64", "media_type": "image/png", "data": data}
        content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
        return asked(MESSAGES, messages=[{"role": "user", "content": content}])

    small = await front.post(MESSAGES, with_image(PIXEL))
    large = await front.post(MESSAGES, with_image("A" * 400_000))

    small_row, large_row = [
        (await front.attempts(each.headers["x-curb-call-id"]))[0] for each in (small, large)
    ]
    assert small_row["reserved_nano_usd"] == large_row["reserved_nano_usd"]
    await front.booked()


async def test_an_image_that_has_no_upper_bound_is_refused(front: Front) -> None:
    content = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]

    answer = await front.post(CHAT, asked(CHAT, messages=[{"role": "user", "content": content}]))

    assert answer.status_code == 400
    assert "tokens_per_image" in answer.json()["error"]["message"]
