"""Unmodified workers of OpenAI Agents, pydantic-ai and LangGraph under SupervisorPlugin."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from gateway.agents import Agent
from gateway.policy.money import usd
from tests.integration.plugin_world import (
    BRIEF,
    DEAR,
    FRAMEWORKS,
    SLOW,
    FrameworkWorker,
    open_worker,
)
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

FAILING = Agent(name="failing", run_budget_nano_usd=usd("0.0001"))


@pytest.fixture(scope="module", params=FRAMEWORKS)
async def worker(
    request: pytest.FixtureRequest,
    temporal: Client,
    redis_url: str,
    database: str,
    simulator: SimulatedProvider,
) -> AsyncIterator[FrameworkWorker]:
    gateway = config(simulator.url, ("quick", [BRIEF]), ("balanced", [BRIEF, SLOW, DEAR]))
    async with open_worker(
        request.param, temporal, Servers(redis_url, database), gateway, simulator, agents=[FAILING]
    ) as running:
        yield running


async def test_its_calls_are_in_the_ledger_as_on_the_invoice(worker: FrameworkWorker) -> None:
    run = await worker.start(BRIEF, 3, user="ada", team="search")

    assert len(await run.result()) == 3

    rows = await worker.attempts(run)
    assert [row["state"] for row in rows] == ["settled"] * 3
    assert {(row["agent"], row["user_id"], row["team"]) for row in rows} == {
        (worker.framework, "ada", "search")
    }
    invoice = {row["client_request_id"]: row["amount_nano_usd"] for row in worker.world.simulator.invoice()}
    assert {row["attempt_id"]: row["cost_nano_usd"] for row in rows}.items() <= invoice.items()
