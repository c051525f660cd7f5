"""Reconcile: once per hour, whoever asks, and what it finds is told and kept."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import redis.asyncio as redis
from temporalio.client import Client

from activities.reconcile import Reconciled
from gateway.aggregated.account import plain_model
from gateway.config import GatewayConfig
from gateway.policy.sums import SumRules
from gateway.store import Store
from tests.integration.databases import migrated_database
from tests.integration.runs import Factory, serving
from tests.integration.usage_server import ADMIN_KEY, Billed, UsageServer, usage_server
from tests.integration.world import call, config, open_world
from tests.simulated import SimulatedProvider
from worker.config import Config
from worker.wiring import Servers
from workflows.queues import SUPERVISION
from workflows.scheduled import Scheduled

NOW = datetime.now(UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0)
CUT = "gpt-5-mini@cut"


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_reconcile_workflow") as url:
        yield url


@pytest.fixture
async def servers(redis_url: str, url: str) -> Servers:
    async with redis.from_url(redis_url) as client:
        await client.flushdb()
    return Servers(redis_url, url)


@pytest.fixture
async def usage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[UsageServer]:
    monkeypatch.setenv("OPENAI_ADMIN_KEY", ADMIN_KEY)
    async with usage_server() as server:
        yield server


def gateway(simulator: SimulatedProvider, **openai: object) -> GatewayConfig:
    made = config(simulator.url, ("quick", ["gpt-5-mini@say"]), ("balanced", [CUT]))
    changed = replace(made.providers["openai"], **openai)  # type: ignore[arg-type]
    return replace(made, providers={**made.providers, "openai": changed})


def told_by(usage: UsageServer) -> dict[str, object]:
    return {
        "usage_api": "openai",
        "usage_url": f"{usage.url}/v1",
        "usage_key_env": "OPENAI_ADMIN_KEY",
        "exclusive_key": True,
    }


async def run(factory: Factory, at: datetime, name: str) -> Reconciled:
    result: Reconciled = await factory.client.execute_workflow(
        "Reconcile",
        Scheduled(at=at.isoformat()),
        id=name,
        task_queue=SUPERVISION,
        result_type=Reconciled,
    )
    return result


async def bought(simulator: SimulatedProvider, servers: Servers, made: GatewayConfig) -> list[dict[str, Any]]:
    """Buy an answer, and one that is cut; the simulator's bill for both."""
    before = {row["id"] for row in simulator.invoice()}
    async with open_world(made, servers, simulator) as world:
        await world.parts.gateway.complete(call("http:reconcile:1", "quick"))
        await world.parts.gateway.complete(replace(call("http:reconcile:2", "balanced"), max_attempts=1))
        await world.ledger()
    return [row for row in simulator.invoice() if row["id"] not in before]


def total(bill: list[dict[str, Any]]) -> int:
    return sum(row["amount_nano_usd"] for row in bill)


async def test_an_hour_is_reconciled_once_however_often_it_is_asked_for(
    temporal: Client, servers: Servers, simulator: SimulatedProvider
) -> None:
    made = gateway(simulator)
    invoiced = {
        name: replace(each, invoice_url=f"{simulator.url}/invoice") for name, each in made.providers.items()
    }
    made = replace(made, providers=invoiced)
    bill = await bought(simulator, servers, made)
    async with serving(temporal, servers, made, [], config=Config(made, {}, {})) as factory:
        first = await run(factory, HOUR + timedelta(minutes=1), "reconcile-1")
        second = await run(factory, HOUR + timedelta(minutes=59), "reconcile-2")
        both = await asyncio.gather(
            *(run(factory, HOUR + timedelta(hours=1), f"reconcile-{n}") for n in (3, 4))
        )
        kept = await factory.store.reconciliations.latest(limit=10)

    assert (first.settled, first.ledger_nano_usd, first.in_doubt_nano_usd) == (1, total(bill), 0)
    assert (first.invoice_nano_usd, first.differences, first.done_before) == (total(bill), 0, False)
    assert second == first.model_copy(update={"done_before": True})
    assert sorted(each.done_before for each in both) == [False, True]
    assert [each.hour for each in kept] == [HOUR + timedelta(hours=1), HOUR]


