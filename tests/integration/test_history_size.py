"""History grows by the same number of bytes with every step, however long the run and its conversation."""

from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import redis.asyncio as redis
from temporalio.client import Client

from gateway.agents import Agent
from gateway.policy.limits import RunLimits
from tests.integration.databases import migrated_database
from tests.integration.runs import Factory, Handle, serving
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

MODEL = "gpt-5-mini@long-300"


@pytest.fixture
def simulator() -> Iterator[SimulatedProvider]:
    provider = SimulatedProvider()
    yield provider
    provider.stop()


@pytest.fixture
def database(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "history_size") as url:
        yield url


@pytest.fixture
async def factory(
    temporal: Client, redis_url: str, database: str, simulator: SimulatedProvider, tmp_path: Path
) -> AsyncIterator[Factory]:
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()
    (tmp_path / "notes.txt").write_text("curb keeps them affordable.\n" * 20)
    (tmp_path / "more.txt").write_text("Temporal keeps workflows alive.\n" * 20)
    long = Agent(
        name="long",
        tier=f"openai/{MODEL}",
        tools=("list_files", "read_file", "write_file"),
        root=str(tmp_path),
        limits=RunLimits(max_steps=400, max_tool_calls=1000),
    )
    gateway = config(simulator.url, ("balanced", (MODEL,)))
    async with serving(temporal, Servers(redis_url, database), gateway, [long]) as running:
        yield running


async def bytes_per_step(run: Handle) -> list[int]:
    """The size of the events of each step, from its model call to the next."""
    sizes: list[int] = []
    starts: list[int] = []
    async for event in run.fetch_history_events():
        if event.activity_task_scheduled_event_attributes.activity_type.name == "call_model":
            starts.append(sum(sizes))
        sizes.append(event.ByteSize())
    return [later - earlier for earlier, later in pairwise(starts)]


async def test_each_of_300_steps_adds_the_same_to_history(factory: Factory) -> None:
    run = await factory.start("long")
    result = await run.result()
    assert (result.status, result.steps) == ("completed", 300)

    steps = await bytes_per_step(run)

    around = {number: sum(steps[number - 5 : number + 5]) / 10 for number in (10, 100, 290)}
    assert max(around.values()) / min(around.values()) < 1.02, around
    assert max(steps) < 2_500
