"""Agent runs on real Temporal, Valkey, PostgreSQL and a provider that bills."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio as redis
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError

from gateway.agents import Agent
from gateway.policy.limits import RunLimits
from gateway.policy.money import usd
from tests.integration.runs import Factory, eventually, serving
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

MODELS = (
    "gpt-5-mini",
    "gpt-5-mini@loop",
    "gpt-5-mini@alternate",
    "gpt-5-mini@grow",
    "gpt-5-mini@repeat",
    "gpt-5-mini@ask",
    "gpt-5-mini@delegate",
    "gpt-5-mini@spend-400-6",
    "gpt-5-mini@say-60+slow-stream-40",
    "gpt-5-mini@long-12",
    "claude-sonnet-4-5",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("root")
    (path / "notes.txt").write_text("Temporal keeps workflows alive.\n")
    (path / "more.txt").write_text("curb keeps them affordable.\n")
    return path


def agents(root: Path) -> list[Agent]:
    files = ("list_files", "read_file", "write_file")

    def agent(name: str, model: str, **given: object) -> Agent:
        provider = "anthropic" if model.startswith("claude") else "openai"
        values = {"name": name, "tier": f"{provider}/{model}", "tools": files, "root": str(root), **given}
        return Agent.model_validate(values)

    return [
        agent("steady", "gpt-5-mini"),
        agent("steady-claude", "claude-sonnet-4-5"),
        agent("looper", "gpt-5-mini@loop"),
        agent("alternator", "gpt-5-mini@alternate"),
        agent("grower", "gpt-5-mini@grow", max_output_tokens=200_000, limits=RunLimits(max_tool_calls=200)),
        agent("repeater", "gpt-5-mini@repeat"),
        agent("asker", "gpt-5-mini@ask", tools=("ask_human",)),
        agent("boss", "gpt-5-mini@delegate", agents=("steady",), tools=()),
        agent("spender", "gpt-5-mini@spend-400-6", on_budget="pause", run_budget_nano_usd=usd("0.006")),
        agent("miser", "gpt-5-mini@spend-400-6", run_budget_nano_usd=usd("0.006")),
        agent("shadow", "gpt-5-mini", mode="shadow"),
        agent("slow", "gpt-5-mini@say-60+slow-stream-40"),
        agent("stopper", "gpt-5-mini@say-60+slow-stream-40", on_switch="stop"),
        agent("long", "gpt-5-mini@long-12"),
        agent("short", "gpt-5-mini@long-12", limits=RunLimits(max_steps=3)),
        agent("nameless", "no-such-model"),
    ]


@pytest.fixture(scope="module")
async def factory(
    temporal: Client, redis_url: str, database: str, simulator: SimulatedProvider, root: Path
) -> AsyncIterator[Factory]:
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()
    gateway = config(simulator.url, ("balanced", MODELS))
    async with serving(temporal, Servers(redis_url, database), gateway, agents(root)) as running:
        yield running


@pytest.mark.parametrize("agent", ["steady", "steady-claude"])
async def test_a_worker_with_real_tools_completes(factory: Factory, agent: str) -> None:
    result = await factory.run(agent)

    assert (result.status, result.reason) == ("completed", "")
    assert result.steps == 4
    assert result.cost_nano_usd > 0
    run = await factory.store.runs.get(result.run_id)
    assert (run.status, run.steps, run.cost_nano_usd) == ("completed", 4, result.cost_nano_usd)


@pytest.mark.parametrize(
    ("agent", "rule"),
    [
        ("looper", "repeated_call"),
        ("alternator", "alternating_calls"),
        ("grower", "context_explosion"),
        ("repeater", "repeated_output"),
        ("short", "max_steps"),
    ],
)
async def test_a_runaway_is_stopped_by_the_rule_that_saw_it(factory: Factory, agent: str, rule: str) -> None:
    result = await factory.run(agent)

    assert result.status == "stopped", result
    assert result.reason.startswith(rule)


async def test_a_run_out_of_money_pauses_and_goes_on_after_a_top_up(factory: Factory) -> None:
    run = await factory.start("spender")
    reason = await factory.until_waiting(run, "budget")
    assert f"exhausted: run:{run.id}" in reason

    await run.execute_update("top_up", "0.05")
    result = await run.result()

    assert result.status == "completed"
    assert usd("0.006") < result.cost_nano_usd < usd("0.056")


async def test_a_run_out_of_money_fails_when_it_should_not_wait(factory: Factory) -> None:
    result = await factory.run("miser")

    assert result.status == "failed"
    assert "exhausted: run:" in result.reason


async def test_a_bad_top_up_is_rejected_before_it_is_in_history(factory: Factory) -> None:
    run = await factory.start("spender")
    await factory.until_waiting(run, "budget")

    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await run.execute_update("top_up", "much")

    assert "is not an amount of dollars" in str(failed.value.cause)
    await run.signal("kill", "done with it")
    assert (await run.result()).reason == "done with it"


async def test_shadow_mode_records_what_would_have_been_written(factory: Factory, root: Path) -> None:
    before = {path.name for path in root.iterdir()}

    result = await factory.run("shadow")

    assert result.status == "completed"
    actions = await factory.store.runs.events(result.run_id, "shadow_action")
    assert [action.body["tool"] for action in actions] == ["write_file"]
    assert {path.name for path in root.iterdir()} == before


async def test_a_kill_signal_ends_the_run_and_cuts_its_call(
    factory: Factory, simulator: SimulatedProvider
) -> None:
    run = await factory.start("slow")
    await eventually(lambda: _sends(factory, run.id))

    await run.signal("kill", "enough")
    result = await run.result()

    assert (result.status, result.reason) == ("killed", "enough")
    assert result.in_doubt_nano_usd > 0


async def test_a_switch_pauses_a_run_and_deleting_it_lets_it_go_on(factory: Factory) -> None:
    run = await factory.start("slow")
    await eventually(lambda: _sends(factory, run.id))

    await factory.authority.set_switch("kill:agent:slow", "manual:test:look")
    await factory.until_waiting(run, "switch")
    await factory.authority.clear_switch("kill:agent:slow")

    result = await run.result()
    assert result.status == "completed"
    assert result.in_doubt_nano_usd > 0


async def test_an_agent_that_stops_on_a_switch_ends(factory: Factory) -> None:
    run = await factory.start("stopper")
    await eventually(lambda: _sends(factory, run.id))

    await factory.authority.set_switch("kill:agent:stopper", "manual:test:stop")

    assert (await run.result()).status == "killed"


async def test_a_pause_by_hand_holds_until_resumed(factory: Factory) -> None:
    run = await factory.start("long")
    await run.signal("pause", "let me look")
    await factory.until_waiting(run, "hand")

    await run.signal("resume")

    assert (await run.result()).status == "completed"


async def test_a_question_waits_for_a_person_and_the_answer_goes_on(factory: Factory) -> None:
    run = await factory.start("asker")
    await factory.until_waiting(run, "question")

    await run.execute_update("answer", "yes, do it")

    result = await run.result()
    assert result.status == "completed"
    items = await factory.store.conversations.load(result.conversation_id)
    assert any(
        "yes, do it" in part.content for i in items for part in i.message.parts if part.type == "tool_result"
    )


async def test_a_delegated_task_is_charged_to_both_runs(factory: Factory) -> None:
    result = await factory.run("boss")

    assert result.status == "completed"
    [child] = await factory.store.runs.list(parent=result.run_id)
    assert child.status == "completed"
    assert child.cost_nano_usd < result.cost_nano_usd


async def test_continue_as_new_loses_nothing(factory: Factory) -> None:
    result = await factory.run("long", continue_after_steps=5)

    assert (result.status, result.steps) == ("completed", 12)
    rows = await factory.store.attempts.of_run(result.run_id)
    assert sum(row["cost_nano_usd"] for row in rows) <= result.cost_nano_usd


async def test_cancelling_in_the_ui_ends_the_run_and_keeps_its_record(factory: Factory) -> None:
    run = await factory.start("slow")
    await eventually(lambda: _sends(factory, run.id))

    await run.cancel()
    with pytest.raises(WorkflowFailureError):
        await run.result()

    record = await factory.store.runs.get(run.id)
    assert (record.status, record.reason) == ("killed", "cancelled from Temporal")


async def test_terminating_in_the_ui_is_noticed_and_the_record_closed(factory: Factory) -> None:
    run = await factory.start("slow")
    await eventually(lambda: _sends(factory, run.id))

    await run.terminate("away with it")

    async def closed() -> bool:
        return (await factory.store.runs.get(run.id)).ended_at is not None

    await eventually(closed)
    assert (await factory.store.runs.get(run.id)).reason == "terminated from Temporal"


@pytest.mark.parametrize(
    ("agent", "says"), [("nobody", "'nobody' is not configured"), ("nameless", "no-such-model")]
)
async def test_what_cannot_work_fails_and_says_why(factory: Factory, agent: str, says: str) -> None:
    result = await factory.run(agent)

    assert result.status == "failed"
    assert says in result.reason


async def _sends(factory: Factory, run_id: str) -> bool:
    """Whether a call of this run is in flight."""
    rows = await factory.store.attempts.of_run(run_id)
    return any(row["state"] == "pending" for row in rows)
