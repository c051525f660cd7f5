"""Workflows of the user's own with supervised model calls, loaded from files as `--tools` does."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from gateway.policy.money import usd
from gateway.store import AttemptRow
from tests.integration.runs import Factory, eventually, serving
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers
from workflows.queues import RUNS

ROOT = Path(__file__).resolve().parents[2]
OWN = str(ROOT / "tests/integration/own_workflows.py")
EXAMPLE = str(ROOT / "examples/own_workflow.py")
MODELS = (
    "gpt-5-mini@say-12",
    "gpt-5-mini@say-20",
    "gpt-5-mini@say-400",
    "gpt-5-mini@say-60+slow-stream-40",
)

Handle = WorkflowHandle[Any, Any]


@pytest.fixture(scope="module")
async def factory(
    temporal: Client, redis_url: str, database: str, simulator: SimulatedProvider
) -> AsyncIterator[Factory]:
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()
    gateway = config(simulator.url, ("quick", MODELS[:1]), ("balanced", MODELS))
    servers = Servers(redis_url, database)
    async with serving(temporal, servers, gateway, [], tools=[OWN, EXAMPLE]) as running:
        yield running


async def start(factory: Factory, workflow: str, *arguments: Any) -> Handle:
    id = f"{workflow}-{uuid.uuid4().hex[:8]}"
    return await factory.client.start_workflow(workflow, args=arguments, id=id, task_queue=RUNS)


async def attempts(factory: Factory, run: Handle) -> list[AttemptRow]:
    return list(await factory.store.attempts.of_run(run.id))


async def until_refused(factory: Factory, run: Handle, kind: str) -> str:
    """Wait until the run is on record as waiting for this; returns what it says."""

    async def waits() -> bool:
        return bool(await _waiting_for(factory, run.id, kind))

    await eventually(waits)
    return await _waiting_for(factory, run.id, kind)


async def _waiting_for(factory: Factory, run_id: str, kind: str) -> str:
    for record in await factory.store.runs.list(limit=100):
        if record.id == run_id and record.waiting_for.startswith(kind):
            return record.waiting_for
    return ""


async def until_sending(factory: Factory, run: Handle) -> None:
    async def sends() -> bool:
        return any(row["state"] == "pending" for row in await attempts(factory, run))

    await eventually(sends)


async def until_ended(factory: Factory, run_id: str) -> str:
    """Wait until the record of a run is closed; returns how."""

    async def ended() -> bool:
        return (await factory.store.runs.get(run_id)).ended_at is not None

    await eventually(ended)
    return (await factory.store.runs.get(run_id)).status


async def failure(run: Handle) -> ApplicationError:
    """The error that a workflow failed with."""
    with pytest.raises(WorkflowFailureError) as failed:
        await run.result()
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause


async def test_answers_arrive_and_are_on_the_books_of_a_run(factory: Factory) -> None:
    run = await start(factory, "Talk", "talker", 3)

    costs = await run.result()

    assert len(costs) == 3
    await eventually(lambda: _settled(factory, run, 3))
    assert sum(row["cost_nano_usd"] for row in await attempts(factory, run)) == sum(costs)
    assert await until_ended(factory, run.id) == "completed"


async def _settled(factory: Factory, run: Handle, number: int) -> bool:
    return [row["state"] for row in await attempts(factory, run)].count("settled") == number


async def test_the_example_runs_as_its_docstring_says(factory: Factory) -> None:
    run = await start(factory, "Summarise", "curb stands between agents and the money.")

    assert await run.result()


async def test_an_activity_of_the_same_module_is_served_too(factory: Factory) -> None:
    assert await (await start(factory, "Shouting", "aloud")).result() == "ALOUD"


async def test_two_agents_in_one_workflow_are_two_runs_that_both_end_with_it(factory: Factory) -> None:
    run = await start(factory, "TalkToTwo", "talker", "second")

    assert await run.result() == "done"

    other = f"{run.id}.second"
    assert await until_ended(factory, run.id) == "completed"
    assert await until_ended(factory, other) == "completed"
    items = await factory.store.conversations.load((await factory.store.runs.get(run.id)).conversation_id)
    assert [item.message.role for item in items] == ["user", "assistant"] * 2


async def test_a_continued_workflow_keeps_its_conversation_and_loses_no_words(factory: Factory) -> None:
    run = await start(factory, "TalkAcross", "talker", 3)

    await run.result()

    items = await factory.store.conversations.load((await factory.store.runs.get(run.id)).conversation_id)
    said = [item.message.text for item in items if item.message.role == "user"]
    assert said == [f"There are {left} to go." for left in (3, 2, 1)]


async def test_a_spent_budget_fails_the_call_with_its_numbers(factory: Factory) -> None:
    error = await failure(await start(factory, "Talk", "poor", 20))

    assert error.type == "failed"
    assert error.non_retryable
    assert "exhausted: run:Talk-" in error.message


async def test_a_spent_budget_pauses_until_the_top_up(factory: Factory) -> None:
    run = await start(factory, "Talk", "patient", 4)
    assert f"run:{run.id}" in await until_refused(factory, run, "exhausted")

    with pytest.raises(WorkflowUpdateFailedError):
        await run.execute_update("top_up", "nothing")
    done = await run.execute_update("top_up", "0.05")

    assert done["limit_usd"] == "0.0525"
    assert sum(await run.result()) > usd("0.0025")


async def test_the_step_limit_stops_it(factory: Factory) -> None:
    run = await start(factory, "Talk", "brief", 3)

    error = await failure(run)

    assert (error.type, error.message) == ("stopped", "max_steps: 2 steps are used up")
    assert await until_ended(factory, run.id) == "stopped"


async def test_a_kill_signal_ends_it_and_its_call_is_cut_and_booked(factory: Factory) -> None:
    run = await start(factory, "Talk", "slow-talker", 1)
    await until_sending(factory, run)

    await run.signal("kill", "enough")
    error = await failure(run)

    assert (error.type, error.message) == ("killed", "enough")
    assert await until_ended(factory, run.id) == "killed"

    async def in_doubt() -> bool:
        return [row["state"] for row in await attempts(factory, run)] == ["in_doubt"]

    await eventually(in_doubt)


async def test_a_pause_by_hand_holds_until_resumed(factory: Factory) -> None:
    run = await start(factory, "TalkAndWait", "talker")
    await eventually(lambda: _settled(factory, run, 1))
    await run.signal("pause", "let me look")
    await run.signal("go")
    await run.signal("resume")

    assert len(await run.result()) == 2


async def test_a_switch_makes_it_wait_and_deleting_it_lets_it_go_on(factory: Factory) -> None:
    await factory.authority.set_switch("kill:agent:talker", "manual:test:look")
    run = await start(factory, "Talk", "talker", 1)
    assert "kill:agent:talker" in await until_refused(factory, run, "switched")

    await factory.authority.clear_switch("kill:agent:talker")

    assert len(await run.result()) == 1
