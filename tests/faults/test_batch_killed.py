"""kill -9 of whoever follows a batch, in the middle of each of its steps: bought once, and on the books."""

import asyncio
from typing import Any

import pytest

from gateway.batches.opening import BatchAsk, BatchDesk
from gateway.calls import Caller
from gateway.http.wires import OPENAI
from gateway.store.batches import Batch
from tests.faults.agents import gateway_config
from tests.faults.scene import Scene, ids, until
from tests.integration.batch_gate import batch_gate
from worker.batches import batch_starter
from worker.wiring import Servers, open_parts

MODEL = "openai/gpt-5-mini"


async def taken_on(scene: Scene, name: str) -> Batch:
    """A batch of three requests, which a workflow follows; the door that took it on is gone."""
    hello = [{"role": "user", "content": "Hello"}]
    request = OPENAI.read({"model": MODEL, "messages": hello, "max_tokens": 50}, {}).wire()
    wanted = BatchAsk(
        id=f"batch_{name}",
        caller=Caller(agent="batcher", key_id="ktest", endpoint="/v1/batches"),
        family="openai",
        endpoint="/v1/chat/completions",
        model=MODEL,
        requests=[(f"r{number}", request) for number in range(3)],
    )
    servers = Servers(scene.stack.redis_url, scene.stack.database_url)
    async with open_parts(gateway_config(scene.stack.simulator_url), servers) as parts:
        opened = await BatchDesk(parts.gateway, batch_starter(scene.client)).open(wanted)  # type: ignore[arg-type]
    assert isinstance(opened, Batch)
    return opened


async def ended(scene: Scene, batch: Batch) -> Batch:
    async def over() -> Any:
        now = await scene.store.batches.get(batch.id)
        return now if now.ended_at is not None else None

    now: Batch = await until(over, 90)
    return now


@pytest.mark.parametrize(
    ("step", "asked"),
    [("handing-in", "POST /v1/batches"), ("following", "GET /v1/batches/"), ("settling", "GET /v1/files/")],
)
async def test_killed_while_it_waits_for_an_answer(scene: Scene, step: str, asked: str) -> None:
    async with batch_gate(scene.stack.simulator_url) as gate:
        gate.held[asked] = asyncio.Event()
        doomed = await scene.start_worker(gate.url)
        batch = await taken_on(scene, step)
        await asyncio.wait_for(gate.holding.wait(), 30)
        await doomed.kill()
        gate.held[asked].set()

        await scene.start_worker(gate.url)
        batch = await ended(scene, batch)

        assert batch.state == "ended"
        assert ids(await scene.invoice()).count(batch.attempt_id) == 1
        assert gate.asked.count("POST /v1/batches") == 1
        await scene.check_books()


async def test_postgres_restarted_under_a_batch(scene: Scene) -> None:
    async with batch_gate(scene.stack.simulator_url) as gate:
        gate.held["GET /v1/files/"] = asyncio.Event()
        await scene.start_worker(gate.url)
        batch = await taken_on(scene, "restarted")
        await asyncio.wait_for(gate.holding.wait(), 30)
        await scene.postgres.kill()
        gate.held["GET /v1/files/"].set()
        await scene.stack.ensure("postgres")

        batch = await ended(scene, batch)

        assert batch.state == "ended"
        assert ids(await scene.invoice()).count(batch.attempt_id) == 1
        await scene.check_books()