async def test_a_doubt_is_settled_by_the_provider_s_sums_and_the_estimates_wait(
    temporal: Client, servers: Servers, simulator: SimulatedProvider, usage: UsageServer
) -> None:
    """The simulated provider sells, its usage API is that of the test; everything was yesterday."""
    made = gateway(simulator, **told_by(usage))
    bill = await bought(simulator, servers, made)
    yesterday = NOW - timedelta(days=1)
    async with await psycopg.AsyncConnection.connect(servers.database_url, autocommit=True) as connection:
        await connection.execute(
            "UPDATE attempts SET (at, done_at, in_doubt_at) = (%s, %s, %s)", [yesterday] * 3
        )
    for row in bill:
        usage.billed.append(
            Billed(
                yesterday,
                plain_model(row["model"]),
                row["input_tokens"],
                row["output_tokens"],
                row["cache_read_tokens"],
            )
        )
    settings = Config(made, {}, {}, reconcile=SumRules(complete_after_seconds=60))
    async with serving(temporal, servers, made, [], config=settings) as factory:
        found = await run(factory, HOUR, "reconcile-sums")
        kept = (await factory.store.reconciliations.latest())[0]

    assert (found.followed, found.settled, found.in_doubt_nano_usd) == (("openai",), 1, 0)
    assert (found.ledger_nano_usd, found.invoice_nano_usd) == (total(bill), None)
    assert kept.detail["undecided"] == {}


async def test_counters_that_differ_are_told_and_their_end_too(
    temporal: Client, servers: Servers, simulator: SimulatedProvider, url: str
) -> None:
    made = gateway(simulator)
    await bought(simulator, servers, made)
    async with serving(temporal, servers, made, [], config=Config(made, {}, {})) as factory:
        async with redis.from_url(servers.redis_url) as client:
            [day] = [
                each.counter
                for each in await factory.authority.budgets()
                if each.counter.startswith("agent:coder|day")
            ]
            await client.hincrby(f"curb:c:{day}", "spent", 7)
            wrong = await run(factory, HOUR, "reconcile-counters-1")
            await client.hincrby(f"curb:c:{day}", "spent", -7)
        right = await run(factory, HOUR + timedelta(hours=1), "reconcile-counters-2")

    assert (wrong.differences, right.differences) == (1, 0)
    async with await Store.connect(url) as store:
        over, firing = await store.events.alerts(rule="counters_differ")
    assert (firing.state, over.state) == ("firing", "resolved")
    assert (firing.evidence["differing"], firing.evidence["difference_nano_usd"]) == ([day], 7)


async def test_a_usage_api_that_refuses_the_key_is_told_once_a_day_and_holds_nothing_up(
    temporal: Client,
    servers: Servers,
    simulator: SimulatedProvider,
    usage: UsageServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = gateway(simulator, **told_by(usage))
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-wrong")
    async with serving(temporal, servers, made, [], config=Config(made, {}, {})) as factory:
        first = await run(factory, HOUR, "reconcile-key-1")
        await run(factory, HOUR + timedelta(minutes=60), "reconcile-key-2")
        monkeypatch.setenv("OPENAI_ADMIN_KEY", ADMIN_KEY)
        third = await run(factory, HOUR + timedelta(minutes=120), "reconcile-key-3")
        alerts = await factory.store.events.alerts(rule="supervision_failed")

    assert (first.unavailable, third.unavailable, third.followed) == (("openai",), (), ("openai",))
    mine = [alert for alert in alerts if alert.scope == "reconcile:openai"]
    assert mine[0].state == "resolved"
    assert {alert.state for alert in mine[1:]} == {"firing"}
    assert "OPENAI_ADMIN_KEY" in mine[-1].evidence["reason"]
    assert "sk-wrong" not in str(mine)
