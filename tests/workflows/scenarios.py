"""Every kind of ending and wait of a run, made to happen on real servers.

Each scenario is a coroutine that gets a Stage and returns the ids of the workflows whose histories
are worth keeping. The words that people and models say go through the store, as with the CLI.
"""

import contextlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError

from gateway.agents import Agent
from gateway.policy.limits import RunLimits
from gateway.policy.money import usd
from tests.integration.runs import Factory, Handle, eventually
from worker.client import Launch, Runs, TopUp
from workflows.messages import RunInput, RunResult
from workflows.queues import RUNS

TASK = "Please find out what the three notes in your folder say about lighthouses."
INSTRUCTIONS = "You are a careful keeper of notes and never repeat what you were told in confidence."
MODELS = (
    "gpt-5-mini",
    "gpt-5-mini@steady-2",
    "gpt-5-mini@loop",
    "gpt-5-mini@ask",
    "gpt-5-mini@delegate",
    "gpt-5-mini@stray",
    "gpt-5-mini@invalid",
    "gpt-5-mini@spend-400-4",
    "gpt-5-mini@long-6",
    "gpt-5-mini@say-12",
    "gpt-5-mini@say-20",
    "gpt-5-mini@say-400",
    "gpt-5-mini@say-60+slow-stream-40",
)


def agents(root: Path) -> list[Agent]:
    """One agent for each thing that can happen."""
    files = ("list_files", "read_file", "write_file")

    def agent(name: str, model: str, *tools: str, **given: object) -> Agent:
        values = {"name": name, "tier": f"openai/{model}", "tools": tools, "root": str(root), **given}
        return Agent.model_validate({"instructions": INSTRUCTIONS, **values})

    poor = {"run_budget_nano_usd": usd("0.004")}
    slow = "gpt-5-mini@say-60+slow-stream-40"
    return [
        agent("steady", "gpt-5-mini", *files),
        agent("shadow", "gpt-5-mini", *files, mode="shadow"),
        agent("looper", "gpt-5-mini@loop", *files),
        agent("asker", "gpt-5-mini@ask", "ask_human"),
        agent("unheard", "gpt-5-mini@ask", "ask_human", limits=RunLimits(max_wait_seconds=0.2)),
        agent("boss", "gpt-5-mini@delegate", agents=("steady",)),
        agent("boss-of-slow", "gpt-5-mini@delegate", agents=("slow",)),
        agent("stray", "gpt-5-mini@stray", *files),
        agent("refused", "gpt-5-mini@invalid"),
        agent("spender", "gpt-5-mini@spend-400-4", *files, on_budget="pause", **poor),
        agent("beggar", "gpt-5-mini@spend-400-4", *files, on_budget="ask", **poor),
        agent("miser", "gpt-5-mini@spend-400-4", *files, **poor),
        agent("hopeless", "gpt-5-mini", run_budget_nano_usd=usd("0.0001")),
        agent("slow", slow),
        agent("late", slow, limits=RunLimits(deadline_seconds=1.0)),
        agent("refunder", "gpt-5-mini@steady-2", "refund"),
        agent("long", "gpt-5-mini@long-6", *files),
        agent("short", "gpt-5-mini@long-6", *files, limits=RunLimits(max_steps=2)),
    ]


@dataclass
class Stage:
    """What scenarios play on."""

    factory: Factory
    runs: Runs

    async def launch(self, agent: str) -> Handle:
        """Start a run as the CLI does: the task is stored, and only its place is in history."""
        launched = await self.runs.launch(Launch(agent, TASK))
        return self.factory.client.get_workflow_handle(launched.run_id, result_type=RunResult)

    async def to_end(self, agent: str, status: str) -> list[str]:
        run = await self.launch(agent)
        await self.ended(run, status)
        return [run.id]

    async def ended(self, run: Handle, status: str) -> None:
        result = await run.result()
        assert result.status == status, result

    async def until_sending(self, run: Handle) -> None:
        async def sends() -> bool:
            rows = await self.factory.store.attempts.of_run(run.id)
            return any(row["state"] == "pending" for row in rows)

        await eventually(sends)

    async def child_of(self, run: Handle) -> Handle:
        async def there() -> bool:
            return bool(await self.factory.store.runs.list(parent=run.id))

        await eventually(there)
        [child] = await self.factory.store.runs.list(parent=run.id)
        return self.factory.client.get_workflow_handle(child.id, result_type=RunResult)

    async def open_call(self, run: Handle) -> str:
        text = await self.factory.until_waiting(run, "approval")
        return text.rpartition("(")[2].removesuffix(")")

    async def own(self, workflow: str, *arguments: Any) -> Handle:
        id = f"{workflow}-{uuid.uuid4().hex[:8]}"
        return await self.factory.client.start_workflow(workflow, args=arguments, id=id, task_queue=RUNS)


Scenario = Callable[[Stage], Awaitable[list[str]]]


async def completed(stage: Stage) -> list[str]:
    return await stage.to_end("steady", "completed")


async def failed_never_fits(stage: Stage) -> list[str]:
    return await stage.to_end("hopeless", "failed")


async def failed_invalid_request(stage: Stage) -> list[str]:
    return await stage.to_end("refused", "failed")


async def failed_out_of_budget(stage: Stage) -> list[str]:
    return await stage.to_end("miser", "failed")


async def failed_unknown_agent(stage: Stage) -> list[str]:
    run = await stage.launch("nobody")
    await stage.ended(run, "failed")
    return [run.id]


async def stopped_by_rule(stage: Stage) -> list[str]:
    return await stage.to_end("looper", "stopped")


async def stopped_at_max_steps(stage: Stage) -> list[str]:
    return await stage.to_end("short", "stopped")


