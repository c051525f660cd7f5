"""AgentRun: one agent working on one task, step by step, within its budgets and stoppable at any time.

A step is one model call and the tool calls it asked for. The run ends as completed, failed,
killed, stopped (by a rule) or expired; while it waits, it says for what.
"""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.messages import (
        CallResult,
        ChildTask,
        EndRun,
        Escalation,
        OpenRun,
        Refused,
        RunPlan,
        RunTotals,
        ToolAnswer,
        ToolDone,
        ToolRef,
        ToolTask,
        TopUp,
        TopUpDone,
        TopUpTask,
    )
    from activities.runs import RunActivities
    from activities.tools import ToolActivities
    from gateway.policy.money import MoneyError, decimal_usd, format_usd, usd
    from workflows.messages import Answer, Deny, Parent, RunInput, RunResult, RunState, RunStatus, Status
    from workflows.queues import GATEWAY, RUNS, TOOLS
    from workflows.retries import OPENING_LOST, QUICK, RECORDS
    from workflows.supervision import RunOver, Supervision, Waiting

_MAX_DEPTH = 4
_AGENT = SearchAttributeKey.for_keyword("CurbAgent")
_TEAM = SearchAttributeKey.for_keyword("CurbTeam")
_USER = SearchAttributeKey.for_keyword("CurbUser")
_MODE = SearchAttributeKey.for_keyword("CurbMode")
_STATUS = SearchAttributeKey.for_keyword("CurbStatus")
_COST = SearchAttributeKey.for_int("CurbCostMicroUsd")


