"""Supervised model calls for workflows of the user's own.

    @workflow.defn
    class Summarise:
        @workflow.run
        async def run(self, text: str) -> str:
            answer = await supervised_model_call("summariser", f"Summarise: {text}")
            return answer.text

The workflow gets the run's protection: budgets, switches, waiting without losing its place, one
bill per answer. It also gets handlers for `kill`, `pause`, `resume`, `wake` and `top_up`, unless it
has its own.
"""

import asyncio
import contextlib
import re
from dataclasses import dataclass, field

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.messages import CallResult, EndRun, OnBudget, OpenRun, Refused, TopUp, TopUpDone, Words
    from activities.runs import RunActivities
    from gateway.agents import Agent
    from workflows.queues import GATEWAY
    from workflows.records import on_record, open_on_record
    from workflows.supervision import RunOver, Supervision, Waiting
    from workflows.top_ups import check_top_up, raise_budget, with_note

_ATTRIBUTE = "_curb_supervised_runs"


@dataclass(frozen=True, slots=True)
class SupervisedAnswer:
    """An answer. cost_nano_usd: what it cost; replayed: it had been paid for before."""

    text: str
    finish_reason: str
    deployment: str
    prompt_tokens: int
    output_tokens: int
    cost_nano_usd: int
    replayed: bool


async def supervised_model_call(
    agent: str | Agent,
    prompt: str = "",
    *,
    conversation_id: str = "",
    budget_usd: str = "",
    user: str = "",
    team: str = "",
    session: str = "",
    tags: dict[str, str] | None = None,
) -> SupervisedAnswer:
    """Make one model call as an agent, inside any workflow; further calls continue the conversation.

    agent: a configured agent's name, or an Agent. prompt: what the user says next; it is part of
    this workflow's history, as is everything else the workflow passes on. To keep words out of
    history, store them first and pass conversation_id. budget_usd: dollars as text for all calls of
    this workflow as this agent ('' for the agent's own budget); it and the identity count at
    the first call.

    Raises ApplicationError (non-retryable; its type is failed, killed, stopped or expired) when there will
    be no answer.
    """
    runs = _runs_of_this_workflow()
    name = agent if isinstance(agent, str) else agent.name
    run_id = runs.id_of(name)
    session_of_agent = runs.sessions.get(name) or await runs.open(
        OpenRun(
            run_id=run_id,
            workflow_id=workflow.info().workflow_id,
            temporal_run_id=workflow.info().run_id,
            agent=name,
            spec=agent if isinstance(agent, Agent) else None,
            conversation_id=conversation_id,
            budget_usd=budget_usd,
            user=user,
            team=team,
            session=session,
            tags=tags or {},
        )
    )
    return await session_of_agent.call(prompt)


def _runs_of_this_workflow() -> "_Runs":
    """Kept on the workflow's own object, so that it lives and is replayed with it."""
    instance = workflow.instance()
    runs: _Runs | None = getattr(instance, _ATTRIBUTE, None)
    if runs is None:
        runs = _Runs()
        setattr(instance, _ATTRIBUTE, runs)
        runs.listen()
    return runs


@dataclass
class _Runs:
    """The calls of one workflow: one run on the books for each agent that it calls."""

    waiting: Waiting = field(default_factory=lambda: Waiting(lambda: None))
    sessions: dict[str, "_Session"] = field(default_factory=dict)
    _ids: dict[str, str] = field(default_factory=dict)

    def id_of(self, agent: str) -> str:
        """The workflow's id; a second agent in the same workflow gets a record of its own."""
        me = workflow.info().workflow_id
        own = me if not self._ids else f"{me}.{re.sub(r'[^A-Za-z0-9._-]', '_', agent)}"
        return self._ids.setdefault(agent, own)

    async def open(self, given: OpenRun) -> "_Session":
        try:
            plan = await open_on_record(given)
        except ActivityError as error:
            why = error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)
            raise ApplicationError(why, type="failed", non_retryable=True) from error
        session = _Session(given.run_id, plan.max_steps, self.waiting)
        session.supervision = Supervision(
            plan,
            self.waiting,
            session.out_of_budget,
            task_queue=GATEWAY,
            run_id=given.run_id,
            inline=True,
        )
        return self.sessions.setdefault(given.agent, session)

    def listen(self) -> None:
        """Take the messages of a run, where the workflow has no handlers of its own."""
        signals = {
            "kill": self._kill,
            "pause": self._pause,
            "resume": self._resume,
            "wake": self.waiting.wake,
        }
        for name, handler in signals.items():
            if workflow.get_signal_handler(name) is None:
                workflow.set_signal_handler(name, handler)
        if workflow.get_update_handler("top_up") is None:
            workflow.set_update_handler("top_up", self._top_up, validator=check_top_up)

    def _kill(self, reason: str = "killed by hand") -> None:
        self.waiting.end("killed", reason or "killed by hand")

    def _pause(self, reason: str = "paused by hand") -> None:
        self.waiting.set("hand", reason or "paused by hand")

    def _resume(self) -> None:
        self.waiting.clear("hand")

    async def _top_up(self, amount: TopUp | str) -> TopUpDone:
        done = await raise_budget(workflow.info().workflow_id, amount)
        blocked = self.waiting.causes.get("budget", "")
        self.waiting.wake()
        return with_note(done, blocked)


@dataclass
class _Session:
    """The calls of one workflow as one agent."""

    run_id: str
    max_steps: int
    waiting: Waiting
    step: int = 0
    supervision: Supervision | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def call(self, prompt: str) -> SupervisedAnswer:
        """Say something and get the answer; a conversation has one turn at a time."""
        async with self._turn:
            return await self._call(prompt)

    async def _call(self, prompt: str) -> SupervisedAnswer:
        assert self.supervision is not None
        try:
            if self.step >= self.max_steps:
                raise RunOver("stopped", f"max_steps: {self.max_steps} steps are used up")
            self.step += 1
            step = self.step
            if prompt:
                key = f"say:{workflow.info().run_id}:{step}"  # once in each link of a continued workflow
                words = Words(run_id=self.run_id, key=key, text=prompt)
                await self.waiting.unless_over(on_record(RunActivities.say, words))
            result = await self.supervision.buy(step)
            if result.stop_rule:
                raise RunOver("stopped", result.stop_detail)
        except RunOver as over:
            await self._close(over)
            raise ApplicationError(over.reason, type=over.status, non_retryable=True) from over
        return _answer(result)

    async def out_of_budget(self, refused: Refused, on_budget: OnBudget) -> None:
        if on_budget == "fail":
            raise RunOver("failed", refused.text)

    async def _close(self, over: RunOver) -> None:
        """Write down how the run ended and cut what is in flight. A failed call ends nothing: the
        workflow may try something else.
        """
        if over.status == "failed":
            return
        end = EndRun(run_id=self.run_id, status=over.status, reason=over.reason, steps=self.step, item=-1)
        with contextlib.suppress(ActivityError):
            await on_record(RunActivities.end_run, end)


def _answer(result: CallResult) -> SupervisedAnswer:
    return SupervisedAnswer(
        text=result.text,
        finish_reason=result.finish_reason,
        deployment=result.deployment,
        prompt_tokens=result.prompt_tokens,
        output_tokens=result.output_tokens,
        cost_nano_usd=result.cost_nano_usd,
        replayed=result.replayed,
    )
