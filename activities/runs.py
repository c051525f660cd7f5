"""The run's own records: opening, escalations, top-ups, children, the end."""

import json
import time
import uuid
from typing import Literal

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.dependencies import Dependencies
from activities.heartbeats import heartbeating
from activities.messages import (
    ChildTask,
    EndRun,
    Escalation,
    OpenRun,
    RunPlan,
    RunTotals,
    ToolPlan,
    TopUpDone,
    TopUpTask,
    Words,
)
from activities.snapshot import RunSnapshot
from activities.toolbox import Tool, ToolSourceUnavailable
from gateway.agents import Agent
from gateway.calls import Message, Text, ToolSpec
from gateway.errors import ConfigurationError, NotFound
from gateway.policy.money import MoneyError, NanoUsd, decimal_usd, usd
from gateway.policy.scopes import Period, Scope, ScopeKind, counter_name
from gateway.store.runs import Run
from gateway.traces.ids import read_traceparent

_TASK_KEY = "task"


class RunActivities:
    """Keeps the record of runs. Every activity can be repeated without a second effect."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._deps = dependencies

    @activity.defn
    async def open_run(self, given: OpenRun) -> RunPlan:
        """Snapshot the agent and open the run's record and conversation.

        A run that is open already (a retry, a continued workflow) keeps its first snapshot.
        """
        async with heartbeating():
            snapshot = await self._known(given.run_id) or await self._open(given)
            self._deps.snapshots.remember(snapshot)
            return await self._plan(snapshot)

    async def _known(self, run_id: str) -> RunSnapshot | None:
        try:
            return await self._deps.snapshots.get(run_id)
        except NotFound:
            return None

    async def _open(self, given: OpenRun) -> RunSnapshot:
        agent = given.spec or self._agent(given.agent)
        tools = await self._tools(agent)
        delegates = self._delegates(agent)
        conversation_id = given.conversation_id or f"c-{uuid.uuid5(uuid.NAMESPACE_OID, given.run_id)}"
        place = read_traceparent(given.traceparent)
        snapshot = RunSnapshot(
            run_id=given.run_id,
            workflow_id=given.workflow_id,
            agent=agent,
            conversation_id=conversation_id,
            mode=self._mode(given.mode, agent),
            budget_nano_usd=_budget(given.budget_usd, agent),
            max_steps=given.max_steps or agent.limits.max_steps,
            max_tool_calls=agent.limits.max_tool_calls,
            tools=(*(tool.spec for tool in tools), *(_delegate_spec(*pair) for pair in delegates.items())),
            delegates={name: delegate.name for name, delegate in delegates.items()},
            team=given.team or agent.team,
            user=given.user,
            session=given.session,
            application=given.application,
            tags=given.tags,
            ancestors=given.parent.run_ids if given.parent else (),
            ancestor_budgets_nano_usd=given.parent.budgets_nano_usd if given.parent else {},
            trace_id=place.trace_id,
            parent_span_id=place.span_id,
        )
        await self._deps.store.conversations.create(given.run_id, agent.name, id=conversation_id)
        if given.task:
            await self._deps.store.conversations.append(conversation_id, _TASK_KEY, _user(given.task))
        stored = await self._deps.store.runs.open(
            Run(
                given.run_id,
                agent.name,
                conversation_id,
                temporal_run_id=given.temporal_run_id,
                spec=snapshot.model_dump(mode="json"),
                budget_nano_usd=snapshot.budget_nano_usd,
                team=snapshot.team,
                user=snapshot.user,
                session=snapshot.session,
                mode=snapshot.mode,
                tags=snapshot.tags,
                parent=snapshot.ancestors[0] if snapshot.ancestors else "",
            )
        )
        return RunSnapshot.model_validate(stored.spec)

    async def _tools(self, agent: Agent) -> list[Tool]:
        try:
            return list((await self._deps.toolbox.resolve(agent)).values())
        except ConfigurationError as error:
            raise ApplicationError(str(error), type="Configuration", non_retryable=True) from error
        except ToolSourceUnavailable as error:
            raise ApplicationError(str(error), type="ToolSource") from error

    async def _plan(self, snapshot: RunSnapshot) -> RunPlan:
        agent, limits = snapshot.agent, snapshot.agent.limits
        tools = {tool.name: _tool_plan(tool, snapshot.mode) for tool in await self._tools(agent)}
        tools |= {name: ToolPlan(kind="delegate", agent=to) for name, to in snapshot.delegates.items()}
        parent = None
        if snapshot.ancestors:
            parent = {"run_ids": snapshot.ancestors, "budgets_nano_usd": snapshot.ancestor_budgets_nano_usd}
        return RunPlan.model_validate(
            {
                "conversation_id": snapshot.conversation_id,
                "agent": agent.name,
                "team": snapshot.team,
                "user": snapshot.user,
                "mode": snapshot.mode,
                "max_steps": snapshot.max_steps,
                "max_tool_calls": snapshot.max_tool_calls,
                "budget_nano_usd": snapshot.budget_nano_usd,
                "on_budget": agent.on_budget,
                "on_switch": agent.on_switch,
                "max_wait_seconds": limits.max_wait_seconds,
                "deadline_seconds": limits.deadline_seconds,
                "call_timeout_seconds": limits.call_timeout_seconds,
                "total_timeout_seconds": limits.call_timeout_seconds * 3,
                "lost_after_seconds": limits.lost_after_seconds,
                "depth": len(snapshot.ancestors),
                "parent": parent,
                "tools": tools,
                "search_attributes": self._deps.search_attributes,
            }
        )

    def _agent(self, name: str) -> Agent:
        agent = self._deps.agents.get(name)
        if agent is None:
            known = ", ".join(sorted(self._deps.agents)) or "none"
            raise ApplicationError(
                f"agent {name!r} is not configured here; known are: {known}",
                type="NotFound",
                non_retryable=True,
            )
        return agent

    def _delegates(self, agent: Agent) -> dict[str, Agent]:
        return {f"delegate_to_{_tool_name(name)}": self._agent(name) for name in agent.agents}

    @staticmethod
    def _mode(asked: str, agent: Agent) -> Literal["live", "shadow"]:
        """Shadow wins: neither a launch nor a child can make a shadow agent act."""
        return "shadow" if "shadow" in (asked, agent.mode) else "live"

    @activity.defn
    async def open_child(self, task: ChildTask) -> str:
        """Put a delegated task's text into a new conversation; returns its id."""
        snapshot = await self._deps.snapshots.get(task.run_id)
        [item] = await self._deps.store.conversations.items(snapshot.conversation_id, [task.call.item])
        use = next(use for use in item.message.tool_uses if use.id == task.call.id)
        conversation_id = f"c-{uuid.uuid5(uuid.NAMESPACE_OID, task.child_run_id)}"
        conversations = self._deps.store.conversations
        await conversations.create(task.child_run_id, task.agent, id=conversation_id)
        await conversations.append(conversation_id, _TASK_KEY, _user(_delegated_task(use.arguments)))
        return conversation_id

    @activity.defn
    async def say(self, words: Words) -> None:
        """Add a user's message to a run's conversation, once per key."""
        snapshot = await self._deps.snapshots.get(words.run_id)
        await self._deps.store.conversations.append(snapshot.conversation_id, words.key, _user(words.text))

    @activity.defn
    async def escalate(self, escalation: Escalation) -> None:
        """Write down that a person is needed, and tell the alerts."""
        snapshot = await self._deps.snapshots.get(escalation.run_id)
        body = {
            "kind": escalation.kind,
            "detail": escalation.detail,
            "call": escalation.call.model_dump() if escalation.call else None,
        }
        new = await self._deps.store.runs.record(
            escalation.run_id, f"escalation_{escalation.kind}", escalation.key, body
        )
        if new:
            self._deps.metrics.escalated(snapshot.agent.name)
            await self._deps.authority.alert(
                "human_escalation",
                f"run:{escalation.run_id}",
                {"kind": escalation.kind, "agent": snapshot.agent.name},
            )

    @activity.defn
    async def top_up(self, task: TopUpTask) -> TopUpDone:
        """Raise the limit of the run, or of another scope in its current window; once per top-up id."""
        scope, period = self._top_up_scope(task)
        window = self._deps.gateway.calendar.windows(period, time.time_ns() // 1_000_000)
        counter = counter_name(scope, period, window[len(window) // 2].id)
        # Ids of updates are unique in one workflow only; two runs may be told the same one.
        top_up_id = f"{task.run_id}/{task.top_up_id}"
        try:
            done = await self._deps.authority.top_up(
                top_up_id, counter, usd(task.top_up.usd), by=f"run:{task.run_id}"
            )
        except ConfigurationError as error:  # more than can be counted: no retry mends that
            raise ApplicationError(f"top_up: {error}", type="BadTopUp", non_retryable=True) from error
        limit = done.limit_nano_usd
        if limit is None and scope == Scope(ScopeKind.RUN, task.run_id):
            limit = await self._limit_before_the_first_call(task.run_id)
        return TopUpDone(scope=str(scope), limit_usd="" if limit is None else decimal_usd(limit))

    async def _limit_before_the_first_call(self, run_id: str) -> int | None:
        """A run's own budget comes to the authority with its first call; until then it is known here."""
        budget = (await self._deps.snapshots.get(run_id)).budget_nano_usd
        topped = sum(c.topped_nano_usd for c in await self._deps.authority.counters([run_counter(run_id)]))
        return None if budget is None else budget + topped

    @staticmethod
    def _top_up_scope(task: TopUpTask) -> tuple[Scope, Period]:
        if not task.top_up.scope:
            return Scope(ScopeKind.RUN, task.run_id), Period.RUN
        try:
            scope = Scope.parse(task.top_up.scope)
        except ValueError as error:
            raise ApplicationError(f"top_up: {error}", type="BadTopUp", non_retryable=True) from error
        return scope, Period.RUN if scope.kind is ScopeKind.RUN else Period(task.top_up.period)

    @activity.defn
    async def end_run(self, end: EndRun) -> RunTotals:
        """Close the run's record, cut what is still in flight, and add up what it cost by the books."""
        await self._deps.authority.cut_run(end.run_id, f"run {end.status}")
        spend = await self._spend(end.run_id)
        try:
            run = await self._deps.store.runs.update(
                end.run_id,
                status=end.status,
                reason=end.reason,
                steps=end.steps,
                cost_nano_usd=spend.cost_nano_usd,
                answer_item=end.item if end.item >= 0 else None,
            )
        except NotFound:  # it ended before it was opened
            return RunTotals(cost_nano_usd=0, in_doubt_nano_usd=0)
        self._deps.metrics.ended(run.agent, end.status, end.steps)
        return spend

    async def _spend(self, run_id: str) -> RunTotals:
        """What the run's own counter says; what is still held may yet be billed and counts as doubt."""
        for state in await self._deps.authority.counters([run_counter(run_id)]):
            return RunTotals(
                cost_nano_usd=state.spent_nano_usd,
                in_doubt_nano_usd=state.in_doubt_nano_usd + state.held_nano_usd,
            )
        return RunTotals(cost_nano_usd=0, in_doubt_nano_usd=0)


def run_counter(run_id: str) -> str:
    """The name of a run's own counter."""
    return counter_name(Scope(ScopeKind.RUN, run_id), Period.RUN, "run")


def _tool_plan(tool: Tool, mode: Literal["live", "shadow"]) -> ToolPlan:
    """Nobody is asked to approve what shadow mode will not do."""
    happens = mode == "live" or not tool.side_effects
    return ToolPlan(
        kind="ask_human" if tool.handled_by_workflow else "tool",
        retryable=tool.idempotent or not tool.side_effects,
        requires_approval=tool.requires_approval and happens,
    )


def _tool_name(agent: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in agent)[:50]


def _delegate_spec(name: str, agent: Agent) -> ToolSpec:
    about = agent.instructions.strip().splitlines()[0][:200] if agent.instructions.strip() else agent.name
    return ToolSpec(
        name=name,
        description=f"Hand a part of the task to the agent {agent.name} and get its answer. {about}",
        input_schema={
            "type": "object",
            "properties": {"task": {"type": "string", "description": "What it should do, in full."}},
            "required": ["task"],
        },
    )


def _delegated_task(arguments: str) -> str:
    try:
        task = json.loads(arguments)["task"]
    except (ValueError, KeyError, TypeError):
        return arguments
    return str(task)


def _user(text: str) -> Message:
    return Message(role="user", parts=(Text(text=text),))


def _budget(asked: str, agent: Agent) -> NanoUsd | None:
    if not asked:
        return agent.run_budget_nano_usd
    try:
        return usd(asked)
    except MoneyError as error:
        raise ApplicationError(f"budget: {error}", type="Configuration", non_retryable=True) from error