@workflow.defn(name="AgentRun")
class AgentRun:
    """See the module. The workflow id is the run id."""

    @workflow.init
    def __init__(self, input: RunInput) -> None:
        state = input.state or RunState()
        self._input = input
        self._state = state
        self._plan: RunPlan | None = None
        self._supervision: Supervision | None = None
        self._waiting = Waiting(self._show)
        self._status = "starting"
        self._last_item = -1
        self._kill_reason: str | None = None
        self._approvals: dict[str, tuple[bool, str] | None] = {}  # None: still to be decided
        self._questions: dict[str, Answer | None] = {}
        self._children: dict[str, workflow.ChildWorkflowHandle[Any, RunResult]] = {}
        if state.paused_by_hand:
            self._waiting.causes["hand"] = state.paused_by_hand

    # -- the run -------------------------------------------------------------------------------

    @workflow.run
    async def run(self, input: RunInput) -> RunResult:
        """Work until done, stopped or killed; then write down how it ended and what it cost."""
        cancelled: BaseException | None = None
        work = asyncio.create_task(self._work())
        try:
            ending = await self._ending(work)
        except workflow.ContinueAsNewError:
            raise
        except (asyncio.CancelledError, ActivityError, ChildWorkflowError) as error:
            if not is_cancelled_exception(error):
                raise
            cancelled, ending = error, RunOver("killed", "cancelled from Temporal")
            work.cancel()
        result = await self._end(ending)
        await workflow.wait_condition(workflow.all_handlers_finished)
        if cancelled is not None:
            raise cancelled
        return result

    async def _ending(self, work: "asyncio.Task[RunOver]") -> RunOver:
        """Wait for the work's own end, a kill signal or the deadline, whichever comes first."""
        deadline = await self._open_and_get_deadline(work)
        try:
            await workflow.wait_condition(
                lambda: work.done() or self._kill_reason is not None, timeout=deadline
            )
        except TimeoutError:
            work.cancel()
            return RunOver("expired", "the run's deadline has passed")
        if self._kill_reason is not None:
            work.cancel()
            return RunOver("killed", self._kill_reason)
        try:
            return work.result()
        except RunOver as over:
            return over

    async def _open_and_get_deadline(self, work: "asyncio.Task[RunOver]") -> float:
        """Seconds left; the plan is there as soon as the work has opened the run."""
        await workflow.wait_condition(
            lambda: self._plan is not None or work.done() or self._kill_reason is not None
        )
        if self._plan is None:
            return 60.0
        return max(self._plan.deadline_seconds - (workflow.time() - self._state.started_at), 0.1)

    async def _work(self) -> RunOver:
        plan = await self._open()
        self._supervision = Supervision(
            plan,
            self._waiting,
            self._out_of_budget,
            task_queue=GATEWAY,
            run_id=workflow.info().workflow_id,
            provider_failures=self._state.provider_failures,
        )
        while True:
            await self._waiting.until_clear("hand")
            await self._continue_as_new_if_due()
            if self._state.step >= self._max_steps:
                return RunOver("stopped", f"max_steps: {self._max_steps} steps are used up")
            self._count(step=self._state.step + 1)
            answer = await self._supervision.buy(self._state.step)
            ending = await self._after(answer, plan)
            if ending is not None:
                return ending

    async def _after(self, answer: CallResult, plan: RunPlan) -> RunOver | None:
        """Account for a step and do what it asks for; the ending, if this was the last one."""
        self._last_item = answer.item
        state = self._state
        self._count(
            cost_nano_usd=state.cost_nano_usd + answer.cost_nano_usd,
            prompt_tokens=state.prompt_tokens + answer.prompt_tokens,
            output_tokens=state.output_tokens + answer.output_tokens,
            tool_calls=state.tool_calls + len(answer.tool_calls),
        )
        self._show()
        if not answer.tool_calls:
            return _finished(answer)
        if answer.stop_rule:
            return RunOver("stopped", f"{answer.stop_rule}: {answer.stop_detail}")
        if self._state.tool_calls > plan.max_tool_calls:
            return RunOver("stopped", f"max_tool_calls: {self._state.tool_calls} of {plan.max_tool_calls}")
        await asyncio.gather(*(self._use_tool(call, plan) for call in answer.tool_calls))
        return None

    async def _open(self) -> RunPlan:
        given = self._input
        if given.parent is not None and len(given.parent.run_ids) > _MAX_DEPTH:
            raise RunOver("failed", f"delegated too deep: at most {_MAX_DEPTH} runs above another")
        if not self._state.started_at:
            self._count(started_at=workflow.time())
        try:
            plan = await workflow.execute_activity_method(
                RunActivities.open_run,
                OpenRun(
                    run_id=workflow.info().workflow_id,
                    temporal_run_id=workflow.info().run_id,
                    agent=given.agent,
                    spec=given.spec,
                    task=given.task,
                    conversation_id=given.conversation_id,
                    budget_usd=given.budget_usd,
                    max_steps=given.max_steps,
                    mode=given.mode,
                    user=given.user,
                    team=given.team,
                    session=given.session,
                    application=given.application,
                    tags=given.tags,
                    parent=given.parent,
                ),
                task_queue=RUNS,
                start_to_close_timeout=timedelta(seconds=90),
                heartbeat_timeout=OPENING_LOST,
                retry_policy=RECORDS,
            )
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError):
                raise RunOver("failed", str(error.cause)) from error
            raise
        self._plan, self._status = plan, "running"
        self._show()
        self._tell_search(plan)
        return plan

    async def _end(self, ending: RunOver) -> RunResult:
        self._status = ending.status
        self._waiting.causes.clear()
        plan, state = self._plan, self._state
        totals = await workflow.execute_activity_method(
            RunActivities.end_run,
            EndRun(
                run_id=workflow.info().workflow_id,
                status=_status(ending.status),
                reason=ending.reason[:1000],
                steps=state.step,
                item=self._last_item,
            ),
            task_queue=RUNS,
            start_to_close_timeout=QUICK,
            retry_policy=RECORDS,
        )
        self._count(cost_nano_usd=totals.cost_nano_usd)
        self._show()
        self._tell_search_end(totals)
        return RunResult(
            run_id=workflow.info().workflow_id,
            status=_status(ending.status),
            reason=ending.reason,
            steps=state.step,
            cost_nano_usd=totals.cost_nano_usd,
            in_doubt_nano_usd=totals.in_doubt_nano_usd,
            prompt_tokens=state.prompt_tokens,
            output_tokens=state.output_tokens,
            conversation_id=plan.conversation_id if plan else "",
            answer_item=self._last_item,
        )

    async def _continue_as_new_if_due(self) -> None:
        every = self._input.continue_after_steps
        steps_here = self._state.step - (self._input.state.step if self._input.state else 0)
        due = workflow.info().is_continue_as_new_suggested() or (every and steps_here >= every)
        if not due or self._plan is None:
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        failures = self._supervision.provider_failures if self._supervision else 0
        self._count(
            runs=self._state.runs + 1,
            provider_failures=failures,
            paused_by_hand=self._waiting.causes.get("hand", ""),
        )
        workflow.continue_as_new(
            self._input.model_copy(
                update={"state": self._state, "task": "", "conversation_id": self._plan.conversation_id}
            )
        )

    # -- tools ---------------------------------------------------------------------------------

    async def _use_tool(self, call: ToolRef, plan: RunPlan) -> None:
        tool = plan.tools.get(call.name)
        if tool is None:
            known = ", ".join(sorted(plan.tools)) or "none"
            await self._answer_tool(call, f"There is no tool {call.name!r}. Tools: {known}.", is_error=True)
        elif tool.kind == "ask_human":
            await self._ask_human(call)
        elif tool.kind == "delegate":
            await self._delegate(call, tool.agent)
        elif tool.requires_approval and not await self._approved(call):
            _, reason = self._approvals[call.id] or (False, "")
            await self._answer_tool(
                call, f"A person denied this call: {reason or 'no reason given'}", is_error=True
            )
        else:
            await self._run_tool(call, plan, retryable=tool.retryable)

    async def _run_tool(self, call: ToolRef, plan: RunPlan, *, retryable: bool) -> ToolDone | None:
        try:
            return await workflow.execute_activity_method(
                ToolActivities.run_tool,
                ToolTask(run_id=workflow.info().workflow_id, step=self._state.step, call=call),
                task_queue=TOOLS,
                start_to_close_timeout=timedelta(seconds=300),
                heartbeat_timeout=timedelta(seconds=plan.lost_after_seconds),
                retry_policy=RetryPolicy(maximum_attempts=5 if retryable else 1),
                cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
                summary=call.name,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            text = "The outcome of this call is unknown: the worker was lost while it ran."
            if not retryable:
                text += " It was not tried again, because it has side effects."
            await self._answer_tool(call, text, is_error=True)
            return None

    async def _answer_tool(
        self, call: ToolRef, text: str, *, ref: str = "", is_error: bool = False
    ) -> ToolDone:
        return await workflow.execute_activity_method(
            ToolActivities.answer_tool,
            ToolAnswer(run_id=workflow.info().workflow_id, call=call, text=text, ref=ref, is_error=is_error),
            task_queue=TOOLS,
            start_to_close_timeout=QUICK,
            retry_policy=RECORDS,
        )

    async def _delegate(self, call: ToolRef, agent: str) -> None:
        """Run another agent on a part of the task, charged to this run's budget too."""
        plan = self._plan
        assert plan is not None
        me = workflow.info().workflow_id
        above = plan.parent or Parent(run_ids=())
        budgets = dict(above.budgets_nano_usd)
        if plan.budget_nano_usd is not None:
            budgets[me] = plan.budget_nano_usd
        child_id = f"{me}.{self._state.step}.{call.digest[:8]}"
        conversation_id = await workflow.execute_activity_method(
            RunActivities.open_child,
            ChildTask(run_id=me, call=call, agent=agent, child_run_id=child_id),
            task_queue=RUNS,
            start_to_close_timeout=QUICK,
            retry_policy=RECORDS,
        )
        child = await workflow.start_child_workflow(
            AgentRun.run,
            RunInput(
                agent=agent,
                conversation_id=conversation_id,
                mode=plan.mode,
                user=plan.user,
                team=plan.team,
                session=self._input.session,
                application=self._input.application,
                tags=self._input.tags,
                parent=Parent(run_ids=(me, *above.run_ids), budgets_nano_usd=budgets),
            ),
            id=child_id,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            cancellation_type=workflow.ChildWorkflowCancellationType.TRY_CANCEL,
        )
        self._children[call.id] = child
        try:
            result = await child
        except ChildWorkflowError as error:
            if is_cancelled_exception(error):
                raise
            await self._answer_tool(call, f"{agent} failed: {error.cause}", is_error=True)
            return
        finally:
            self._children.pop(call.id, None)
        if result.status == "completed":
            await self._answer_tool(call, "", ref=f"{result.conversation_id}:{result.answer_item}")
        else:
            await self._answer_tool(call, f"{agent} {result.status}: {result.reason}", is_error=True)

    # -- people --------------------------------------------------------------------------------

    async def _approved(self, call: ToolRef) -> bool:
        await self._escalate("approval", call.id, f"may it call {call.name}?", call)
        self._approvals[call.id] = None
        self._waiting.set("approval", f"approval of {call.name} ({call.id})")
        await workflow.wait_condition(lambda: self._approvals[call.id] is not None)
        if None not in self._approvals.values():
            self._waiting.clear("approval")
        decision = self._approvals[call.id]
        return decision is not None and decision[0]

    async def _ask_human(self, call: ToolRef) -> None:
        self._questions[call.id] = None
        await self._escalate("question", call.id, "a question to a person", call)
        self._waiting.set("question", f"an answer to its question ({call.id}); see `curb show`")
        await workflow.wait_condition(lambda: self._questions.get(call.id) is not None)
        answer = self._questions.pop(call.id)
        if not self._questions:
            self._waiting.clear("question")
        assert answer is not None
        await self._answer_tool(call, answer.text, ref=answer.ref)

    async def _out_of_budget(self, refused: Refused) -> None:
        plan = self._plan
        assert plan is not None
        if plan.on_budget == "fail":
            raise RunOver("failed", refused.text)
        if plan.on_budget == "ask":
            await self._escalate("budget", f"budget:{self._state.step}", refused.text, None)

    async def _escalate(self, kind: str, key: str, detail: str, call: ToolRef | None) -> None:
        await workflow.execute_activity_method(
            RunActivities.escalate,
            Escalation.model_validate(
                {
                    "run_id": workflow.info().workflow_id,
                    "kind": kind,
                    "key": key,
                    "detail": detail,
                    "call": call,
                }
            ),
            task_queue=RUNS,
            start_to_close_timeout=QUICK,
            retry_policy=RECORDS,
        )

    # -- messages ------------------------------------------------------------------------------

    @workflow.signal
    async def kill(self, reason: str = "killed by hand") -> None:
        """End the run now; a call in flight is cut and booked."""
        self._kill_reason = reason or "killed by hand"

    @workflow.signal
    async def pause(self, reason: str = "paused by hand") -> None:
        """Buy nothing more until `resume`; the call in flight may finish."""
        self._waiting.set("hand", reason or "paused by hand")
        await self._tell_children("pause", reason)

    @workflow.signal
    async def resume(self) -> None:
        """Lift a pause made by hand."""
        self._waiting.clear("hand")
        self._waiting.wake()
        await self._tell_children("resume")

    @workflow.signal
    def wake(self) -> None:
        """Look again now at what the run waits for (sent when a switch or a budget changed)."""
        self._waiting.wake()

    @workflow.update
    async def top_up(self, amount: TopUp | str) -> TopUpDone:
        """Raise the budget that blocks; plain text is dollars for the run's own. Done once per update id."""
        top_up = amount if isinstance(amount, TopUp) else TopUp(usd=amount)
        info = workflow.current_update_info()
        done = await workflow.execute_activity_method(
            RunActivities.top_up,
            TopUpTask(run_id=workflow.info().workflow_id, top_up_id=info.id if info else "", top_up=top_up),
            task_queue=RUNS,
            start_to_close_timeout=QUICK,
            retry_policy=RECORDS,
        )
        blocked = self._waiting.causes.get("budget", "")
        self._waiting.wake()
        if blocked and done.scope not in blocked:
            note = f"the run still waits: {blocked}. Name that scope in the top-up to raise it"
            return done.model_copy(update={"note": note})
        return done

    @top_up.validator
    def _check_top_up(self, amount: TopUp | str) -> None:
        try:
            value = usd(amount.usd if isinstance(amount, TopUp) else amount)
        except MoneyError as error:
            raise ApplicationError(f"top_up: {error}", type="BadTopUp") from error
        if value <= 0:
            raise ApplicationError("top_up: the amount must be more than $0", type="BadTopUp")

    @workflow.update
    def approve(self, tool_call: str) -> str:
        """Allow a tool call that waits for approval; the id is in `curb show`."""
        self._approvals[tool_call] = (True, "")
        return "approved"

    @approve.validator
    def _check_approve(self, tool_call: str) -> None:
        self._check_open_approval(tool_call)

    @workflow.update
    def deny(self, tool_call: Deny | str) -> str:
        """Refuse a tool call that waits for approval; the model is told why."""
        refusal = tool_call if isinstance(tool_call, Deny) else Deny(call=tool_call)
        self._approvals[refusal.call] = (False, refusal.reason)
        return "denied"

    @deny.validator
    def _check_deny(self, tool_call: Deny | str) -> None:
        self._check_open_approval(tool_call.call if isinstance(tool_call, Deny) else tool_call)

    def _check_open_approval(self, tool_call: str) -> None:
        if self._approvals.get(tool_call, ...) is not None:
            waiting = [call for call, decision in self._approvals.items() if decision is None]
            raise ApplicationError(
                f"{tool_call!r} does not wait for approval; waiting: {waiting or 'none'}", type="NoApproval"
            )

    @workflow.update
    def answer(self, answer: Answer | str) -> str:
        """Answer the open question; with several open, name which."""
        given = answer if isinstance(answer, Answer) else Answer(text=answer)
        open_ = [name for name, value in self._questions.items() if value is None]
        self._questions[given.question or open_[0]] = given
        return "answered"

    @answer.validator
    def _check_answer(self, answer: Answer | str) -> None:
        open_ = [name for name, value in self._questions.items() if value is None]
        wanted = answer.question if isinstance(answer, Answer) else ""
        if not open_:
            raise ApplicationError("answer: the run has no open question", type="NoQuestion")
        if wanted and wanted not in open_:
            raise ApplicationError(
                f"answer: question {wanted!r} is not open; open: {open_}", type="NoQuestion"
            )
        if not wanted and len(open_) > 1:
            raise ApplicationError(f"answer: say which question, open are {open_}", type="NoQuestion")

    @workflow.update
    def extend_steps(self, steps: int) -> int:
        """Allow that many steps more; returns the new maximum."""
        self._count(max_steps_extension=self._state.max_steps_extension + steps)
        self._show()
        return self._max_steps

    @extend_steps.validator
    def _check_extend_steps(self, steps: int) -> None:
        if not 0 < steps <= 10_000:
            raise ApplicationError("extend_steps: give a number from 1 to 10000", type="BadSteps")

    @workflow.query
    def status(self) -> RunStatus:
        """Status, step, spend against budget and what the run waits for."""
        plan = self._plan
        budget = plan.budget_nano_usd if plan else None
        return RunStatus(
            run_id=workflow.info().workflow_id,
            agent=self._input.agent,
            status=self._shown_status,
            step=self._state.step,
            max_steps=self._max_steps,
            cost_usd=decimal_usd(self._state.cost_nano_usd),
            budget_usd="" if budget is None else decimal_usd(budget),
            waiting_for=dict(self._waiting.causes),
            mode=plan.mode if plan else "live",
        )

    # -- what people see -----------------------------------------------------------------------

    @property
    def _max_steps(self) -> int:
        return (self._plan.max_steps if self._plan else 0) + self._state.max_steps_extension

    @property
    def _shown_status(self) -> str:
        return "paused" if self._waiting.causes and self._status == "running" else self._status

    def _count(self, **changes: Any) -> None:
        self._state = self._state.model_copy(update=changes)

    def _show(self) -> None:
        """Keep the text that the Temporal UI shows as current details."""
        plan = self._plan
        budget = plan.budget_nano_usd if plan else None
        lines = [
            f"**{self._shown_status}** · agent `{self._input.agent}` · "
            f"step {self._state.step} of {self._max_steps}",
            f"spent {format_usd(self._state.cost_nano_usd)}"
            + (f" of {format_usd(budget)}" if budget is not None else ", no run budget"),
        ]
        lines += [f"waits for {cause}: {text}" for cause, text in self._waiting.causes.items()]
        workflow.set_current_details("  \n".join(lines))

    def _tell_search(self, plan: RunPlan) -> None:
        if plan.search_attributes and self._state.runs == 1:
            workflow.upsert_search_attributes(
                [
                    _AGENT.value_set(plan.agent),
                    _TEAM.value_set(plan.team),
                    _USER.value_set(plan.user),
                    _MODE.value_set(plan.mode),
                    _STATUS.value_set("running"),
                ]
            )

    def _tell_search_end(self, totals: RunTotals) -> None:
        if self._plan is not None and self._plan.search_attributes:
            workflow.upsert_search_attributes(
                [_STATUS.value_set(self._status), _COST.value_set(totals.cost_nano_usd // 1000)]
            )

    async def _tell_children(self, signal: str, *arguments: str) -> None:
        for child in list(self._children.values()):
            await child.signal(signal, *arguments)


def _finished(answer: CallResult) -> RunOver:
    match answer.finish_reason:
        case "length":
            return RunOver("completed", "the last answer was cut at max_output_tokens")
        case "content_filter":
            return RunOver("failed", "the provider withheld the answer (content filter)")
        case _:
            return RunOver("completed", "")


def _status(status: str) -> Status:
    match status:
        case "completed" | "failed" | "killed" | "stopped" | "expired":
            return status
    raise ValueError(status)
