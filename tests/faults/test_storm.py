"""The storm: whatever breaks in whatever order, the books are right and every run ends."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from gateway.policy.money import usd
from gateway.policy.scopes import Period
from tests.faults.scene import Handle, Scene, open_scene, until
from tests.faults.storm import Storm
from workflows.messages import RunResult

FAULTS = 14
RUNS_AT_FIRST, RUNS_PER_FAULT = 14, 2
GLOBAL_LIMIT = usd("5")


@pytest.fixture
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path_factory.mktemp("storm"), workers=2) as scene:
        yield scene


async def test_a_storm(scene: Scene) -> None:
    """CURB_STORM_SEED repeats another storm."""
    seed = int(os.environ.get("CURB_STORM_SEED", "1"))
    await _limit_everything(scene)
    storm = Storm(scene, random.Random(seed), scene.stack.directory / "older-copy")
    await storm.start_runs(RUNS_AT_FIRST)

    await storm.rage(FAULTS, RUNS_PER_FAULT)
    calming = asyncio.create_task(_resolve_often(storm))
    await _let_the_crowd_go_on(scene, storm.runs)
    results = await asyncio.gather(*(scene.result(run, seconds=90) for run in storm.runs))
    calming.cancel()
    await asyncio.gather(calming, return_exceptions=True)

    for result in results:
        assert _ended_as_it_should(result), (result, storm.happened)
    report = await scene.check_books()
    assert (report.adopted, report.dead_events) == (0, 0)
    await _check_budgets_by_the_ledger(scene)
    refused = _refused_as_exhausted(scene)
    assert {row["agent"] for row in refused} == {"spender", "crowd"}
    for row in refused:
        _check_it_was_out_of_budget(row)


async def _limit_everything(scene: Scene) -> None:
    limits = {("global", Period.DAY): GLOBAL_LIMIT}
    version = await scene.store.budgets.apply_policy(limits, source="storm", applied_by="test")
    await scene.authority.apply_limits(version, limits)


async def _resolve_often(storm: Storm) -> None:
    while True:
        await storm.resolve()
        await asyncio.sleep(1)


async def _let_the_crowd_go_on(scene: Scene, runs: list[Handle]) -> None:
    """Wait until everybody has ended or waits for the day's budget; then raise it."""

    async def others_ended() -> bool:
        live = {run.id: run for run in await scene.store.runs.list(live=True, limit=1000)}
        unopened = [run.id for run in runs if run.id not in live and not await _is_over(scene, run.id)]
        waits = (run.waiting_for.startswith("exhausted: agent:crowd") for run in live.values())
        return not unopened and all(waits)

    await until(others_ended, seconds=90)
    for state in await scene.authority.budgets():
        if state.counter.startswith("agent:crowd|day|"):
            await scene.authority.top_up("after-the-storm", state.counter, usd("1"))


async def _is_over(scene: Scene, run_id: str) -> bool:
    return (await scene.store.runs.get(run_id)).ended_at is not None


def _ended_as_it_should(result: RunResult) -> bool:
    if result.run_id.startswith("spender"):
        return result.status == "failed" and "exhausted: run:" in result.reason
    return result.status == "completed"


async def _check_budgets_by_the_ledger(scene: Scene) -> None:
    """No hard budget was exceeded, and what Redis says was spent is what the ledger says."""
    states = {state.counter: state for state in await scene.authority.budgets()}
    spent = await scene.store.attempts.spent_by_counter(list(states))
    for counter, state in states.items():
        assert spent.get(counter, 0) == state.spent_nano_usd, counter
        assert state.limit_nano_usd is None or spent.get(counter, 0) <= state.limit_nano_usd, state
    assert sum(state.limit_nano_usd is not None for state in states.values()) >= 3


def _refused_as_exhausted(scene: Scene) -> list[dict[str, Any]]:
    """Every refusal with what its counter had in the ledger by then."""
    query = """
        SELECT r.agent, r.refusal, (
            SELECT coalesce(sum(l.amount_nano_usd), 0)::bigint
            FROM ledger AS l LEFT JOIN attempts AS a ON a.attempt_id = l.attempt_id
            CROSS JOIN LATERAL unnest(coalesce(l.counters, a.counters)) AS c (counter)
            WHERE l.at <= r.at
              AND c.counter LIKE (r.refusal->>'scope') || '|' || (r.refusal->>'period') || '|%'
        ) AS spent_nano_usd
        FROM attempts AS r WHERE r.state = 'refused' AND r.refusal->>'kind' = 'exhausted'
    """
    with psycopg.connect(scene.stack.database_url, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def _check_it_was_out_of_budget(row: dict[str, Any]) -> None:
    refusal = row["refusal"]
    assert refusal["spent_nano_usd"] + refusal["asked_nano_usd"] > refusal["limit_nano_usd"]
    assert refusal["spent_nano_usd"] <= row["spent_nano_usd"], row
