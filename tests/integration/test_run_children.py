"""Runs below runs: what is said to a parent holds for its children, and so does what ends it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio as redis
from temporalio.client import Client, WorkflowFailureError

from gateway.agents import Agent
from gateway.policy.limits import RunLimits
from gateway.policy.money import usd
from gateway.store import Run
from tests.integration.runs import Factory, Handle, eventually, serving
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

MODELS = (
    "gpt-5-mini@delegate",
    "gpt-5-mini@ask",
    "gpt-5-mini@spend-400-6",
    "gpt-5-mini@say-60+slow-stream-40",
)


def agents(root: Path) -> list[Agent]:
    def boss(name: str, child: str, **given: object) -> Agent:
        return Agent.model_validate(
            {"name": name, "tier": "openai/gpt-5-mini@delegate", "agents": (child,), **given}
        )

    (root / "notes.txt").write_text("curb keeps them affordable.\n")
    files = ("list_files", "read_file", "write_file")
    spender = {"tier": "openai/gpt-5-mini@spend-400-6", "tools": files, "root": str(root)}
    return [
        Agent(name="asker", tier="openai/gpt-5-mini@ask", tools=("ask_human",)),
        Agent(name="slow", tier="openai/gpt-5-mini@say-60+slow-stream-40"),
        Agent.model_validate({"name": "spender", **spender}),
        boss("boss-of-asker", "asker"),
        boss("boss-of-slow", "slow"),
        boss("late-boss", "slow", limits=RunLimits(deadline_seconds=1.5)),
        boss("patient-boss", "spender", on_budget="pause", run_budget_nano_usd=usd("0.007")),
        boss("strict-boss", "spender", run_budget_nano_usd=usd("0.007")),
        boss("shadow-boss", "spender", mode="shadow"),
        boss("endless", "endless"),
    ]


@pytest.fixture(scope="module")
async def factory(
    temporal: Client,
    redis_url: str,
    database: str,
    simulator: SimulatedProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Factory]:
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()
    root = tmp_path_factory.mktemp("root")
    gateway = config(simulator.url, ("balanced", MODELS))
    async with serving(temporal, Servers(redis_url, database), gateway, agents(root)) as running:
        yield running


async def the_child(factory: Factory, parent: Handle) -> Handle:
    """The only child of a run, as soon as it is open."""

    async def there() -> bool:
        return bool(await factory.store.runs.list(parent=parent.id))

    await eventually(there)
    [child] = await factory.store.runs.list(parent=parent.id)
    return factory.client.get_workflow_handle(child.id)


async def until_sending(factory: Factory, run: Handle) -> None:
    async def sends() -> bool:
        return any(row["state"] == "pending" for row in await factory.store.attempts.of_run(run.id))

    await eventually(sends)


async def until_ended(factory: Factory, run: Handle) -> Run:
    async def ended() -> bool:
        return (await factory.store.runs.get(run.id)).ended_at is not None

    await eventually(ended)
    return await factory.store.runs.get(run.id)


async def until_in_doubt(factory: Factory, run: Handle) -> None:
    """Wait until the run's only call is on the books as cut."""

    async def in_doubt() -> bool:
        return [row["state"] for row in await factory.store.attempts.of_run(run.id)] == ["in_doubt"]

    await eventually(in_doubt)


async def test_a_pause_and_a_resume_reach_the_child(factory: Factory) -> None:
    run = await factory.start("boss-of-asker")
    child = await the_child(factory, run)
    await factory.until_waiting(child, "question")

    await run.signal("pause", "let me look")
    assert await factory.until_waiting(child, "hand") == "let me look"
    await run.signal("resume")

    async def goes_on() -> bool:
        return "hand" not in (await factory.status(child)).waiting_for

    await eventually(goes_on)
    await child.execute_update("answer", "yes")
    assert (await run.result()).status == "completed"


