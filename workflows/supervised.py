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

import re
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.messages import (
        OpenRun,
        Refused,
        RunPlan,
        TopUp,
        TopUpDone,
        TopUpTask,
        Words,
    )
    from activities.runs import RunActivities
    from gateway.agents import Agent
    from workflows.queues import GATEWAY, RUNS
    from workflows.retries import OPENING_LOST, QUICK, RECORDS
    from workflows.supervision import RunOver, Supervision, Waiting

_ATTRIBUTE = "_curb_supervised_sessions"


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
    name = agent if isinstance(agent, str) else agent.name
    sessions: dict[str, _Session] | None = getattr(workflow.instance(), _ATTRIBUTE, None)
    if sessions is None:
        sessions = {}
        setattr(workflow.instance(), _ATTRIBUTE, sessions)
    if name not in sessions:
        sessions[name] = _Session(_run_id(name, first=not sessions))
        await sessions[name].open(
            OpenRun(
                run_id=sessions[name].run_id,
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
    return await sessions[name].call(prompt)


def _run_id(agent: str, *, first: bool) -> str:
    """The workflow's id; a second agent in the same workflow gets a record of its own."""
    me = workflow.info().workflow_id
    return me if first else f"{me}.{re.sub(r'[^A-Za-z0-9._-]', '_', agent)}"


@dataclass
class _Session:
    """The calls of one workflow as one agent."""

    run_id: str
    step: int = 0
    killed: str = ""
    waiting: Waiting = field(default_factory=lambda: Waiting(lambda: None))
    plan: RunPlan | None = None
    supervision: Supervision | None = None

    async def open(self, given: OpenRun) -> None:
        self._listen()
        try:
            self.plan = await workflow.execute_activity_method(
                RunActivities.open_run,
                given,
                task_queue=RUNS,
                start_to_close_timeout=timedelta(seconds=90),
                heartbeat_timeout=OPENING_LOST,
                retry_policy=RECORDS,
            )
        except ActivityError as error:
            raise ApplicationError(str(error.cause), type="failed", non_retryable=True) from error
        self.supervision = Supervision(
            self.plan, self.waiting, self._out_of_budget, task_queue=GATEWAY, run_id=self.run_id, inline=True
        )

    async def call(self, prompt: str) -> SupervisedAnswer:
        assert self.plan is not None
        assert self.supervision is not None
        if self.step >= self.plan.max_steps:
            raise ApplicationError(
                f"max_steps: {self.plan.max_steps} steps are used up", type="stopped", non_retryable=True
            )
        self.step += 1
        if prompt:
            await workflow.execute_activity_method(
                RunActivities.say,
                Words(run_id=self.run_id, key=f"say:{self.step}", text=prompt),
                task_queue=RUNS,
                start_to_close_timeout=QUICK,
                retry_policy=RECORDS,
            )
        try:
            result = await self.supervision.buy(self.step)
        except RunOver as over:
            raise ApplicationError(over.reason, type=over.status, non_retryable=True) from over
        if result.stop_rule:
            reason = f"{result.stop_rule}: {result.stop_detail}"
            raise ApplicationError(reason, type="stopped", non_retryable=True)
        return SupervisedAnswer(
            text=result.text,
            finish_reason=result.finish_reason,
            deployment=result.deployment,
            prompt_tokens=result.prompt_tokens,
            output_tokens=result.output_tokens,
            cost_nano_usd=result.cost_nano_usd,
            replayed=result.replayed,
        )

    async def _out_of_budget(self, refused: Refused) -> None:
        if self.plan is not None and self.plan.on_budget == "fail":
            raise RunOver("failed", refused.text)

    def _listen(self) -> None:
        """Take the messages of a run, where the workflow has no handlers of its own."""
        handlers = {"kill": self._kill, "pause": self._pause, "resume": self._resume, "wake": self._wake}
        for name, handler in handlers.items():
            if workflow.get_signal_handler(name) is None:
                workflow.set_signal_handler(name, handler)
        if workflow.get_update_handler("top_up") is None:
            workflow.set_update_handler("top_up", self._top_up)

    def _kill(self, reason: str = "killed by hand") -> None:
        self.waiting.end("killed", reason or "killed by hand")

    def _pause(self, reason: str = "paused by hand") -> None:
        self.waiting.set("hand", reason or "paused by hand")

    def _resume(self) -> None:
        self.waiting.clear("hand")

    def _wake(self) -> None:
        self.waiting.wake()

    async def _top_up(self, amount: TopUp | str) -> TopUpDone:
        info = workflow.current_update_info()
        done = await workflow.execute_activity_method(
            RunActivities.top_up,
            TopUpTask(
                run_id=self.run_id,
                top_up_id=info.id if info else "",
                top_up=amount if isinstance(amount, TopUp) else TopUp(usd=amount),
            ),
            task_queue=RUNS,
            start_to_close_timeout=QUICK,
            retry_policy=RECORDS,
        )
        self.waiting.wake()
        return done
