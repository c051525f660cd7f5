"""The ways to buy. Each one buys something as the agent, team and user that its name gives."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.conformance.house import CLAUDE, EMBEDDER, GPT, SLOW, House
from tests.conformance.plugin_surfaces import supervised, supervised_and_killed
from tests.integration.runs import eventually, result_of
from tests.integration.waiting import until
from workflows.queues import RUNS

Buying = Callable[[House, str], Awaitable[None]]
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
RESPONSES, EMBEDDINGS = "/v1/responses", "/v1/embeddings"
HELLO: Any = [{"role": "user", "content": "Hello"}]
OPENAI, ANTHROPIC, VECTORS = f"openai/{GPT}", f"anthropic/{CLAUDE}", f"openai/{EMBEDDER}"


@dataclass(frozen=True)
class Surface:
    """attempts: how many tries at a provider it takes. pays: whether it costs anything."""

    name: str
    buy: Buying
    attempts: int = 1
    pays: bool = True


def who(name: str, **more: str) -> dict[str, str]:
    """The headers that make a request this surface's."""
    given = {"x-curb-agent": name, "x-curb-team": name, "x-curb-user": name}
    return given | {key.replace("_", "-"): value for key, value in more.items()}


def asked(path: str, model: str, **more: Any) -> dict[str, Any]:
    """The body of a request in this endpoint's words."""
    if path == EMBEDDINGS:
        return {"model": model, "input": "Hello", **more}
    if path == RESPONSES:
        return {"model": model, "input": "Hello", "max_output_tokens": 100, **more}
    return {"model": model, "messages": HELLO, "max_tokens": 100, **more}


def whole(path: str, model: str, *, status: int = 200) -> Buying:
    """One answer in one piece."""

    async def buy(house: House, name: str) -> None:
        answer = await house.front.post(path, asked(path, model), who(name))
        assert answer.status_code == status, answer.text

    return buy


def streamed(path: str, model: str) -> Buying:
    """One answer in pieces, read to its end."""

    async def buy(house: House, name: str) -> None:
        async with house.front.stream(path, asked(path, model, stream=True), who(name)) as answer:
            assert answer.status_code == 200
            assert b"".join([piece async for piece in answer.aiter_bytes()])

    return buy


def broken(path: str, model: str) -> Buying:
    """A stream that its provider breaks off: in doubt until the invoice says what it was."""
    return streamed(path, f"{model}+cut")


def abandoned(path: str, model: str) -> Buying:
    """The client goes away in the middle of the stream."""

    async def buy(house: House, name: str) -> None:
        async with house.front.stream(path, asked(path, f"{model}{SLOW}", stream=True), who(name)) as answer:
            await anext(answer.aiter_bytes())
        await until(lambda: _killed(house, name))

    return buy


def left_waiting(path: str, model: str) -> Buying:
    """The client goes away before there is anything to read."""

    async def buy(house: House, name: str) -> None:
        async with httpx.AsyncClient(base_url=house.front.url) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(path, json=asked(path, f"{model}{SLOW}"), headers=who(name), timeout=0.5)
        await until(lambda: _killed(house, name))

    return buy


def switched_off(path: str, model: str) -> Buying:
    """A switch cuts the stream."""

    async def buy(house: House, name: str) -> None:
        authority = house.front.world.parts.authority
        async with house.front.stream(path, asked(path, f"{model}{SLOW}", stream=True), who(name)) as answer:
            pieces = answer.aiter_bytes()
            await anext(pieces)
            await authority.set_switch(f"kill:agent:{name}", "manual:test:enough")
            rest = b"".join([piece async for piece in pieces])
        await authority.clear_switch(f"kill:agent:{name}")
        assert b'"switched"' in rest

    return buy


def asked_twice(path: str, model: str) -> Buying:
    """Bought once and given twice, by the client's own name for the request."""

    async def buy(house: House, name: str) -> None:
        headers = who(name, idempotency_key=uuid.uuid4().hex)
        first, second = [await house.front.post(path, asked(path, model), headers) for _ in range(2)]
        assert second.headers["x-curb-cache"] == "replayed"
        assert first.content == second.content

    return buy


