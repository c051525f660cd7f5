"""The client of both families against the simulated provider: real processes, real HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from gateway.calls import Message, ModelRequest, Text, ToolResult, ToolSpec
from gateway.config import Deployment, Provider
from gateway.policy.usage import Usage
from gateway.providers import family
from gateway.providers.base import Http, Progress, ProviderAnswer
from gateway.providers.errors import ErrorKind, ProviderError
from tests.integration.waiting import until
from tests.simulated import SimulatedProvider

OPENAI, ANTHROPIC, GEMINI, GROQ = (
    "gpt-5-mini",
    "claude-sonnet-4-5",
    "gemini-2.5-flash",
    "llama-3.1-8b-instant",
)
FAMILIES = pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
EVERY_DIALECT = pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, GEMINI, GROQ])
LIST = ToolSpec(
    name="list_files", input_schema={"type": "object", "properties": {"path": {"type": "string"}}}
)
READ = ToolSpec(
    name="read_file",
    input_schema={"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)
WRITE = ToolSpec(
    name="write_file",
    input_schema={
        "type": "object",
        "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["path", "content"],
    },
)
TASK = Message(role="user", parts=(Text(text="Summarise what is here — ß, 日本."),))
Buy = Callable[..., Awaitable[ProviderAnswer]]


class Lapsed(Exception):
    """The lease lapsed while a connection was waited for."""


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedProvider]:
    provider = SimulatedProvider()
    yield provider
    provider.stop()


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http() as pool:
        yield pool


@pytest.fixture
def buy(simulated: SimulatedProvider, http: Http) -> Buy:
    async def send(
        model: str,
        request: ModelRequest | None = None,
        *,
        attempt_id: str = "call#1",
        timeout_seconds: float = 10.0,
        max_output_tokens: int = 1000,
        before_send: Callable[[], None] = lambda: None,
        progress: Progress | None = None,
    ) -> ProviderAnswer:
        speaks, provider, deployment = simulated.deployment(model)
        body = speaks.encode(request or ModelRequest(messages=(TASK,)), deployment, max_output_tokens)
        return await speaks.send(
            http,
            provider,
            deployment,
            body,
            attempt_id=attempt_id,
            timeout_seconds=timeout_seconds,
            before_send=before_send,
            progress=progress,
        )

    return send


async def final_row(simulated: SimulatedProvider, attempt_id: str) -> dict[str, object]:
    """The row of an attempt once it is final."""

    async def final() -> bool:
        rows = await asyncio.to_thread(simulated.invoice, attempt_id)
        return bool(rows) and rows[0]["state"] == "final"

    await until(final)
    (row,) = simulated.invoice(attempt_id)
    return row


def billed(row: dict[str, object]) -> Usage:
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    return Usage(*(int(str(row[name])) for name in names))


def without_reasoning(usage: Usage | None) -> Usage | None:
    """Anthropic does not tell reasoning apart; it is billed as output by all."""
    if usage is None:
        return None
    return Usage(usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens)


@EVERY_DIALECT
async def test_a_worker_uses_the_tools_it_has_and_every_step_is_billed_as_reported(
    model: str, buy: Buy, simulated: SimulatedProvider
) -> None:
    messages: tuple[Message, ...] = (TASK,)
    results = {"list_files": "a.txt  12\nsub/\nb.txt  9", "read_file": "content", "write_file": "Wrote."}
    names: list[str] = []
    for step in range(4):
        attempt_id = f"worker-{model}-{step}#1"
        request = ModelRequest(system="You work.", messages=messages, tools=(LIST, READ, WRITE))
        answer = await buy(f"{model}@steady-4", request, attempt_id=attempt_id)
        assert billed(await final_row(simulated, attempt_id)) == without_reasoning(answer.usage)
        names += [use.name for use in answer.message.tool_uses]
        answers = (
            ToolResult(tool_use_id=use.id, name=use.name, content=results[use.name])
            for use in answer.message.tool_uses
        )
        messages = (*messages, answer.message, Message(role="tool", parts=tuple(answers)))
    assert names == ["list_files", "read_file", "write_file"]
    assert answer.finish_reason == "stop"
    assert "Done in 4 steps" in answer.message.text


@EVERY_DIALECT
async def test_reasoning_is_billed_as_output(model: str, buy: Buy, simulated: SimulatedProvider) -> None:
    answer = await buy(f"{model}@think-50-1", attempt_id=f"think-{model}#1")
    row = await final_row(simulated, f"think-{model}#1")
    assert answer.usage is not None
    assert row["reasoning_tokens"] == 50
    assert answer.usage.output_tokens == row["output_tokens"]
    assert answer.usage.reasoning_tokens == (0 if model == ANTHROPIC else 50)


@FAMILIES
async def test_a_long_prefix_seen_before_is_read_from_the_cache(
    model: str, buy: Buy, simulated: SimulatedProvider
) -> None:
    system = f"Rules of {model}. " + "Be exact and brief. " * 400
    first = ModelRequest(system=system, messages=(TASK,), tools=(LIST,))
    answer = await buy(model, first, attempt_id=f"cold-{model}#1")
    more = Message(
        role="tool", parts=(ToolResult(tool_use_id=answer.message.tool_uses[0].id, content="a.txt"),)
    )
    second = ModelRequest(system=system, messages=(TASK, answer.message, more), tools=(LIST,))
    again = await buy(model, second, attempt_id=f"warm-{model}#1")
    assert answer.usage is not None
    assert again.usage is not None
    assert answer.usage.cache_read_tokens == 0
    assert (answer.usage.cache_write_tokens > 2000) is (model == ANTHROPIC)
    assert again.usage.cache_read_tokens > 1900
    assert billed(await final_row(simulated, f"warm-{model}#1")) == without_reasoning(again.usage)


@FAMILIES
async def test_max_output_tokens_ends_the_answer_and_the_bill(
    model: str, buy: Buy, simulated: SimulatedProvider
) -> None:
    answer = await buy(f"{model}@say-500", max_output_tokens=40, attempt_id=f"length-{model}#1")
    row = await final_row(simulated, f"length-{model}#1")
    assert answer.finish_reason == "length"
    assert len(answer.message.text) == 160
    assert row["output_tokens"] == 40


async def test_several_choices_are_all_billed(buy: Buy, simulated: SimulatedProvider) -> None:
    request = ModelRequest(messages=(TASK,), n=3)
    answer = await buy(f"{OPENAI}@say-20", request, attempt_id="choices#1")
    assert len(answer.alternatives) == 2
    assert answer.usage is not None
    assert answer.usage.output_tokens == 60
    assert (await final_row(simulated, "choices#1"))["output_tokens"] == 60


@FAMILIES
async def test_ids_and_times_come_with_the_answer(model: str, buy: Buy, simulated: SimulatedProvider) -> None:
    before = time.time() * 1000 - 1
    answer = await buy(model, attempt_id=f"ids-{model}#1")
    row = await final_row(simulated, f"ids-{model}#1")
    assert answer.provider_request_id == row["id"]
    assert answer.first_token_ms is not None
    assert before <= answer.first_token_ms <= answer.done_ms <= time.time() * 1000 + 1


HTTP_ERRORS = [
    ("429-7", ErrorKind.RATE_LIMITED, True, True),
    ("overloaded", ErrorKind.OVERLOADED, True, True),
    ("500", ErrorKind.SERVER_ERROR, True, True),
    ("auth", ErrorKind.AUTH, False, True),
    ("context-length", ErrorKind.CONTEXT_LENGTH, False, False),
    ("invalid", ErrorKind.INVALID_REQUEST, False, False),
    ("refuse", ErrorKind.CONTENT_REFUSED, False, False),
]


@FAMILIES
@pytest.mark.parametrize(("manner", "kind", "retryable", "fallback"), HTTP_ERRORS)
async def test_error_answers_are_classified_and_cost_nothing(
    model: str,
    manner: str,
    kind: ErrorKind,
    retryable: bool,
    fallback: bool,
    buy: Buy,
    simulated: SimulatedProvider,
) -> None:
    with pytest.raises(ProviderError) as caught:
        await buy(f"{model}@{manner}", attempt_id=f"error-{model}-{manner}#1")
    error = caught.value
    assert (error.kind, error.retryable, error.fallback) == (kind, retryable, fallback)
    assert (error.sent, error.complete) == (True, True)
    assert error.retry_after_seconds == (7.0 if manner == "429-7" else None)
    assert error.provider_request_id.startswith("req_")
    assert simulated.invoice(f"error-{model}-{manner}#1") == []


async def test_an_unknown_model_may_fall_back_to_another(buy: Buy) -> None:
    with pytest.raises(ProviderError, match="does not exist") as caught:
        await buy("gpt-99")
    assert (caught.value.retryable, caught.value.fallback) == (False, True)


@FAMILIES
async def test_once_means_the_first_attempt_of_a_call(model: str, buy: Buy) -> None:
    with pytest.raises(ProviderError):
        await buy(f"{model}@500-once", attempt_id="once-a#1")
    answer = await buy(f"{model}@500-once", attempt_id="once-a#2")
    assert answer.usage is not None
    with pytest.raises(ProviderError):
        await buy(f"{model}@500-once", attempt_id="once-b#1")


@FAMILIES
@pytest.mark.parametrize(
    ("manner", "kind"),
    [
        ("cut-20", ErrorKind.CUT_STREAM),
        ("cut-final", ErrorKind.CUT_STREAM),
        ("bad-json", ErrorKind.BAD_RESPONSE),
    ],
)
async def test_a_broken_stream_is_not_complete_and_is_billed(
    model: str, manner: str, kind: ErrorKind, buy: Buy, simulated: SimulatedProvider
) -> None:
    progress = Progress()
    attempt_id = f"broken-{model}-{manner}#1"
    with pytest.raises(ProviderError) as caught:
        await buy(f"{model}@say-100+{manner}", attempt_id=attempt_id, progress=progress)
    error = caught.value
    row = await final_row(simulated, attempt_id)
    produced = {"cut-20": 20, "cut-final": 100, "bad-json": 50}[manner]
    assert (error.kind, error.sent, error.complete, error.retryable) == (kind, True, False, True)
    assert row["output_tokens"] == produced
    assert error.partial.output_tokens_seen == produced
    assert progress.text_characters == produced * 4
    assert error.provider_request_id == row["id"]


@FAMILIES
async def test_an_error_event_in_mid_stream_is_in_doubt(
    model: str, buy: Buy, simulated: SimulatedProvider
) -> None:
    with pytest.raises(ProviderError) as caught:
        await buy(f"{model}@say-100+error", attempt_id=f"mid-{model}#1")
    expected = ErrorKind.OVERLOADED if model == ANTHROPIC else ErrorKind.SERVER_ERROR
    assert (caught.value.kind, caught.value.complete) == (expected, False)
    assert (await final_row(simulated, f"mid-{model}#1"))["output_tokens"] == 50


@FAMILIES
@pytest.mark.parametrize("manner", ["no-usage", "bad-usage"])
async def test_usage_that_makes_no_sense_is_none(model: str, manner: str, buy: Buy) -> None:
    answer = await buy(f"{model}@say-10+{manner}")
    assert answer.usage is None
    assert answer.message.text
    assert bool(answer.provider_usage) is (manner == "bad-usage" or model == ANTHROPIC)


@FAMILIES
async def test_wrong_usage_is_taken_as_reported(model: str, buy: Buy, simulated: SimulatedProvider) -> None:
    answer = await buy(f"{model}@say-100+wrong-usage", attempt_id=f"wrong-{model}#1")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 50
    assert (await final_row(simulated, f"wrong-{model}#1"))["output_tokens"] == 100


@FAMILIES
async def test_a_refusal_in_the_answer_is_an_answer(model: str, buy: Buy) -> None:
    answer = await buy(f"{model}@say-10+refuse-late")
    assert answer.finish_reason == "content_filter"
    assert answer.usage is not None


@FAMILIES
async def test_the_timeout_covers_the_whole_answer(
    model: str, buy: Buy, simulated: SimulatedProvider
) -> None:
    with pytest.raises(ProviderError) as caught:
        await buy(f"{model}@say-100+slow-stream-100", timeout_seconds=1, attempt_id=f"late-{model}#1")
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.TIMEOUT, True)
    row = await final_row(simulated, f"late-{model}#1")
    assert 0 < int(str(row["output_tokens"])) < 100


@FAMILIES
async def test_a_server_that_hangs_bills_the_prompt(
    model: str, buy: Buy, simulated: SimulatedProvider
) -> None:
    with pytest.raises(ProviderError, match="in time"):
        await buy(f"{model}@hang", timeout_seconds=0.2, attempt_id=f"hang-{model}#1")
    row = await final_row(simulated, f"hang-{model}#1")
    assert row["output_tokens"] == 0
    assert int(str(row["amount_nano_usd"])) > 0


@FAMILIES
async def test_cancellation_in_mid_stream_stops_generation_at_once(
    model: str, buy: Buy, simulated: SimulatedProvider
) -> None:
    progress = Progress()
    attempt_id = f"cancelled-{model}#1"
    task = asyncio.ensure_future(
        buy(f"{model}@say-1000+slow-stream-10", attempt_id=attempt_id, progress=progress)
    )

    async def streaming() -> bool:
        return progress.text_characters >= 40

    await until(streaming)
    task.cancel()
    cancelled_ms = time.time() * 1000
    with pytest.raises(asyncio.CancelledError):
        await task
    row = await final_row(simulated, attempt_id)
    assert float(str(row["done_ms"])) - cancelled_ms < 250
    assert progress.sent
    assert progress.first_token_ms is not None
    assert progress.provider_request_id == row["id"]
    assert int(str(row["output_tokens"])) * 4 >= progress.text_characters
    assert (progress.usage is not None) is (model == ANTHROPIC)


async def test_before_send_runs_once_and_its_refusal_sends_nothing(
    buy: Buy, simulated: SimulatedProvider
) -> None:
    def refuse() -> None:
        raise Lapsed

    calls: list[int] = []
    progress = Progress()
    await buy(OPENAI, before_send=lambda: calls.append(1))
    with pytest.raises(Lapsed):
        await buy(OPENAI, before_send=refuse, attempt_id="lapsed#1", progress=progress)
    assert calls == [1]
    assert not progress.sent
    assert simulated.invoice("lapsed#1") == []


async def test_before_send_runs_after_a_connection_was_waited_for(simulated: SimulatedProvider) -> None:
    speaks, provider, deployment = simulated.deployment(f"{OPENAI}@hang")
    _, _, quick = simulated.deployment(OPENAI)
    request = ModelRequest(messages=(TASK,))
    order: list[str] = []

    def send(name: str, to: Deployment, http: Http) -> "asyncio.Task[ProviderAnswer]":
        return asyncio.create_task(
            speaks.send(
                http,
                provider,
                to,
                speaks.encode(request, to, 100),
                attempt_id=f"{name}#1",
                timeout_seconds=10,
                before_send=lambda: order.append(name),
            )
        )

    async with Http(max_connections=1) as http:
        holder = send("holder", deployment, http)

        async def holding() -> bool:
            return bool(order)

        await until(holding)
        waiting = send("waiting", quick, http)
        await asyncio.wait([waiting], timeout=0.2)
        assert order == ["holder"]
        holder.cancel()
        await waiting
    assert order == ["holder", "waiting"]


async def test_a_connection_never_made_was_never_sent(http: Http) -> None:
    provider = Provider("down", "openai", "http://127.0.0.1:1/v1")
    deployment = Deployment("down/x", "down", "x")
    speaks = family("openai")
    progress = Progress()
    with pytest.raises(ProviderError) as caught:
        await speaks.send(
            http,
            provider,
            deployment,
            b"{}",
            attempt_id="down#1",
            timeout_seconds=5,
            before_send=lambda: None,
            progress=progress,
        )
    error = caught.value
    assert (error.kind, error.sent, error.complete) == (ErrorKind.CONNECT, False, False)
    assert (error.retryable, error.fallback) == (True, True)
    assert not progress.sent


@FAMILIES
async def test_connections_are_kept(model: str, simulated: SimulatedProvider) -> None:
    """A pool of one connection serves many answers quickly only if each is read to its very end."""
    speaks, provider, deployment = simulated.deployment(model)
    body = speaks.encode(ModelRequest(messages=(TASK,)), deployment, 100)
    opened: list[int] = []
    async with Http(max_connections=1) as http:
        for number in range(5):
            await speaks.send(
                http,
                provider,
                deployment,
                body,
                attempt_id=f"kept-{number}#1",
                timeout_seconds=5,
                before_send=lambda: None,
            )
            opened.append(http.connections_opened)
    assert opened == [1] * 5
