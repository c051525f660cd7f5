"""kill -9 of a framework's worker under SupervisorPlugin: it goes on, and every cent is on the books."""

import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from tests.faults.processes import WorkerProcess
from tests.faults.scene import Scene, ids
from tests.integration.plugin_world import FRAMEWORKS, SLOW, plugins

MODULE = "tests.faults.framework_worker"


@contextlib.asynccontextmanager
async def framework_worker(scene: Scene, framework: str, queue: str) -> AsyncIterator[WorkerProcess]:
    """A process of its own, killed at the end of the block at the latest."""
    where = [scene.temporal_gate.address, scene.stack.redis_url, scene.stack.database_url]
    worker = WorkerProcess(
        [*where, f"http://{scene.provider_gate.address}", framework, queue],
        scene.stack.directory / "logs",
        f"{framework}-{uuid.uuid4().hex[:6]}",
        MODULE,
    )
    try:
        await worker.until_ready()
        yield worker
    finally:
        await worker.kill()


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_killed_in_mid_stream(scene: Scene, framework: str) -> None:
    """A new try of the activity is another attempt of the same call; both are billed, both are booked."""
    queue = f"frameworks-{uuid.uuid4().hex[:8]}"
    client = await Client.connect(scene.stack.temporal_address, plugins=plugins(framework))
    async with framework_worker(scene, framework, queue) as doomed:
        run = await client.start_workflow(framework, args=[SLOW, 1], id=queue, task_queue=queue)
        await scene.until_streaming(run.id)
        await doomed.kill()

        async with framework_worker(scene, framework, queue):
            assert len(await run.result()) == 1

            first, second = await scene.attempts(run.id)
            assert (first["call_key"], second["number"]) == (second["call_key"], 2)
            assert ids(await scene.invoice(run.id)) == [first["attempt_id"], second["attempt_id"]]
            await scene.check_books()


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_killed_after_it_settled_before_it_said_so(scene: Scene, framework: str) -> None:
    """Temporal never hears of the answer and has the activity done again: replayed, for free."""
    queue = f"frameworks-{uuid.uuid4().hex[:8]}"
    client = await Client.connect(scene.stack.temporal_address, plugins=plugins(framework))
    async with framework_worker(scene, framework, queue) as doomed:
        run = await client.start_workflow(framework, args=[SLOW, 1], id=queue, task_queue=queue)
        await scene.until_streaming(run.id)
        await scene.temporal_gate.shut()
        await scene.until_attempt(run.id, "settled")
        await doomed.kill()
        await scene.temporal_gate.open()

        async with framework_worker(scene, framework, queue):
            assert len(await run.result()) == 1

            [only] = await scene.attempts(run.id)
            assert ids(await scene.invoice(run.id)) == [only["attempt_id"]]
            await scene.check_books()
