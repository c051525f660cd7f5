"""What is on the books is told to who keeps traces: real protobuf, to a server of the documented shape."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio as redis
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import SecretStr
from temporalio.client import Client

from gateway.agents import Agent
from gateway.store import Run
from gateway.traces import ids
from gateway.traces.export import Exporter, Outbox, TracePolicy
from gateway.traces.otlp import OtlpTarget, TraceTargetUnavailable
from tests.integration.databases import migrated_database
from tests.integration.front import Front, open_front
from tests.integration.receivers import Answer, Receiver, receiver
from tests.integration.runs import Factory, serving
from tests.integration.waiting import until
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.config import Config
from worker.config_traces import TracesPlan
from worker.settings import Settings
from worker.wiring import Servers

MODELS = ("gpt-5-mini", "gpt-5-mini@delegate", "gpt-5-mini@say-20", "gpt-5-mini@say-40+slow-stream-40")
SPANS, SCORES = "/api/public/otel/v1/traces", "/api/public/scores"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def own(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_traces") as url:
        yield url


@pytest.fixture
async def langfuse() -> AsyncIterator[Receiver]:
    async with receiver() as opened:
        opened.usual = Answer(202, '{"message": "Accepted"}', {"content-type": "application/json"})
        yield opened


@asynccontextmanager
async def telling(
    temporal: Client,
    redis_url: str,
    database: str,
    simulator: SimulatedProvider,
    root: Path,
    langfuse: Receiver,
    *,
    content: bool = False,
) -> AsyncIterator[Factory]:
    """A worker that tells a Langfuse what its agents do."""
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()
    gateway = config(simulator.url, ("balanced", MODELS))
    agents = [
        Agent(name="steady", tier="openai/gpt-5-mini", tools=("list_files", "read_file"), root=str(root),
              team="core", prompt_version="v7"),
        Agent(name="boss", tier="openai/gpt-5-mini@delegate", agents=("steady",)),
    ]  # fmt: skip
    settings = Settings(
        metrics_port=0,
        shutdown_seconds=5,
        langfuse_host=langfuse.url,
        langfuse_public_key="pk-1",
        langfuse_secret_key=SecretStr("sk-1"),
    )
    plan = TracesPlan(TracePolicy(content=content), every_seconds=0.2)
    given = Config(gateway=gateway, agents={a.name: a for a in agents}, limits={}, traces=plan)
    async with serving(
        temporal, Servers(redis_url, database), gateway, agents,
        supervise=True, settings=settings, config=given,
    ) as factory:  # fmt: skip
        await until(lambda: factory.store.traces.backlog())
        yield factory


def spans_in(langfuse: Receiver) -> dict[str, Span]:
    """All spans that came, the latest of each id, by name and id."""
    found: dict[str, Span] = {}
    for request in langfuse.requests:
        if request.path != SPANS:
            continue
        assert request.headers["content-type"] == "application/x-protobuf"
        assert request.headers["authorization"] == f"Basic {base64.b64encode(b'pk-1:sk-1').decode()}"
        message = ExportTraceServiceRequest.FromString(request.body)
        for each in message.resource_spans:
            for scope in each.scope_spans:
                found |= {span.span_id.hex(): span for span in scope.spans}
    return found


def said(span: Span) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in span.attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind or "string_value")


def scores_in(langfuse: Receiver) -> dict[str, Mapping[str, Any]]:
    """By name; the latest of each."""
    found: dict[str, Mapping[str, Any]] = {}
    for request in langfuse.requests:
        if request.path == SCORES:
            found |= {score["name"]: score for score in request.json}
    return found


def named(spans: Mapping[str, Span], beginning: str) -> list[Span]:
    return sorted(
        (s for s in spans.values() if s.name.startswith(beginning)), key=lambda s: s.start_time_unix_nano
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "notes.txt").write_text("A secret word: xylophone.\n")
    return tmp_path


async def told_root(langfuse: Receiver, run_id: str) -> dict[str, Span]:
    await until(lambda: _has(langfuse, ids.run_span(run_id)), seconds=30)
    await until(lambda: _has_scores(langfuse), seconds=30)
    return spans_in(langfuse)


async def _has(langfuse: Receiver, span_id: str) -> bool:
    return span_id in spans_in(langfuse)


async def _has_scores(langfuse: Receiver) -> bool:
    return bool(scores_in(langfuse))


async def test_a_run_is_a_trace_with_steps_generations_and_tools_in_their_own_time(
    temporal: Client, redis_url: str, own: str, simulator: SimulatedProvider, root: Path, langfuse: Receiver
) -> None:
    async with telling(temporal, redis_url, own, simulator, root, langfuse) as factory:
        result = await factory.run("steady", user="ann", session="s1", tags={"ticket": "42"})
        spans = await told_root(langfuse, result.run_id)
        attempts = await factory.store.attempts.of_run(result.run_id)
        await until(lambda: _has(langfuse, ids.attempt_span(attempts[-1]["attempt_id"])))
        spans = spans_in(langfuse)

    [agent] = named(spans, "invoke_agent steady")
    steps, calls, tools = named(spans, "step "), named(spans, "chat "), named(spans, "execute_tool ")
    assert [step.name for step in steps] == [f"step {n + 1}" for n in range(result.steps)]
    assert {s.trace_id for s in spans.values()} == {bytes.fromhex(ids.trace_of(result.run_id))}
    assert agent.parent_span_id == b""
    assert {s.parent_span_id for s in steps} == {agent.span_id}
    assert [c.parent_span_id for c in calls] == [s.span_id for s in steps]
    assert tools
    assert {t.parent_span_id for t in tools} <= {s.span_id for s in steps}
    for step in steps:
        inside = [s for s in (*calls, *tools) if s.parent_span_id == step.span_id]
        assert all(step.start_time_unix_nano <= s.start_time_unix_nano for s in inside)
        assert all(s.end_time_unix_nano <= step.end_time_unix_nano for s in inside)
        assert all(s.start_time_unix_nano < s.end_time_unix_nano for s in inside)
    assert agent.start_time_unix_nano <= min(s.start_time_unix_nano for s in steps)

    call = said(calls[0])
    assert (call["user.id"], call["session.id"]) == ("ann", "s1")
    assert call["langfuse.trace.tags"] == ["agent:steady", "team:core", "ticket:42"]
    assert call["langfuse.observation.type"] == "generation"
    assert call["langfuse.version"] == "v7"
    first = attempts[0]
    usage = json.loads(call["langfuse.observation.usage_details"])
    assert (usage["input"], usage["output"]) == (first["input_tokens"], first["output_tokens"])
    costs = [json.loads(said(c)["langfuse.observation.cost_details"])["total"] for c in calls]
    assert round(sum(costs) * 1e9) == result.cost_nano_usd
    assert {name: said(tools[0])[name] for name in ("gen_ai.operation.name", "gen_ai.tool.name")} == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "list_files",
    }
    assert "xylophone" not in str([said(s) for s in spans.values()])


async def test_scores_are_sent_with_ids_that_follow_from_the_run_and_ratings_replace_each_other(
    temporal: Client, redis_url: str, own: str, simulator: SimulatedProvider, root: Path, langfuse: Receiver
) -> None:
    async with telling(temporal, redis_url, own, simulator, root, langfuse) as factory:
        result = await factory.run("steady")
        await told_root(langfuse, result.run_id)
        for value in (0.2, 0.9):
            await factory.store.runs.rate(result.run_id, "quality", "ann", value, "read it")
            await until(lambda value=value: _rated(langfuse, value))  # type: ignore[misc]

    scores = scores_in(langfuse)
    assert scores["cost_usd"]["value"] == pytest.approx(result.cost_nano_usd / 1e9)
    assert scores["steps"]["value"] == result.steps
    assert (scores["status"]["value"], scores["status"]["dataType"]) == ("completed", "CATEGORICAL")
    assert scores["quality"]["comment"] == "read it"
    assert {score["traceId"] for score in scores.values()} == {ids.trace_of(result.run_id)}
    sent = [s for r in langfuse.requests if r.path == SCORES for s in r.json if s["name"] == "quality"]
    assert len({score["id"] for score in sent}) == 1


async def _rated(langfuse: Receiver, value: float) -> bool:
    return scores_in(langfuse).get("quality", {}).get("value") == value


async def test_a_delegated_run_stands_below_the_tool_call_that_asked_for_it(
    temporal: Client, redis_url: str, own: str, simulator: SimulatedProvider, root: Path, langfuse: Receiver
) -> None:
    async with telling(temporal, redis_url, own, simulator, root, langfuse) as factory:
        result = await factory.run("boss")
        [child] = [run for run in await factory.store.runs.list(limit=10) if run.parent == result.run_id]
        await told_root(langfuse, child.id)
        spans = await told_root(langfuse, result.run_id)

    [tool] = [
        s for s in named(spans, "execute_tool ") if s.parent_span_id.hex() == ids.step_span(result.run_id, 1)
    ]
    [below] = named(spans, "invoke_agent steady")
    assert below.parent_span_id == tool.span_id
    assert {s.trace_id.hex() for s in spans.values()} == {ids.trace_of(result.run_id)}


async def test_words_are_told_where_content_is_switched_on(
    temporal: Client, redis_url: str, own: str, simulator: SimulatedProvider, root: Path, langfuse: Receiver
) -> None:
    async with telling(temporal, redis_url, own, simulator, root, langfuse, content=True) as factory:
        result = await factory.run("steady", task="Look at what is here.")
        spans = await told_root(langfuse, result.run_id)

    [agent] = named(spans, "invoke_agent")
    assert said(agent)["langfuse.observation.input"] == "Look at what is here."
    assert said(agent)["langfuse.observation.output"]
    assert "Look at what is here." in said(named(spans, "chat ")[0])["langfuse.observation.input"]
    assert "xylophone" in str([said(s) for s in named(spans, "execute_tool ")])


async def test_nothing_is_lost_while_langfuse_is_down(
    temporal: Client, redis_url: str, own: str, simulator: SimulatedProvider, root: Path, langfuse: Receiver
) -> None:
    langfuse.says(Answer(503), Answer(429, headers={"retry-after": "1"}), Answer(instead="close"))

    async with telling(temporal, redis_url, own, simulator, root, langfuse) as factory:
        result = await factory.run("steady")
        await told_root(langfuse, result.run_id)
        await until(lambda: _empty(factory), seconds=30)
        attempts = await factory.store.attempts.of_run(result.run_id)

    told = spans_in(langfuse)
    assert {ids.attempt_span(row["attempt_id"]) for row in attempts} <= set(told)


async def _empty(factory: Factory) -> bool:
    return all(not backlog.waiting for backlog in await factory.store.traces.backlog())


@pytest.fixture
async def front(redis_url: str, own: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    async with open_front(
        config(simulator.url, ("quick", MODELS)), Servers(redis_url, own), simulator
    ) as opened:
        await opened.world.parts.store.traces.aim(["otlp"])
        yield opened


async def ask(
    front: Front, headers: Mapping[str, str] | None = None, model: str = "gpt-5-mini@say-20"
) -> str:
    body = {"model": f"openai/{model}", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}
    answer = await front.post("/v1/chat/completions", body, headers)
    assert answer.status_code == 200, answer.text
    await front.world.ledger()
    return str(answer.headers["x-curb-call-id"])


def exporter_of(
    front: Front, langfuse: Receiver, *, outbox: Outbox | None = None, sample: float = 1.0
) -> Exporter:
    parts = front.world.parts
    target = OtlpTarget("otlp", f"{langfuse.url}/v1/traces")
    return Exporter(parts.store, outbox or parts.authority, target, TracePolicy(sample))


async def test_a_clients_trace_goes_on_through_curb(front: Front, langfuse: Receiver) -> None:
    call = await ask(front, {"traceparent": PARENT, "x-curb-user": "bob"})
    exporter = exporter_of(front, langfuse)

    async with httpx.AsyncClient() as client:
        assert await exporter.batch(client) == 1
        assert await exporter.batch(client) == 0

    traces, metrics = langfuse.requests
    message = ExportTraceServiceRequest.FromString(traces.body)
    [span] = message.resource_spans[0].scope_spans[0].spans
    assert span.trace_id.hex() == PARENT.split("-")[1]
    assert span.parent_span_id.hex() == PARENT.split("-")[2]
    assert span.kind == Span.SPAN_KIND_CLIENT
    assert said(span)["gen_ai.provider.name"] == "openai"
    assert not any(name.startswith("langfuse.") for name in said(span))
    [row] = await front.attempts(call)
    assert row["trace_id"] == PARENT.split("-")[1]

    assert metrics.path == "/v1/metrics"
    measured = ExportMetricsServiceRequest.FromString(metrics.body)
    found = {m.name: m for m in measured.resource_metrics[0].scope_metrics[0].metrics}
    tokens = found["gen_ai.client.token.usage"].histogram.data_points
    assert sorted(point.sum for point in tokens) == sorted([row["input_tokens"], row["output_tokens"]])
    assert found["gen_ai.client.operation.duration"].histogram.data_points[0].count == 1


async def test_what_a_target_refuses_holds_up_nobody(front: Front, langfuse: Receiver) -> None:
    calls = [await ask(front) for _ in range(3)]
    store = front.world.parts.store
    exporter = exporter_of(front, langfuse)
    langfuse.says(Answer(400, "no"), Answer(400, "this one"))  # all three, then the first alone

    async with httpx.AsyncClient() as client:
        await exporter.batch(client)

    [left] = await store.traces.next("otlp", 10)
    assert left.subject == f"attempt:{calls[0]}#1"
    assert left.tries == 1

    for _ in range(9):
        await store.traces.failed("otlp", [left], "no")
    assert await store.traces.next("otlp", 10) == []
    assert [backlog.waiting for backlog in await store.traces.backlog()] == [0]


async def test_what_is_marked_again_while_it_is_told_is_told_again(front: Front, langfuse: Receiver) -> None:
    await ask(front)
    traces = front.world.parts.store.traces
    [marked] = await traces.next("otlp", 10)
    await traces.mark([marked.subject])

    await traces.told("otlp", [marked])

    [again] = await traces.next("otlp", 10)
    assert (again.subject, again.mark > marked.mark) == (marked.subject, True)


async def test_a_target_that_is_away_leaves_everything_where_it_is(front: Front, langfuse: Receiver) -> None:
    await ask(front)
    langfuse.says(Answer(503, headers={"retry-after": "7"}))
    exporter = exporter_of(front, langfuse)

    async with httpx.AsyncClient() as client:
        with pytest.raises(TraceTargetUnavailable) as away:
            await exporter.batch(client)

    assert away.value.retry_after_seconds == 7
    assert len(await front.world.parts.store.traces.next("otlp", 10)) == 1


class Behind:
    """An outbox whose oldest entry is from the beginning of time, until it is drained."""

    def __init__(self) -> None:
        self.drained = False

    async def clock_ms(self) -> int:
        return time.time_ns() // 1_000_000 + 60_000

    async def oldest_event_ms(self) -> int | None:
        return None if self.drained else 1


async def test_a_run_is_told_once_its_attempts_are_on_the_books(front: Front, langfuse: Receiver) -> None:
    store, outbox = front.world.parts.store, Behind()
    await store.runs.open(Run(id="late-run", agent="steady", conversation_id="c-late"))
    await store.runs.update("late-run", status="completed", steps=1)
    await store.traces.mark(["run:late-run"])
    exporter = exporter_of(front, langfuse, outbox=outbox)

    async with httpx.AsyncClient() as client:
        assert await exporter.batch(client) == 0
        assert [each.id for each in await store.traces.next("otlp", 10)] == ["late-run"]
        outbox.drained = True
        assert await exporter.batch(client) == 1

    assert await store.traces.next("otlp", 10) == []


async def test_a_sample_takes_whole_traces(front: Front, langfuse: Receiver) -> None:
    await asyncio.gather(*(ask(front) for _ in range(12)))
    exporter = exporter_of(front, langfuse, sample=0.5)
    waiting = await front.world.parts.store.traces.next("otlp", 100)
    wanted = {
        ids.attempt_span(each.id)
        for each in waiting
        if ids.is_sampled(ids.trace_of(each.id.partition("#")[0]), 0.5)
    }

    async with httpx.AsyncClient() as client:
        await exporter.batch(client)

    sent: set[str] = set()
    for request in langfuse.requests:
        if request.path == "/v1/traces":
            message = ExportTraceServiceRequest.FromString(request.body)
            sent |= {span.span_id.hex() for span in message.resource_spans[0].scope_spans[0].spans}
    assert sent == wanted
    assert await front.world.parts.store.traces.next("otlp", 100) == []


async def test_without_anybody_to_tell_nothing_is_marked(front: Front) -> None:
    traces = front.world.parts.store.traces
    await traces.aim([])

    await ask(front)

    await traces.aim(["otlp"])
    assert await traces.next("otlp", 10) == []