def cached(path: str, model: str, *, stream: bool = False) -> Buying:
    """Bought once, and given from the cache to who asks for the same."""

    async def buy(house: House, name: str) -> None:
        body, headers = asked(path, model, temperature=0, user=name, stream=stream), who(name)
        body["messages"] = [{"role": "user", "content": f"Cached for {name}"}]
        first = await house.front.post(path, body, headers)
        answers: list[httpx.Response] = []

        async def given() -> bool:
            """The answer is kept a moment after it was given; until then it is bought again."""
            answers.append(await house.front.post(path, body, headers))
            return answers[-1].headers["x-curb-cache"] == "hit"

        await until(house_keeps(house))
        await until(given)
        assert len(answers) == 1
        assert answers[0].content == first.content

    return buy


def batched(path: str, model: str, *, cancelled: bool = False) -> Buying:
    """Three requests as a batch of their family, followed to its end."""

    async def buy(house: House, name: str) -> None:
        one = {key: value for key, value in asked(path, model).items() if key != "stream"}
        if path == MESSAGES:
            batches = f"{MESSAGES}/batches"
            order: Any = {"requests": [{"custom_id": f"r{n}", "params": one} for n in range(3)]}
        else:
            batches = "/v1/batches"
            lines = [{"custom_id": f"r{n}", "method": "POST", "url": path, "body": one} for n in range(3)]
            content = b"\n".join(json.dumps(line).encode() for line in lines)
            file = await house.front.openai.files.create(file=("in.jsonl", content), purpose="batch")
            order = {"input_file_id": file.id, "endpoint": path, "completion_window": "24h"}
        made = await house.front.post(batches, order, who(name))
        assert made.status_code == 200, made.text
        if cancelled:
            await house.front.post(f"{batches}/{made.json()['id']}/cancel", b"", who(name))
        handle = house.factory.client.get_workflow_handle(made.json()["id"])
        assert await result_of(handle) in ("settled", "not handed in")

    return buy


def house_keeps(house: House) -> Callable[[], Awaitable[bool]]:
    """Whether everything that was bought for the cache is in it."""

    async def kept() -> bool:
        return not house.front.world.parts.gateway.busy

    return kept


async def run(house: House, name: str) -> None:
    result = await house.factory.run(name, user=name)
    assert result.status == "completed", result


async def killed_run(house: House, name: str) -> None:
    handle = await house.factory.start(name, user=name)
    await eventually(lambda: _sending(house, name))
    await handle.signal("kill", "seen enough")
    assert (await result_of(handle)).status == "killed"


async def own_workflow(house: House, name: str) -> None:
    handle = await house.factory.client.start_workflow(
        "TalkAs", args=[name, f"openai/{GPT}"], id=f"{name}-{uuid.uuid4().hex[:8]}", task_queue=RUNS
    )
    assert all(await result_of(handle))


async def _killed(house: House, name: str) -> bool:
    return any(row["status"] == "killed" for row in await house.front.attempts_of_agent(name))


async def _sending(house: House, name: str) -> bool:
    rows = await house.front.attempts_of_agent(name)
    sent = {row["client_request_id"] for row in await asyncio.to_thread(house.front.world.simulator.invoice)}
    return any(row["attempt_id"] in sent for row in rows)


