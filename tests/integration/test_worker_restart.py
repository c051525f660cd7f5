"""Workers that stop in good order: what is in flight is finished or settled, and the next one goes on."""

import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis
from temporalio.client import Client

from gateway.agents import Agent
from gateway.store import AttemptRow
from tests.integration.runs import Factory, eventually, serving
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers
from workflows.queues import RUNS

OWN = str(Path(__file__).with_name("own_workflows.py"))
MODELS = (
    "gpt-5-mini@say-12",
    "gpt-5-mini@say-20",
    "gpt-5-mini@say-400",
    "gpt-5-mini@say-60+slow-stream-40",
    "gpt-5-mini@say-10+hang-5-once",
)
AGENTS = (
    Agent(name="slow", tier="openai/gpt-5-mini@say-60+slow-stream-40"),
    Agent(name="stuck", tier="openai/gpt-5-mini@say-10+hang-5-once"),
)

Worker = Callable[[float], AbstractAsyncContextManager[Factory]]


@pytest.fixture
async def worker(temporal: Client, redis_url: str, database: str, simulator: SimulatedProvider) -> Worker:
    """Start a worker that gives what is in flight so many seconds when it stops."""
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()

    def start(shutdown_seconds: float = 5.0) -> AbstractAsyncContextManager[Factory]:
        return serving(
            temporal,
            Servers(redis_url, database),
            config(simulator.url, ("balanced", MODELS)),
            AGENTS,
            tools=[OWN],
            shutdown_seconds=shutdown_seconds,
        )

    return start


async def attempts(factory: Factory, run_id: str) -> list[AttemptRow]:
    return list(await factory.store.attempts.of_run(run_id))


async def until(factory: Factory, run_id: str, *states: str) -> None:
    """Wait until the run's attempts are in these states."""

    async def there() -> bool:
        return tuple(row["state"] for row in await attempts(factory, run_id)) == states

    await eventually(there)


async def test_a_call_in_flight_is_finished_when_there_is_time(
    worker: Worker, simulator: SimulatedProvider
) -> None:
    async with worker(20.0) as first:
        run = await first.start("slow")
        await until(first, run.id, "pending")

    async with worker(5.0) as second:
        result = await run.result()

        assert (result.status, result.in_doubt_nano_usd) == ("completed", 0)
        await until(second, run.id, "settled")
        [attempt] = await attempts(second, run.id)
    [row] = simulator.invoice(attempt["attempt_id"])
    assert attempt["cost_nano_usd"] == row["amount_nano_usd"] == result.cost_nano_usd


async def test_a_call_that_would_take_too_long_is_cut_and_booked_and_bought_again(worker: Worker) -> None:
    async with worker(0.5) as first:
        run = await first.start("stuck")
        await until(first, run.id, "pending")

    async with worker(5.0) as second:
        result = await run.result()

        assert result.status == "completed"
        assert result.in_doubt_nano_usd > 0
        await until(second, run.id, "in_doubt", "settled")


async def test_a_workflow_of_the_users_own_is_replayed_without_paying_again(
    worker: Worker, simulator: SimulatedProvider
) -> None:
    async with worker(5.0) as first:
        run: Any = await first.client.start_workflow(
            "TalkAndWait", "second", id=f"own-{uuid.uuid4().hex[:8]}", task_queue=RUNS
        )
        await until(first, run.id, "settled")
    paid = len(simulator.invoice())

    async with worker(5.0) as second:
        await run.signal("go")
        costs = await run.result()
        await until(second, run.id, "settled", "settled")

        assert [row["cost_nano_usd"] for row in await attempts(second, run.id)] == costs
    assert len(simulator.invoice()) == paid + 1
