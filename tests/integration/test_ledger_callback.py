"""LangChain applications that call providers directly, and tell curb's ledger by LedgerCallback."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import redis.asyncio as redis
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_openai import ChatOpenAI

from curb import LedgerCallback
from gateway.reconcile import resolve, verify
from gateway.usage import SimulatorInvoice
from tests.integration.world import World, config, open_world
from tests.simulated import SimulatedProvider
from worker.config import Config
from worker.wiring import Servers

Callback = Callable[..., LedgerCallback]


@pytest.fixture(scope="module")
async def world(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[World]:
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()
    gateway = config(simulator.url, ("quick", ["gpt-5-mini@say-12", "claude-sonnet-4-5@say-12"]))
    async with open_world(gateway, Servers(redis_url, database), simulator) as opened:
        yield opened


@pytest.fixture
def callback(world: World, redis_url: str, database: str) -> Iterator[Callback]:
    made: list[LedgerCallback] = []

    def make(agent: str, **more: Any) -> LedgerCallback:
        whole = Config(gateway=world.parts.gateway.config, agents={}, limits={})
        made.append(LedgerCallback(agent, config=whole, servers=Servers(redis_url, database), **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


def openai(world: World, callback: LedgerCallback, **more: Any) -> BaseChatModel:
    url = f"{world.simulator.url}/v1"
    given = {"model": "gpt-5-mini@say-12", "api_key": "k", "base_url": url, "callbacks": [callback]}
    return ChatOpenAI(**{**given, **more})


def anthropic(world: World, callback: LedgerCallback, **more: Any) -> BaseChatModel:
    given = {"model_name": "claude-sonnet-4-5@say-12", "api_key": "k", "base_url": world.simulator.url}
    return ChatAnthropic(callbacks=[callback], **{**given, **more})


async def rows_of(world: World, agent: str, callback: LedgerCallback) -> list[dict[str, Any]]:
    """What is on the books for an agent, once all that was told is there."""
    assert await asyncio.to_thread(callback.close)
    await world.ledger()
    rows = await world.parts.store.attempts.recent(limit=100)
    return [dict(row) for row in rows if row["agent"] == agent]


async def assert_books_agree(world: World) -> None:
    """Counters, ledger and invoice are equal, before anything is resolved and after."""
    invoice = SimulatorInvoice(world.simulator.url)
    authority, store = world.parts.authority, world.parts.store
    before = await verify(authority, store, invoice)
    assert before.ok, before.differences
    assert before.ledger_nano_usd == before.invoice_nano_usd
    after = await resolve(authority, store, invoice, min_age_seconds=0)
    assert after.ok, after.differences
    assert after.adopted == after.adjusted == 0


@pytest.mark.parametrize("model", [openai, anthropic])
async def test_what_an_application_spends_is_on_the_books_as_observed(
    model: Callable[..., BaseChatModel], world: World, callback: Callback
) -> None:
    agent = f"direct-{model.__name__}"
    ours = callback(agent, team="search", user="ada", tags={"feature": "faq"})

    await model(world, ours).ainvoke("Hello")
    await asyncio.to_thread(model(world, ours).invoke, "Hello again")

    rows = await rows_of(world, agent, ours)
    assert [(row["basis"], row["state"], row["reserved_nano_usd"]) for row in rows] == [
        ("observed", "settled", 0)
    ] * 2
    assert {(row["team"], row["user_id"], row["endpoint"]) for row in rows} == {
        ("search", "ada", "langchain")
    }
    assert all(row["cost_nano_usd"] > 0 for row in rows)
    budgets = await world.parts.authority.budgets()
    spent = {each.period: each.spent_nano_usd for each in budgets if each.scope == f"agent:{agent}"}
    assert spent == dict.fromkeys(("day", "month"), sum(row["cost_nano_usd"] for row in rows))
    await assert_books_agree(world)


async def test_a_streamed_answer_counts_too(world: World, callback: Callback) -> None:
    ours = callback("streams")
    model = openai(world, ours, stream_usage=True, include_response_headers=True)

    assert len([piece async for piece in model.astream("Hello")]) > 1

    [row] = await rows_of(world, "streams", ours)
    assert row["output_tokens"] > 0
    await assert_books_agree(world)


async def test_one_answer_told_twice_is_posted_once(world: World, callback: Callback) -> None:
    one, other = callback("twice"), callback("twice")

    await openai(world, one, callbacks=[one, other]).ainvoke("Hello")

    await asyncio.to_thread(one.close)
    assert len(await rows_of(world, "twice", other)) == 1


async def test_a_model_without_a_price_costs_the_ceiling_and_alerts(world: World, callback: Callback) -> None:
    ours = callback("unpriced", ceiling_usd_per_mtok="50")

    ours.on_llm_end(told("nobody-knows-1", {"input_tokens": 10, "output_tokens": 10}), run_id=uuid.uuid4())

    [row] = await rows_of(world, "unpriced", ours)
    assert row["cost_nano_usd"] == 20 * 50_000
    assert row["price_id"].startswith("ceiling@")
    assert await alerts(world, "unpriced") == ["observed_unpriced"]


async def test_an_answer_without_usage_is_an_alert_and_never_free(world: World, callback: Callback) -> None:
    ours = callback("silent")

    ours.on_llm_end(told("gpt-5-mini", None), run_id=uuid.uuid4())

    assert await rows_of(world, "silent", ours) == []
    assert await alerts(world, "silent") == ["observed_without_usage"]


async def test_what_is_told_after_the_end_breaks_nothing(world: World, callback: Callback) -> None:
    ours = callback("late")
    assert await asyncio.to_thread(ours.close)

    ours.on_llm_end(told("gpt-5-mini", {"input_tokens": 1, "output_tokens": 1}), run_id=uuid.uuid4())

    assert await rows_of(world, "late", ours) == []


async def test_a_stream_that_lost_its_id_counts_under_one_of_langchains(
    world: World, callback: Callback
) -> None:
    ours = callback("nameless")

    assert [piece async for piece in anthropic(world, ours).astream("Hello")]

    [row] = await rows_of(world, "nameless", ours)
    assert (row["basis"], row["cost_nano_usd"] > 0) == ("observed", True)
    assert (await verify(world.parts.authority, world.parts.store)).ok


def told(model: str, usage: dict[str, int] | None) -> LLMResult:
    """What LangChain tells a callback at the end of a call."""
    whole: Any = usage and {**usage, "total_tokens": sum(usage.values())}
    said = {"model_provider": "openai", "model_name": model}
    message = AIMessage("Hello", id="run-1", usage_metadata=whole, response_metadata=said)
    return LLMResult(generations=[[ChatGeneration(message=message)]])


async def alerts(world: World, agent: str) -> list[str]:
    await world.ledger()
    rows = await world.parts.store.events.alerts(limit=200)
    return [row.rule for row in rows if row.scope == f"agent:{agent}"]