async def test_a_run_paused_before_its_child_began_has_a_paused_child(factory: Factory) -> None:
    run = await factory.start("boss-of-asker")
    await run.signal("pause", "not yet")
    await factory.until_waiting(run, "hand")

    record = await factory.store.runs.list(parent=run.id)
    if record:  # it had begun already
        child = factory.client.get_workflow_handle(record[0].id)
        assert await factory.until_waiting(child, "hand") == "not yet"

    await run.signal("resume")
    child = await the_child(factory, run)
    await factory.until_waiting(child, "question")
    await child.execute_update("answer", "yes")
    assert (await run.result()).status == "completed"


async def test_killing_a_parent_ends_its_child_and_cuts_the_childs_call(factory: Factory) -> None:
    run = await factory.start("boss-of-slow")
    child = await the_child(factory, run)
    await until_sending(factory, child)

    await run.signal("kill", "enough")

    assert (await run.result()).status == "killed"
    ended = await until_ended(factory, child)
    assert (ended.status, ended.reason) == ("killed", f"with {run.id}: enough")
    await until_in_doubt(factory, child)


async def test_cancelling_a_parent_in_the_ui_ends_its_child(factory: Factory) -> None:
    run = await factory.start("boss-of-slow")
    child = await the_child(factory, run)
    await until_sending(factory, child)

    await run.cancel()

    with pytest.raises(WorkflowFailureError):
        await run.result()
    ended = await until_ended(factory, child)
    assert (ended.status, ended.reason) == ("killed", "cancelled from Temporal")
    await until_in_doubt(factory, child)


async def test_a_parents_deadline_is_its_childs_too(factory: Factory) -> None:
    run = await factory.start("late-boss")
    child = await the_child(factory, run)

    assert (await run.result()).status == "expired"
    ended = await until_ended(factory, child)
    assert (ended.status, ended.reason) == ("killed", f"with {run.id}: its deadline has passed")


async def test_a_killed_child_is_an_answer_to_its_parent(factory: Factory) -> None:
    run = await factory.start("boss-of-slow")
    child = await the_child(factory, run)
    await until_sending(factory, child)

    await child.signal("kill", "only this one")

    result = await run.result()
    assert result.status == "completed"
    items = await factory.store.conversations.load(result.conversation_id)
    told = [part.content for i in items for part in i.message.parts if part.type == "tool_result"]
    assert told == ["slow killed: only this one"]


async def test_a_child_waits_for_its_parents_money_when_the_parent_would(factory: Factory) -> None:
    run = await factory.start("patient-boss")
    child = await the_child(factory, run)
    assert f"exhausted: run:{run.id}" in await factory.until_waiting(child, "budget")

    await run.execute_update("top_up", "0.1")

    assert (await run.result()).status == "completed"
    assert (await until_ended(factory, child)).status == "completed"


async def test_a_child_fails_for_its_parents_money_when_the_parent_would(factory: Factory) -> None:
    run = await factory.start("strict-boss")
    child = await the_child(factory, run)

    assert (await until_ended(factory, child)).status == "failed"
    await run.result()


async def test_children_inherit_shadow_mode(factory: Factory) -> None:
    run = await factory.start("shadow-boss")
    child = await the_child(factory, run)

    assert (await run.result()).status == "completed"
    record = await until_ended(factory, child)
    assert record.mode == "shadow"
    actions = await factory.store.runs.events(child.id, "shadow_action")
    assert [action.body["tool"] for action in actions] == ["write_file"]


async def test_delegation_ends_four_runs_down(factory: Factory) -> None:
    result = await factory.run("endless")

    assert result.status == "completed"
    depth, deepest = 0, result.run_id
    while children := await factory.store.runs.list(parent=deepest):
        depth, deepest = depth + 1, children[0].id
    assert depth == 4
    conversation = (await factory.store.runs.get(deepest)).conversation_id
    items = await factory.store.conversations.load(conversation)
    told = [part.content for i in items for part in i.message.parts if part.type == "tool_result"]
    assert told == ["endless failed: delegated too deep: at most 4 runs above another"]
