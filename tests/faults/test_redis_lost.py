"""Redis killed, emptied, thrown back in time: nothing is admitted on false numbers, nothing is lost."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.policy.money import usd
from gateway.policy.scopes import Period
from tests.faults.scene import Scene, ids, until


@pytest.fixture(scope="module", autouse=True)
async def worker(servers: Scene) -> AsyncIterator[None]:
    """One worker for the whole module: that it lives on is the point."""
    await servers.start_worker()
    yield
    await servers.dismiss_workers()


@pytest.fixture
def scene(servers: Scene) -> Scene:
    return servers


async def test_killed_and_restarted(scene: Scene) -> None:
    """The call in flight is booked when Redis is back; until then nothing new is bought."""
    talking, waiting = await scene.start("talker"), await scene.start("walker")
    await scene.until_streaming(talking.id)
    await scene.until_attempt(waiting.id, "settled")
    await scene.valkey.kill()
    before = await _until_nothing_is_generated(scene)

    held_up = await scene.start("steady")
    await _until_it_waits_for_a_server(scene, held_up.id)
    assert ids(await scene.invoice()) == before
    await scene.valkey.start()

    for run in (talking, waiting, held_up):
        assert (await scene.result(run)).status == "completed"
    assert len(await scene.invoice(talking.id)) == 1
    await scene.check_books()


async def test_emptied_with_runs_going_on(scene: Scene) -> None:
    """FLUSHALL in the middle of calls: counters, limits and switches come back from Postgres."""
    limits = {("team:red", Period.MONTH): usd("50")}
    version = await scene.store.budgets.apply_policy(limits, source="team", applied_by="test")
    await scene.authority.apply_limits(version, limits)
    await scene.authority.set_switch("kill:model:nobody", "manual:test:stays")
    runs = [await scene.start(agent, team="red") for agent in ("talker", "walker", "walker", "thinker")]
    await scene.until_streaming(runs[0].id)
    await scene.until_attempt(runs[1].id, "settled")
    epoch = await scene.until_open()

    async with scene.redis() as redis:
        await redis.flushall()
    assert await scene.until_open(epoch) > epoch

    for run in runs:
        assert (await scene.result(run)).status == "completed"
    await scene.check_books()
    budgets = {state.counter: state for state in await scene.authority.budgets()}
    team = next(state for counter, state in budgets.items() if counter.startswith("team:red|month"))
    billed = [row for run in runs for row in await scene.invoice(run.id)]
    assert team.limit_nano_usd == usd("50")
    assert team.spent_nano_usd == sum(row["amount_nano_usd"] for row in billed)
    assert await scene.authority.read_switches(["kill:model:nobody"]) == {
        "kill:model:nobody": "manual:test:stays"
    }
    await scene.authority.clear_switch("kill:model:nobody")


async def test_emptied_while_runs_wait_for_money(scene: Scene) -> None:
    """The agent's own budget for the day comes back too: a top-up is measured against it, and wakes them."""
    runs = [await scene.start("crowd") for _ in range(6)]
    counter = await until(lambda: _day_that_is_spent(scene, "crowd", len(runs)))
    [before] = await scene.authority.counters([counter])
    epoch = await scene.until_open()

    async with scene.redis() as redis:
        await redis.flushall()
    await scene.until_open(epoch)

    assert await scene.authority.counters([counter]) == [before]
    done = await scene.authority.top_up("more", counter, usd("1"))
    assert before.limit_nano_usd is not None
    assert done.limit_nano_usd == before.limit_nano_usd + usd("1")
    for run in runs:
        assert (await scene.result(run, seconds=15)).status == "completed"
    await scene.check_books()


async def test_restored_from_an_older_copy(scene: Scene) -> None:
    """What was spent since the copy is not forgotten: admission closes until it is counted again."""
    data = scene.stack.directory / "valkey"
    copy = await asyncio.to_thread(_copied, data)
    assert (await scene.result(await scene.start("walker"))).status == "completed"
    await scene.check_books()
    spent = {state.counter: state.spent_nano_usd for state in await scene.authority.budgets()}
    epoch = await scene.until_open()
    going_on = await scene.start("talker")
    await scene.until_streaming(going_on.id)

    await scene.valkey.kill()
    await asyncio.to_thread(shutil.rmtree, data)
    await asyncio.to_thread(shutil.copytree, copy, data)
    await scene.valkey.start()

    assert await scene.until_open(epoch) > epoch
    assert (await scene.result(going_on)).status == "completed"
    await scene.check_books()
    now = {state.counter: state.spent_nano_usd for state in await scene.authority.budgets()}
    assert all(now[counter] >= amount for counter, amount in spent.items())
    assert len(await scene.invoice(going_on.id)) == 1


async def _day_that_is_spent(scene: Scene, agent: str, runs: int) -> str | None:
    """The counter of the agent's day, once all of its runs that live wait for it."""
    found = await scene.store.runs.list(agent=agent, limit=runs)
    live = [run for run in found if run.ended_at is None]
    waits = all(run.waiting_for.startswith(f"exhausted: agent:{agent} per day") for run in live)
    if len(found) < runs or not live or not waits:
        return None
    return next(
        state.counter
        for state in await scene.authority.budgets()
        if state.counter.startswith(f"agent:{agent}|day|")
    )


def _copied(data: Path) -> Path:
    copy = data.with_name("valkey-copy")
    shutil.copytree(data, copy)
    return copy


async def _until_nothing_is_generated(scene: Scene) -> list[str]:
    """Wait until the provider has answered what was in flight; the attempts billed until then."""

    async def quiet() -> list[str] | None:
        rows = await scene.invoice()
        return None if any(row["state"] == "open" for row in rows) else ids(rows)

    return await until(quiet)


async def _until_it_waits_for_a_server(scene: Scene, run_id: str) -> None:
    async def waits() -> bool:
        status = await scene.status(scene.client.get_workflow_handle(run_id))
        return "provider" in status.waiting_for

    await until(waits)