SURFACES = (
    Surface("run", run, attempts=4),
    Surface("run-falls-back", run, attempts=2),
    Surface("run-killed", killed_run),
    Surface("own-workflow", own_workflow, attempts=2),
    Surface("plugin-openai-agents", supervised("AskOpenAI"), attempts=2),
    Surface("plugin-pydantic-ai", supervised("AskPydantic"), attempts=2),
    Surface("plugin-langgraph", supervised("AskLangGraph"), attempts=2),
    Surface("plugin-langgraph-threads", supervised("AskLangGraphInThreads"), attempts=2),
    Surface("plugin-killed", supervised_and_killed("AskOpenAI")),
    Surface("chat", whole(CHAT, OPENAI)),
    Surface("chat-streamed", streamed(CHAT, OPENAI)),
    Surface("chat-translated", whole(CHAT, ANTHROPIC)),
    Surface("chat-translated-streamed", streamed(CHAT, ANTHROPIC)),
    Surface("chat-fallback", whole(CHAT, "balanced"), attempts=2),
    Surface("chat-without-usage", whole(CHAT, f"{OPENAI}+no-usage")),
    Surface("chat-broken", broken(CHAT, OPENAI)),
    Surface("chat-translated-broken", broken(CHAT, ANTHROPIC)),
    Surface("chat-abandoned", abandoned(CHAT, OPENAI)),
    Surface("chat-left-waiting", left_waiting(CHAT, OPENAI)),
    Surface("chat-switched-off", switched_off(CHAT, OPENAI)),
    Surface("chat-asked-twice", asked_twice(CHAT, OPENAI)),
    Surface("chat-cached", cached(CHAT, OPENAI), attempts=2),
    Surface("chat-cached-streamed", cached(CHAT, OPENAI, stream=True), attempts=2),
    Surface("messages-cached", cached(MESSAGES, ANTHROPIC), attempts=2),
    Surface("chat-invalid", whole(CHAT, f"{OPENAI}+invalid", status=400), pays=False),
    Surface("responses", whole(RESPONSES, OPENAI)),
    Surface("responses-streamed", streamed(RESPONSES, OPENAI)),
    Surface("responses-translated", whole(RESPONSES, ANTHROPIC)),
    Surface("responses-translated-streamed", streamed(RESPONSES, ANTHROPIC)),
    Surface("responses-fallback", whole(RESPONSES, "balanced"), attempts=2),
    Surface("responses-broken", broken(RESPONSES, OPENAI)),
    Surface("responses-abandoned", abandoned(RESPONSES, OPENAI)),
    Surface("responses-switched-off", switched_off(RESPONSES, OPENAI)),
    Surface("responses-asked-twice", asked_twice(RESPONSES, OPENAI)),
    Surface("embeddings", whole(EMBEDDINGS, VECTORS)),
    Surface("embeddings-without-usage", whole(EMBEDDINGS, f"{VECTORS}@say+no-usage")),
    Surface("embeddings-asked-twice", asked_twice(EMBEDDINGS, VECTORS)),
    Surface("messages", whole(MESSAGES, ANTHROPIC)),
    Surface("messages-streamed", streamed(MESSAGES, ANTHROPIC)),
    Surface("messages-translated", whole(MESSAGES, OPENAI)),
    Surface("messages-translated-streamed", streamed(MESSAGES, OPENAI)),
    Surface("messages-fallback", whole(MESSAGES, "frontier"), attempts=2),
    Surface("messages-broken", broken(MESSAGES, ANTHROPIC)),
    Surface("messages-abandoned", abandoned(MESSAGES, ANTHROPIC)),
    Surface("messages-switched-off", switched_off(MESSAGES, ANTHROPIC)),
    Surface("messages-asked-twice", asked_twice(MESSAGES, ANTHROPIC)),
    Surface("batch", batched(CHAT, OPENAI)),
    Surface("batch-without-usage", batched(CHAT, f"{OPENAI}+no-usage")),
    Surface("batch-cancelled", batched(CHAT, f"{OPENAI}+hang-0", cancelled=True), pays=False),
    Surface("batch-of-responses", batched(RESPONSES, OPENAI)),
    Surface("batch-of-embeddings", batched(EMBEDDINGS, VECTORS)),
    Surface("message-batch", batched(MESSAGES, ANTHROPIC)),
    Surface("message-batch-cancelled", batched(MESSAGES, f"{ANTHROPIC}+hang-0", cancelled=True), pays=False),
)
