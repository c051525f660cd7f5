"""Unmodified workers of OpenAI Agents, pydantic-ai and LangGraph under SupervisorPlugin."""

from collections.abc import AsyncIterator

import openai
import pytest
from temporalio.client import Client
from temporalio.worker import Replayer

from activities.messages import TopUp
from curb import supervised_async_http_client
from gateway.agents import Agent
from gateway.policy.money import usd
from tests.integration.plugin_world import (
    BRIEF,
    DEAR,
    FRAMEWORKS,
    INVALID,
    MODELS,
    SLOW,
    WORKFLOWS,
    FrameworkWorker,
    Handle,
    failure,
    open_worker,
    plugins,
)
from tests.integration.runs import eventually
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.client import Runs
from worker.plugin.asking import NotSupervised
from worker.wiring import Servers

STOPPED_BY_SWITCH = Agent(name="obedient", on_switch="stop")
PATIENT = Agent(name="patient", on_budget="pause", run_budget_nano_usd=usd("0.0025"))


@pytest.fixture(scope="module", params=FRAMEWORKS)
async def worker(
    request: pytest.FixtureRequest,
    temporal: Client,
    redis_url: str,
    database: str,
    simulator: SimulatedProvider,
) -> AsyncIterator[FrameworkWorker]:
    gateway = config(simulator.url, ("quick", [BRIEF]), ("balanced", MODELS))
    servers, agents = Servers(redis_url, database), [STOPPED_BY_SWITCH, PATIENT]
    async with open_worker(request.param, temporal, servers, gateway, simulator, agents=agents) as running:
        yield running


async def until_state(worker: FrameworkWorker, run: Handle, *states: str) -> None:
    """Wait until the attempts of the run are in these states, the first one first."""

    async def reached() -> bool:
        return [row["state"] for row in await worker.attempts(run)] == list(states)

    await eventually(reached, 60)


async def test_its_calls_are_in_the_ledger_as_on_the_invoice(worker: FrameworkWorker) -> None:
    run = await worker.start(BRIEF, 3, user="ada", team="search")

    assert len(await run.result()) == 3

    rows = await worker.attempts(run)
    assert [row["state"] for row in rows] == ["settled"] * 3
    who = {(row["agent"], row["user_id"], row["team"]) for row in rows}
    assert who == {(worker.framework, "ada", "search")}
    invoice = {row["client_request_id"]: row["amount_nano_usd"] for row in worker.world.simulator.invoice()}
    assert {row["attempt_id"]: row["cost_nano_usd"] for row in rows}.items() <= invoice.items()
    assert [row["step"] for row in rows] == [1, 2, 3]


async def test_a_switch_cuts_its_call_and_it_goes_on_when_the_switch_is_gone(worker: FrameworkWorker) -> None:
    authority = worker.world.parts.authority
    run = await worker.start(SLOW)
    await worker.until_sending(run)

    await authority.set_switch(f"kill:agent:{worker.framework}", "manual:test:look")
    await worker.until_waiting(run, "switched")
    await until_state(worker, run, "in_doubt")
    await authority.clear_switch(f"kill:agent:{worker.framework}")

    assert await run.result()
    await until_state(worker, run, "in_doubt", "settled")


async def test_a_switch_ends_an_agent_that_stops_on_switches(worker: FrameworkWorker) -> None:
    authority = worker.world.parts.authority
    await authority.set_switch("kill:agent:obedient", "manual:test:enough")

    error = await failure(await worker.start(BRIEF, agent="obedient"))

    await authority.clear_switch("kill:agent:obedient")
    assert (error.type, error.non_retryable) == ("killed", True)


async def test_a_spent_budget_fails_it_with_the_numbers(worker: FrameworkWorker) -> None:
    run = await worker.start(DEAR, 3, budget_usd="0.0025")

    error = await failure(run)

    assert error.type == "exhausted"
    assert error.details[0]["scope"] == f"run:{run.id}"
    assert error.details[0]["limit_usd"] == "0.0025"
    assert [row["state"] for row in await worker.attempts(run) if row["state"] != "refused"] == ["settled"]


async def test_a_patient_agent_goes_on_with_more_money(worker: FrameworkWorker) -> None:
    run = await worker.start(DEAR, 2, agent="patient")
    await worker.until_waiting(run, "exhausted")

    runs = Runs(worker.client, worker.world.parts.store, worker.world.parts.authority)
    done = await runs.top_up(run.id, TopUp(usd="0.01"))
    assert done.limit_usd == "0.0125"

    assert len(await run.result()) == 2


async def test_a_spent_day_makes_it_wait_until_the_limit_is_raised(worker: FrameworkWorker) -> None:
    day = worker.framework.lower()
    await worker.world.limit(**{f"agent__{day}": usd("0.0025")})
    run = await worker.start(DEAR, 2, agent=day)
    assert "per day" in await worker.until_waiting(run, "exhausted")

    await worker.world.limit(**{f"agent__{day}": usd("1")})

    assert len(await run.result()) == 2


async def test_a_kill_signal_ends_it_and_its_call_is_cut_and_booked(worker: FrameworkWorker) -> None:
    run = await worker.start(SLOW)
    await worker.until_sending(run)

    await run.signal("kill", "enough")
    error = await failure(run)

    assert (error.type, error.message) == ("killed", "enough")
    await until_state(worker, run, "in_doubt")


async def test_cancelling_it_cuts_its_call(worker: FrameworkWorker) -> None:
    run = await worker.start(SLOW)
    await worker.until_sending(run)

    await run.cancel()

    await until_state(worker, run, "in_doubt")


async def test_it_is_stopped_when_its_steps_are_used_up(worker: FrameworkWorker) -> None:
    run = await worker.start(BRIEF, 3, max_steps=2)

    error = await failure(run)

    assert (error.type, error.message) == ("stopped", "max_steps: 2 steps are used up")
    assert [row["state"] for row in await worker.attempts(run)] == ["settled"] * 2


async def test_what_no_retry_mends_is_not_retried(worker: FrameworkWorker) -> None:
    run = await worker.start(INVALID)

    error = await failure(run)

    assert (error.type, error.non_retryable) == ("invalid_request", True)
    assert len(await worker.attempts(run)) == 1


async def test_it_says_how_it_stands(worker: FrameworkWorker) -> None:
    run = await worker.start(BRIEF, budget_usd="0.50")
    await run.result()

    status = await run.query("curb_status")

    assert (status["run"], status["agent"], status["budget_usd"]) == (run.id, worker.framework, "0.50")


async def test_a_memo_that_is_no_launch_fails_it_and_names_the_field(worker: FrameworkWorker) -> None:
    error = await failure(await worker.start(BRIEF, budget="1"))

    assert (error.type, "curb.budget" in error.message) == ("Configuration", True)


async def test_its_history_replays_with_the_plugin_and_without(worker: FrameworkWorker) -> None:
    run = await worker.start(BRIEF, 2)
    await run.result()
    history = await run.fetch_history()

    for more in ([worker.supervisor], []):
        replayer = Replayer(
            workflows=[WORKFLOWS[worker.framework]], plugins=[*plugins(worker.framework), *more]
        )
        await replayer.replay_workflow(history)


async def test_its_client_sends_nothing_outside_of_an_activity() -> None:
    async with openai.AsyncOpenAI(
        api_key="unused", max_retries=0, http_client=supervised_async_http_client()
    ) as client:
        with pytest.raises(NotSupervised, match="nothing was sent"):
            await client.chat.completions.create(model=BRIEF, messages=[{"role": "user", "content": "Hello"}])
