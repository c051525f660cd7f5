"""What people can say to a run: approvals, steps, top-ups; and what a run tells people about itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio as redis
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.common import SearchAttributeKey

from gateway.agents import Agent
from gateway.policy.limits import RunLimits
from gateway.policy.money import usd
from tests.integration.runs import Factory, Handle, eventually, serving
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.temporal import knows_search_attributes
from worker.wiring import Servers
from workflows.messages import Deny

MODELS = (
    "gpt-5-mini",
    "gpt-5-mini@steady-2",
    "gpt-5-mini@ask",
    "gpt-5-mini@spend-400-6",
    "gpt-5-mini@long-12",
    "gpt-5-mini@say-60+slow-stream-40",
)
SHORT_WAIT = RunLimits(max_wait_seconds=0.3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("root")
    (path / "notes.txt").write_text("Temporal keeps workflows alive.\n")
    return path


def agents(root: Path) -> list[Agent]:
    def agent(name: str, model: str, *tools: str, **given: object) -> Agent:
        values = {"name": name, "tier": f"openai/{model}", "tools": tools, "root": str(root / name), **given}
        (root / name).mkdir()
        (root / name / "notes.txt").write_text("curb keeps them affordable.\n")
        return Agent.model_validate(values)

    files = ("list_files", "read_file", "write_file")
    return [
        *(agent(name, "gpt-5-mini@steady-2", "refund") for name in ("approved", "denied", "guessed")),
        agent("unapproved", "gpt-5-mini@steady-2", "refund", limits=SHORT_WAIT),
        agent("shadow", "gpt-5-mini@steady-2", "refund", mode="shadow"),
        agent("unanswered", "gpt-5-mini@ask", "ask_human", limits=SHORT_WAIT),
        agent("poor", "gpt-5-mini@spend-400-6", *files, on_budget="pause", run_budget_nano_usd=usd("0.006")),
        agent(
            "poorer",
            "gpt-5-mini@spend-400-6",
            *files,
            on_budget="pause",
            run_budget_nano_usd=usd("0.006"),
            limits=SHORT_WAIT,
        ),
        agent("begging", "gpt-5-mini@spend-400-6", *files, on_budget="ask", run_budget_nano_usd=usd("0.006")),
        agent("short", "gpt-5-mini@long-12", *files, limits=RunLimits(max_steps=3, max_tool_calls=100)),
        agent("long", "gpt-5-mini@long-12", *files, limits=RunLimits(max_steps=12)),
        agent("late", "gpt-5-mini@say-60+slow-stream-40", limits=RunLimits(deadline_seconds=1.0)),
        agent("steady", "gpt-5-mini", *files, team="research", run_budget_nano_usd=usd("0.5")),
    ]


@pytest.fixture(scope="module")
async def factory(
    temporal: Client, redis_url: str, database: str, simulator: SimulatedProvider, root: Path
) -> AsyncIterator[Factory]:
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()
    tools = str(Path(__file__).with_name("own_tools.py"))
    gateway = config(simulator.url, ("balanced", MODELS))
    async with serving(temporal, Servers(redis_url, database), gateway, agents(root), tools=[tools]) as it:
        yield it


async def the_open_call(factory: Factory, run: Handle) -> str:
    """The id of the tool call that waits for people, as the run says it."""
    text = await factory.until_waiting(run, "approval")
    assert text.startswith("approval of refund (")
    return text.removeprefix("approval of refund (").removesuffix(")")


async def results(factory: Factory, run: Handle) -> list[str]:
    """What the model was told about its tool calls."""
    conversation = (await factory.store.runs.get(run.id)).conversation_id
    items = await factory.store.conversations.load(conversation)
    return [part.content for i in items for part in i.message.parts if part.type == "tool_result"]


# -- approvals ---------------------------------------------------------------------------------


async def test_an_approved_call_is_made(factory: Factory, root: Path) -> None:
    run = await factory.start("approved")
    call = await the_open_call(factory, run)

    assert await run.execute_update("approve", call) == "approved"

    assert (await run.result()).status == "completed"
    assert (root / "approved/refunds.txt").read_text() == "order 1\n"
    [escalation] = await factory.store.runs.events(run.id, "escalation_approval")
    assert escalation.body["call"]["id"] == call


async def test_a_denied_call_is_not_made_and_the_model_is_told_why(factory: Factory, root: Path) -> None:
    run = await factory.start("denied")
    call = await the_open_call(factory, run)

    assert await run.execute_update("deny", Deny(call=call, reason="too much")) == "denied"

    assert (await run.result()).status == "completed"
    assert await results(factory, run) == ["A person denied this call: too much"]
    assert not (root / "denied/refunds.txt").exists()


@pytest.mark.parametrize("update", ["approve", "deny"])
async def test_a_decision_about_an_unknown_call_is_rejected(factory: Factory, update: str) -> None:
    run = await factory.start("guessed")
    call = await the_open_call(factory, run)

    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await run.execute_update(update, "no-such-call")

    assert f"'no-such-call' does not wait for approval; waiting: {call}" in str(failed.value.cause)
    await run.signal("kill", "done with it")
    await run.result()


async def test_shadow_mode_asks_nobody_for_what_it_will_not_do(factory: Factory, root: Path) -> None:
    result = await factory.run("shadow")

    assert result.status == "completed"
    [action] = await factory.store.runs.events(result.run_id, "shadow_action")
    assert action.body["tool"] == "refund"
    assert not (root / "shadow/refunds.txt").exists()


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        ("unapproved", "nobody answered within 0.3 s: may it call refund?"),
        ("unanswered", "nobody answered within 0.3 s: a question to a person"),
        ("poorer", "no top-up within 0.3 s: exhausted: run:"),
    ],
)
async def test_a_run_that_waits_too_long_for_people_expires(
    factory: Factory, agent: str, reason: str
) -> None:
    result = await factory.run(agent)

    assert result.status == "expired"
    assert result.reason.startswith(reason)


# -- steps, money and time ---------------------------------------------------------------------


async def test_more_steps_let_a_run_go_on(factory: Factory) -> None:
    run = await factory.start("short", paused="let me think")
    await factory.until_waiting(run, "hand")

    assert await run.execute_update("extend_steps", 20) == 23
    await run.signal("resume")

    result = await run.result()
    assert (result.status, result.steps) == ("completed", 12)


@pytest.mark.parametrize("steps", [0, -3, 10_001])
async def test_absurd_numbers_of_steps_are_rejected(factory: Factory, steps: int) -> None:
    run = await factory.start("short", paused="let me think")
    await factory.until_waiting(run, "hand")

    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await run.execute_update("extend_steps", steps)

    assert "from 1 to 10000" in str(failed.value.cause)
    await run.signal("kill", "done with it")
    await run.result()


async def test_topping_up_another_budget_says_what_still_blocks(factory: Factory) -> None:
    run = await factory.start("poor")
    await factory.until_waiting(run, "budget")

    done = await run.execute_update("top_up", {"usd": "5", "scope": "agent:poor", "period": "day"})

    assert f"the run still waits: exhausted: run:{run.id}" in done["note"]
    await run.signal("kill", "done with it")
    await run.result()


async def test_the_same_top_up_sent_twice_is_done_once(factory: Factory) -> None:
    run = await factory.start("poor", paused="count it")
    await factory.until_waiting(run, "hand")

    limits = [(await run.execute_update("top_up", "0.05", id="once"))["limit_usd"] for _ in range(2)]

    assert limits == ["0.056", "0.056"]
    assert (await factory.status(run)).budget_usd == "0.056"
    await run.signal("resume")
    assert (await run.result()).status == "completed"


async def test_a_run_that_asks_for_money_calls_people(factory: Factory) -> None:
    run = await factory.start("begging")
    reason = await factory.until_waiting(run, "budget")

    [escalation] = await factory.store.runs.events(run.id, "escalation_budget")

    assert escalation.body["detail"] == reason
    await run.execute_update("top_up", "0.05")
    assert (await run.result()).status == "completed"


async def test_the_deadline_ends_a_run_and_cuts_its_call(factory: Factory) -> None:
    result = await factory.run("late")

    assert (result.status, result.reason) == ("expired", "the run's deadline has passed")
    assert result.in_doubt_nano_usd > 0


# -- continue-as-new ---------------------------------------------------------------------------


async def test_what_people_say_while_a_run_continues_as_new_is_not_lost(factory: Factory) -> None:
    run = await factory.start("long", continue_after_steps=2)

    for number in range(1, 9):
        assert await run.execute_update("extend_steps", 1) == 12 + number
        await run.signal("pause", f"look {number}")
        assert await factory.until_waiting(run, "hand") == f"look {number}"
        await run.signal("resume")
    result = await run.result()

    assert (result.status, result.steps) == ("completed", 12)
    assert (await factory.status(run)).max_steps == 20
    rows = await settled(factory, run, 12)
    assert [row["step"] for row in sorted(rows, key=lambda row: row["step"])] == list(range(1, 13))
    assert sum(row["cost_nano_usd"] for row in rows) == result.cost_nano_usd


async def settled(factory: Factory, run: Handle, number: int) -> list[dict[str, int]]:
    async def there() -> bool:
        rows = await factory.store.attempts.of_run(run.id)
        return [row["state"] for row in rows].count("settled") == number

    await eventually(there)
    return [dict(row) for row in await factory.store.attempts.of_run(run.id)]


# -- what a run tells people -------------------------------------------------------------------


async def details(run: Handle) -> str:
    """The text that the Temporal UI shows."""
    found = await run.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return str(found.current_details)


async def test_current_details_say_where_a_run_stands(factory: Factory) -> None:
    run = await factory.start("steady", paused="let me think")
    await factory.until_waiting(run, "hand")
    await eventually(lambda: _has(run, "paused"))

    assert await details(run) == (
        "**paused** · agent `steady` · step 0 of 25  \nspent $0.00 of $0.50  \nwaits for hand: let me think"
    )
    await run.signal("resume")
    result = await run.result()
    assert (await details(run)).startswith("**completed** · agent `steady` · step 4 of 25  \nspent $0.00")
    assert "waits" not in await details(run)
    assert result.status == "completed"


async def _has(run: Handle, words: str) -> bool:
    return words in await details(run)


async def test_runs_are_found_by_search_attributes(factory: Factory) -> None:
    assert await knows_search_attributes(factory.client)
    run = await factory.start("steady", user="ada", mode="shadow", paused="look at me")
    query = f'WorkflowId="{run.id}" AND CurbAgent="steady" AND CurbTeam="research" AND CurbUser="ada"'
    await eventually(lambda: _found(factory, f'{query} AND CurbMode="shadow" AND CurbStatus="paused"'))

    await run.signal("resume")
    result = await run.result()

    await eventually(lambda: _found(factory, f'{query} AND CurbStatus="completed"'))
    found = (await run.describe()).typed_search_attributes
    assert found[SearchAttributeKey.for_int("CurbCostMicroUsd")] == result.cost_nano_usd // 1000


async def _found(factory: Factory, query: str) -> bool:
    return bool([found async for found in factory.client.list_workflows(query)])


async def test_many_messages_at_once_are_all_heard(factory: Factory) -> None:
    run = await factory.start("long", paused="count")
    await factory.until_waiting(run, "hand")

    await asyncio.gather(*(run.execute_update("extend_steps", 1) for _ in range(20)))

    assert (await factory.status(run)).max_steps == 32
    await run.signal("kill", "done with it")
    await run.result()