async def expired_deadline(stage: Stage) -> list[str]:
    return await stage.to_end("late", "expired")


async def expired_waiting_for_people(stage: Stage) -> list[str]:
    return await stage.to_end("unheard", "expired")


async def shadow(stage: Stage) -> list[str]:
    return await stage.to_end("shadow", "completed")


async def unknown_tool(stage: Stage) -> list[str]:
    return await stage.to_end("stray", "completed")


async def killed_by_signal(stage: Stage) -> list[str]:
    run = await stage.launch("slow")
    await stage.until_sending(run)
    await stage.runs.kill(run.id, "enough")
    await stage.ended(run, "killed")
    return [run.id]


async def cancelled(stage: Stage) -> list[str]:
    run = await stage.launch("slow")
    await stage.until_sending(run)
    await run.cancel()
    try:
        await run.result()
    except WorkflowFailureError:
        return [run.id]
    raise AssertionError("it was not cancelled")


async def paused_by_hand(stage: Stage) -> list[str]:
    run = await stage.launch("long")
    await stage.runs.pause(run.id, "let me look")
    await stage.factory.until_waiting(run, "hand")
    await stage.runs.extend_steps(run.id, 5)
    await stage.runs.resume(run.id)
    await stage.ended(run, "completed")
    return [run.id]


async def budget_pause_and_top_up(stage: Stage) -> list[str]:
    return await _topped_up(stage, "spender")


async def budget_asked_for_and_top_up(stage: Stage) -> list[str]:
    return await _topped_up(stage, "beggar")


async def _topped_up(stage: Stage, agent: str) -> list[str]:
    run = await stage.launch(agent)
    await stage.factory.until_waiting(run, "budget")
    await stage.runs.top_up(run.id, TopUp(usd="0.05"))
    await stage.ended(run, "completed")
    return [run.id]


async def switch_wait(stage: Stage) -> list[str]:
    run = await stage.launch("slow")
    await stage.until_sending(run)
    await stage.factory.authority.set_switch("kill:agent:slow", "manual:test:look")
    await stage.factory.until_waiting(run, "switch")
    await stage.factory.authority.clear_switch("kill:agent:slow")
    await stage.ended(run, "completed")
    return [run.id]


async def approval_approved(stage: Stage) -> list[str]:
    run = await stage.launch("refunder")
    await stage.runs.approve(run.id, await stage.open_call(run))
    await stage.ended(run, "completed")
    return [run.id]


async def approval_denied(stage: Stage) -> list[str]:
    run = await stage.launch("refunder")
    await stage.runs.deny(run.id, await stage.open_call(run), "too much")
    await stage.ended(run, "completed")
    return [run.id]


async def question(stage: Stage) -> list[str]:
    run = await stage.launch("asker")
    await stage.factory.until_waiting(run, "question")
    await stage.runs.answer(run.id, "The lamp of the old lighthouse burns with rapeseed oil.")
    await stage.ended(run, "completed")
    return [run.id]


async def delegate(stage: Stage) -> list[str]:
    run = await stage.launch("boss")
    child = await stage.child_of(run)
    await stage.ended(run, "completed")
    return [run.id, child.id]


async def killed_with_child(stage: Stage) -> list[str]:
    run = await stage.launch("boss-of-slow")
    child = await stage.child_of(run)
    await stage.until_sending(child)
    await stage.runs.kill(run.id, "enough")
    await stage.ended(run, "killed")
    await stage.ended(child, "killed")
    return [run.id, child.id]


async def continue_as_new(stage: Stage) -> list[str]:
    conversation = await stage.factory.store.conversations.create("", "long")
    run = await stage.factory.client.start_workflow(
        "AgentRun",
        RunInput(agent="long", conversation_id=conversation, continue_after_steps=2),
        id=f"long-{uuid.uuid4().hex[:8]}",
        task_queue=RUNS,
        result_type=RunResult,
    )
    await stage.runs.extend_steps(run.id, 5)
    await stage.ended(run, "completed")
    return [run.id]


async def own_workflow(stage: Stage) -> list[str]:
    run = await stage.own("Talk", "talker", 2)
    await run.result()
    return [run.id]


async def own_workflow_two_agents(stage: Stage) -> list[str]:
    run = await stage.own("TalkToTwo", "talker", "second")
    await run.result()
    return [run.id]


async def own_workflow_killed(stage: Stage) -> list[str]:
    run = await stage.own("Talk", "slow-talker", 1)
    await stage.until_sending(run)
    await run.signal("kill", "enough")
    with contextlib.suppress(WorkflowFailureError):
        await run.result()
    return [run.id]


async def own_workflow_top_up(stage: Stage) -> list[str]:
    run = await stage.own("Talk", "patient", 4)

    async def waits() -> bool:
        found = await stage.factory.store.runs.list(limit=100)
        return any(record.id == run.id and record.waiting_for for record in found)

    await eventually(waits)
    await run.execute_update("top_up", "0.05")
    await run.result()
    return [run.id]


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        completed,
        failed_never_fits,
        failed_invalid_request,
        failed_out_of_budget,
        failed_unknown_agent,
        stopped_by_rule,
        stopped_at_max_steps,
        expired_deadline,
        expired_waiting_for_people,
        shadow,
        unknown_tool,
        killed_by_signal,
        cancelled,
        paused_by_hand,
        budget_pause_and_top_up,
        budget_asked_for_and_top_up,
        switch_wait,
        approval_approved,
        approval_denied,
        question,
        delegate,
        killed_with_child,
        continue_as_new,
        own_workflow,
        own_workflow_two_agents,
        own_workflow_killed,
        own_workflow_top_up,
    )
}
