"""Batches at the front door: the real clients, a worker that follows them, the simulator's batch API."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import anthropic
import httpx
import openai
import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from gateway.config import BatchRules
from gateway.keys import Principal
from gateway.policy.money import usd
from tests.integration.front import ANYBODY, Front, open_front
from tests.integration.runs import Factory, serving
from tests.integration.waiting import until
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.batches import BatchKeeper, batch_starter
from worker.wiring import Servers

GPT, CLAUDE, VECTORS = "gpt-5-mini@say-40", "claude-sonnet-4-5@say-40", "text-embedding-3-small"
MANNERS = ("", "+no-usage", "+invalid", "+slow-stream-40", "+hang-0")
HELLO: Any = [{"role": "user", "content": "Hello"}]
ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass
class House:
    front: Front
    factory: Factory


@pytest.fixture(scope="module")
async def house(
    temporal: Client, redis_url: str, database: str, simulator: SimulatedProvider
) -> AsyncIterator[House]:
    models = [f"{model}{manner}" for model in (GPT, CLAUDE) for manner in MANNERS]
    given = config(simulator.url, ("quick", [*models, VECTORS]))
    given = replace(given, batches=BatchRules(poll_seconds=0.05, most_requests=50))
    servers = Servers(redis_url, database)
    async with (
        open_front(given, servers, simulator, batches=batch_starter(temporal)) as front,
        serving(temporal, servers, given, []) as factory,
    ):
        yield House(front, factory)


@pytest.fixture
def front(house: House) -> Front:
    return house.front


@contextlib.contextmanager
def calling(front: Front, principal: Principal) -> Any:
    front.keys.principal = principal
    try:
        yield
    finally:
        front.keys.principal = ANYBODY


def chat(name: str, model: str = f"openai/{GPT}", **more: Any) -> dict[str, Any]:
    body = {"model": model, "messages": HELLO, "max_completion_tokens": 100, **more}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


async def uploaded(front: Front, *lines: Mapping[str, Any]) -> str:
    content = b"\n".join(json.dumps(line).encode() for line in lines)
    return (await front.openai.files.create(file=("in.jsonl", content), purpose="batch")).id


async def opened(front: Front, *lines: Mapping[str, Any], agent: str = "batcher", **more: Any) -> Any:
    given: dict[str, Any] = {"endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
    return await front.openai.batches.create(
        input_file_id=await uploaded(front, *lines), extra_headers={"x-curb-agent": agent}, **given
    )


async def ended(front: Front, batch_id: str) -> Any:
    async def is_over() -> bool:
        return (await front.openai.batches.retrieve(batch_id)).status in ENDED

    await until(is_over)
    return await front.openai.batches.retrieve(batch_id)


async def lines_of(front: Front, file_id: str) -> dict[str, Any]:
    content = (await front.openai.files.content(file_id)).content
    return {line["custom_id"]: line for line in map(json.loads, content.splitlines())}


async def the_attempt(front: Front, agent: str) -> dict[str, Any]:
    [row] = await front.attempts_of_agent(agent)
    return row


async def test_openais_client_sends_a_batch_and_fetches_its_answers_at_half_the_price(front: Front) -> None:
    batch = await opened(
        front, chat("one"), chat("two"), chat("three"), agent="halves", metadata={"job": "nightly"}
    )
    assert batch.status in ("validating", "in_progress")
    assert batch.metadata == {"job": "nightly"}

    batch = await ended(front, batch.id)

    assert batch.status == "completed"
    assert (batch.request_counts.total, batch.request_counts.completed) == (3, 3)
    answers = await lines_of(front, batch.output_file_id)
    assert set(answers) == {"one", "two", "three"}
    assert answers["one"]["response"]["body"]["choices"][0]["message"]["content"]
    assert await front.booked() > 0
    assert await front.held() == 0
    whole = await front.post("/v1/chat/completions", chat("one")["body"], {"x-curb-agent": "whole-price"})
    assert whole.status_code == 200
    at_once = (await the_attempt(front, "whole-price"))["cost_nano_usd"]
    together = await the_attempt(front, "halves")
    assert together["cost_nano_usd"] == 3 * (at_once // 2 + at_once % 2)
    assert together["basis"] == "batch"
    assert (await front.openai.batches.list()).data[0].id == batch.id


async def test_what_is_held_is_the_bound_of_all_requests_at_half_the_price(front: Front) -> None:
    batch = await opened(
        front, chat("slow", f"openai/{GPT}+hang-0"), chat("b", f"openai/{GPT}+hang-0"), agent="held"
    )
    held = await front.until_held("held")

    row = await the_attempt(front, "held")
    assert row["reserved_nano_usd"] == held
    assert held >= 2 * usd("0.0001")  # two answers of 100 tokens at $1 the million
    await front.openai.batches.cancel(batch.id)
    assert (await ended(front, batch.id)).status == "cancelled"
    await front.booked()
    assert await front.held() == 0


async def test_a_failed_request_costs_nothing_and_is_in_the_file_of_errors(front: Front) -> None:
    batch = await opened(front, chat("bad", f"openai/{GPT}+invalid"), agent="errors")

    batch = await ended(front, batch.id)

    assert batch.output_file_id is None
    assert (await lines_of(front, batch.error_file_id))["bad"]["response"]["status_code"] == 400
    assert (await the_attempt(front, "errors"))["cost_nano_usd"] == 0
    await front.booked()


async def test_answers_without_usage_are_in_doubt_until_the_invoice_says(front: Front) -> None:
    batch = await opened(
        front, chat("a", f"openai/{GPT}+no-usage"), chat("b", f"openai/{GPT}+no-usage"), agent="mute"
    )

    await ended(front, batch.id)

    row = await the_attempt(front, "mute")
    assert row["state"] == "in_doubt"
    assert row["estimate_nano_usd"] == row["reserved_nano_usd"]
    await front.booked()
    assert (await the_attempt(front, "mute"))["basis"] == "invoice"


@pytest.mark.parametrize("endpoint", ["/v1/responses", "/v1/embeddings"])
async def test_other_apis_of_openai_have_batches_too(front: Front, endpoint: str) -> None:
    bodies = {
        "/v1/responses": {"model": f"openai/{GPT}", "input": "Hello", "max_output_tokens": 100},
        "/v1/embeddings": {"model": f"openai/{VECTORS}", "input": "Hello"},
    }
    line = {"custom_id": "x", "method": "POST", "url": endpoint, "body": bodies[endpoint]}

    batch = await ended(front, (await opened(front, line, agent="others", endpoint=endpoint)).id)

    assert batch.status == "completed"
    assert (await lines_of(front, batch.output_file_id))["x"]["response"]["body"]["usage"]
    await front.booked()


async def test_anthropics_client_sends_a_batch(front: Front) -> None:
    client = front.anthropic.messages.batches
    params: Any = {"model": f"anthropic/{CLAUDE}", "max_tokens": 100, "messages": HELLO}
    batch = await client.create(
        requests=[{"custom_id": name, "params": params} for name in ("one", "two")],
        extra_headers={"x-curb-agent": "claudes"},
    )
    assert batch.processing_status == "in_progress"

    async def is_over() -> bool:
        return (await client.retrieve(batch.id)).processing_status == "ended"

    await until(is_over)

    batch = await client.retrieve(batch.id)
    assert (batch.request_counts.succeeded, batch.request_counts.processing) == (2, 0)
    results = {each.custom_id: each.result async for each in await client.results(batch.id)}
    assert results["two"].type == "succeeded"
    assert await front.booked() > 0
    assert (await the_attempt(front, "claudes"))["cost_nano_usd"] > 0
    assert (await client.list()).data[0].id == batch.id


DEAR: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", chat("n", n=5)["body"]),
    ("/v1/chat/completions", chat("both", max_tokens=1_000)["body"]),
    (
        "/v1/chat/completions",
        {
            "model": f"openai/{GPT}",
            "messages": [{"role": "user", "content": "\U0001f600" * 500}],
            "max_tokens": 90,
        },
    ),
    (
        "/v1/chat/completions",
        chat("tools", tools=[{"type": "function", "function": {"name": "x" * 60}}] * 9)["body"],
    ),
    (
        "/v1/responses",
        {"model": f"openai/{GPT}", "input": HELLO, "reasoning": {"effort": "high"}, "max_output_tokens": 90},
    ),
    ("/v1/embeddings", {"model": f"openai/{VECTORS}", "input": ["a"] * 2_000}),
    ("/v1/embeddings", {"model": f"openai/{VECTORS}", "input": [[1, 2, 3]] * 500, "dimensions": 8}),
]


@pytest.mark.parametrize(("endpoint", "body"), DEAR, ids=range(len(DEAR)))
async def test_no_batch_costs_more_than_was_held_for_it(
    front: Front, endpoint: str, body: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    agent = f"dear-{request.node.callspec.id}"
    lines = [{"custom_id": name, "method": "POST", "url": endpoint, "body": body} for name in ("a", "b")]

    batch = await ended(front, (await opened(front, *lines, agent=agent, endpoint=endpoint)).id)

    assert batch.request_counts.completed == 2
    row = await the_attempt(front, agent)
    assert 0 < row["cost_nano_usd"] <= row["reserved_nano_usd"]
    await front.booked()


NOT_PRICED = [
    {"service_tier": "flex"},
    {"service_tier": "priority"},
    {"web_search_options": {}, "plugins": [{"id": "web"}]},
    {"prediction": {"type": "content", "content": "x"}},
    {"modalities": ["text", "audio"]},
    {"extra_body": {"service_tier": "priority"}},
    {"extra_body": {"max_tokens": 99_999}},
    {"n": 129},
    {"tools": [{"type": "web_search"}]},
]


@pytest.mark.parametrize("more", NOT_PRICED, ids=str)
async def test_what_changes_the_price_is_refused_in_its_line(front: Front, more: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError, match="line 2"):
        await opened(front, chat("one"), chat("two", **more), agent="not-priced")


async def test_a_budget_that_does_not_cover_all_of_it_refuses_it_whole(front: Front) -> None:
    await front.world.limit(agent__poor=usd("0.0001"))

    with pytest.raises(openai.APIStatusError) as refused:
        await opened(front, *(chat(str(n)) for n in range(10)), agent="poor")

    assert refused.value.status_code == 402
    assert "agent:poor" in str(refused.value)
    assert (await the_attempt(front, "poor"))["state"] == "refused"
    assert await front.held() == 0


async def test_a_switch_cancels_a_batch_and_what_was_answered_is_paid(front: Front) -> None:
    slow = [chat(str(n), f"openai/{GPT}+slow-stream-40") for n in range(3)]
    batch = await opened(front, *slow, agent="stopped")
    await until(lambda: _in_progress(front, batch.id))

    await front.world.parts.authority.set_switch("kill:agent:stopped", "manual:test:enough")
    with pytest.raises(openai.PermissionDeniedError):
        await opened(front, chat("more"), agent="stopped")
    batch = await ended(front, batch.id)
    await front.world.parts.authority.clear_switch("kill:agent:stopped")

    assert batch.status == "cancelled"
    await front.booked()
    assert await front.held() == 0


async def test_cancelling_its_workflow_cancels_the_batch(house: House) -> None:
    front = house.front
    batch = await opened(front, chat("a", f"openai/{GPT}+hang-0"), agent="by-hand")
    await until(lambda: _in_progress(front, batch.id))

    await house.factory.client.get_workflow_handle(batch.id).cancel()

    assert (await ended(front, batch.id)).status == "cancelled"
    assert await house.factory.client.get_workflow_handle(batch.id).result() == "settled"
    await front.booked()


async def test_a_batch_whose_workflow_was_terminated_is_cancelled_and_settled(house: House) -> None:
    front, client = house.front, house.factory.client
    batch = await opened(front, chat("a", f"openai/{GPT}+hang-0"), agent="terminated")
    await until(lambda: _in_progress(front, batch.id))
    await client.get_workflow_handle(batch.id).terminate("enough")
    keeper = BatchKeeper(client, house.factory.authority, house.factory.store)

    await keeper.round()

    assert (await ended(front, batch.id)).status == "cancelled"
    await front.booked()
    await keeper.round()
    described = await client.get_workflow_handle(batch.id).describe()
    assert described.status is WorkflowExecutionStatus.COMPLETED


async def _in_progress(front: Front, batch_id: str) -> bool:
    return bool((await front.openai.batches.retrieve(batch_id)).status == "in_progress")


async def test_the_same_idempotency_key_is_the_same_batch(front: Front) -> None:
    file_id = await uploaded(front, chat("one"))
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    headers = {"idempotency-key": "nightly-1", "x-curb-agent": "again"}

    first = (await front.post("/v1/batches", body, headers)).json()
    second = (await front.post("/v1/batches", body, headers)).json()
    other = await front.post("/v1/batches", {**body, "metadata": {"a": "b"}}, headers)

    assert first["id"] == second["id"]
    assert other.status_code == 422
    await ended(front, first["id"])
    assert len(await front.attempts_of_agent("again")) == 1
    await front.booked()


async def test_files_and_batches_are_their_keys_alone(front: Front) -> None:
    file_id = await uploaded(front, chat("one"))
    batch = await opened(front, chat("one"), agent="mine")
    await ended(front, batch.id)

    with calling(front, Principal("kother", "other", rate_tier="")):
        for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/content", f"/v1/batches/{batch.id}"):
            async with httpx.AsyncClient(base_url=front.url) as client:
                assert (await client.get(path)).status_code == 404
        assert [each async for each in await front.openai.batches.list()] == []
        assert (await front.openai.files.list()).data == []

    await front.openai.files.delete(file_id)
    with pytest.raises(openai.NotFoundError):
        await front.openai.files.retrieve(file_id)


LINE = chat("one")
WRONG_LINES: list[tuple[list[Any], str]] = [
    ([], "at least one request"),
    (["{"], "line 1: the body is no JSON"),
    ([LINE, LINE], "line 2: there is another request with the custom_id 'one'"),
    ([{**LINE, "url": "/v1/embeddings"}], "line 1: url"),
    ([{**LINE, "custom_id": ""}], "line 1: custom_id"),
    ([chat("a", stream=True)], "line 1: a batch has no streams"),
    ([chat("a", max_completion_tokens=0)], "line 1: max_completion_tokens"),
    ([chat("a"), chat("b", f"openai/{GPT}+invalid")], "line 2: all requests of a batch ask for one model"),
    ([chat("a", f"anthropic/{CLAUDE}")], "takes batches of /v1/chat/completions"),
    ([chat("a", "nothing-like-it")], "there is no model"),
    ([chat(str(n)) for n in range(51)], "at most 50 requests"),
]


@pytest.mark.parametrize(("lines", "said"), WRONG_LINES, ids=[said for _, said in WRONG_LINES])
async def test_a_file_that_is_no_batch_is_refused_with_its_line(
    front: Front, lines: list[Any], said: str
) -> None:
    content = b"\n".join(
        line.encode() if isinstance(line, str) else json.dumps(line).encode() for line in lines
    )
    file = await front.openai.files.create(file=("in.jsonl", content or b"\n"), purpose="batch")

    with pytest.raises(openai.APIStatusError) as wrong:
        await front.openai.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )

    assert wrong.value.status_code in (400, 404)
    assert said in str(wrong.value)
    assert await front.held() == 0


async def test_wrong_forms_and_orders_name_the_field(front: Front) -> None:
    with pytest.raises(openai.BadRequestError, match="purpose"):
        await front.openai.files.create(file=("in.jsonl", b"{}"), purpose="assistants")
    assert (await front.post("/v1/files", {"purpose": "batch"})).status_code == 400
    for changed, field in (
        ({"endpoint": "/v1/completions"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "file-nothing"}, "input_file_id"),
    ):
        body = {"input_file_id": "x", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        answer = await front.post("/v1/batches", body | changed)
        assert answer.status_code in (400, 404)
        assert answer.json()["error"]["param"] == field
    params: Any = {"model": f"anthropic/{CLAUDE}", "max_tokens": 100, "messages": HELLO}
    with pytest.raises(anthropic.BadRequestError, match="custom_id"):
        await front.anthropic.messages.batches.create(
            requests=[{"custom_id": "not a name", "params": params}]
        )


async def test_a_front_door_without_temporal_takes_no_batches(
    redis_url: str, database: str, simulator: SimulatedProvider
) -> None:
    given = config(simulator.url, ("quick", [GPT]))
    async with open_front(given, Servers(redis_url, database), simulator) as front:
        with pytest.raises(openai.APIStatusError) as refused:
            await opened(front, chat("one"))
        assert refused.value.status_code == 503
        assert "Temporal" in str(refused.value)
        assert await front.held() == 0
