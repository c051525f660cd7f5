"""Postgres and Temporal stopped and started under running agents: they wait, and pay nothing twice."""

from collections.abc import AsyncIterator

import pytest

from tests.faults.scene import Scene, until


@pytest.fixture(scope="module", autouse=True)
async def worker(servers: Scene) -> AsyncIterator[None]:
    """One worker for the whole module: that it lives on is the point."""
    await servers.start_worker()
    yield
    await servers.dismiss_workers()


@pytest.fixture
def scene(servers: Scene) -> Scene:
    return servers


async def test_postgres_stopped_and_started(scene: Scene) -> None:
    """The answer that came meanwhile was paid for once and is kept; the next step waits."""
    talking, walking = await scene.start("talker"), await scene.start("walker")
    await scene.until_streaming(talking.id)
    await scene.until_attempt(walking.id, "settled")

    await scene.postgres.stop()
    await until(lambda: _all_final(scene))
    await scene.postgres.start()

    assert (await scene.result(talking)).status == "completed"
    result = await scene.result(walking)
    assert (result.status, result.steps) == ("completed", 5)
    assert len(await scene.invoice(talking.id)) == 1
    assert len(await scene.invoice(walking.id)) == 5
    await scene.check_books()


async def test_temporal_killed_and_restarted(scene: Scene) -> None:
    """The call in flight settles without it; its answer is told, or replayed, for free."""
    talking, walking = await scene.start("talker"), await scene.start("walker")
    await scene.until_streaming(talking.id)

    await scene.temporal.kill()
    await scene.until_attempt(talking.id, "settled")
    await scene.temporal.start()

    assert (await scene.result(talking)).status == "completed"
    result = await scene.result(walking)
    assert (result.status, result.steps) == ("completed", 5)
    assert len(await scene.invoice(talking.id)) == 1
    assert len(await scene.invoice(walking.id)) == 5
    await scene.check_books()


async def _all_final(scene: Scene) -> bool:
    return all(row["state"] == "final" for row in await scene.invoice())
