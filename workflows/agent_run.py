"""AgentRun: one agent working on one task, step by step, within its budgets and stoppable at any time.

A step is one model call and the tool calls it asked for. The run ends as completed, failed,
killed, stopped (by a rule) or expired; while it waits, it says for what.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.messages import CallResult, EndRun, OnBudget, OpenRun, Refused, RunPlan
    from activities.runs import RunActivities
    from workflows.children import Children
    from workflows.messages import RunInput, RunResult
    from workflows.people import People
    from workflows.progress import Progress
    from workflows.queues import GATEWAY
    from workflows.records import on_record, open_on_record
    from workflows.run_messages import RunMessages
    from workflows.supervision import RunOver, Supervision
    from workflows.tool_use import ToolUse

_MAX_DEPTH = 4
_REASON_CHARACTERS = 1000


@workflow.defn(name="AgentRun")
class AgentRun(RunMessages):
    """See the module. The workflow id is the run id."""

    @workflow.init
    def __init__(self, input: RunInput) -> None:
        progress = Progress(input)
        super().__init__(progress, People(progress), Children(input, progress))
        self._input = input
        self._tools = ToolUse(progress, self._people, self._children)

    @workflow.run
    async def run(self, input: RunInput) -> RunResult:
        """Work until done, stopped or killed; then write down how it ended and what it cost."""
        cancelled: BaseException | None = None
        work = asyncio.create_task(self._work())
        try:
            ending = await self._ending(work)
        except (asyncio.CancelledError, FailureError) as error:
            if not is_cancelled_exception(error):
                raise
            cancelled, ending = error, RunOver("killed", self._kill_reason or "cancelled from Temporal")
            _give_up(work)
        end = asyncio.create_task(self._end(ending))
        try:
            result = await asyncio.shield(end)
        except asyncio.CancelledError:  # too late: it ends as it does
            result = await end
        if cancelled is not None:
            raise cancelled
        return result

    async def _ending(self, work: "asyncio.Task[RunOver]") -> RunOver:
        """Wait for the work's own end, a kill signal or the deadline, whichever comes first."""

        def over() -> bool:
            return work.done() or self._kill_reason is not None

        await workflow.wait_condition(lambda: self._progress.plan is not None or over())
        if self._progress.plan is not None:
            try:
                await workflow.wait_condition(over, timeout=self._progress.seconds_left)
            except TimeoutError:
                await self._children.end("its deadline has passed")
                _give_up(work)
                return RunOver("expired", "the run's deadline has passed")
        if self._kill_reason is not None:
            await self._children.end(self._kill_reason)
            _give_up(work)
            return RunOver("killed", self._kill_reason)
        return _outcome(work)

    async def _work(self) -> RunOver:
        """Step by step until the model is done or must not go on."""
        plan = await self._open()
        progress = self._progress
        supervision = self._supervise(plan)
        while True:
            await progress.waiting.until_clear("hand")
            await self._continue_as_new_if_due(supervision)
            if progress.state.step >= progress.max_steps:
                return RunOver("stopped", f"max_steps: {progress.max_steps} steps are used up")
            progress.count(step=progress.state.step + 1)
            answer = await supervision.buy(progress.state.step)
            progress.add(answer)
            ending = _judged(answer, progress.state.tool_calls, plan)
            if ending is not None:
                return ending
            await _all([self._tools.use(call) for call in answer.tool_calls])

    async def _open(self) -> RunPlan:
        parent = self._input.parent
        if parent is not None and len(parent.run_ids) > _MAX_DEPTH:
            raise RunOver("failed", f"delegated too deep: at most {_MAX_DEPTH} runs above another")
        if not self._progress.state.started_at:
            self._progress.count(started_at=workflow.time())
        try:
            plan = await open_on_record(_opening(self._input))
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError):
                raise RunOver("failed", error.cause.message) from error
            raise
        self._progress.begin(plan)
        return plan

    def _supervise(self, plan: RunPlan) -> Supervision:
        return Supervision(
            plan,
            self._progress.waiting,
            self._out_of_budget,
            task_queue=GATEWAY,
            run_id=workflow.info().workflow_id,
            parent=self._input.parent,
            provider_failures=self._progress.state.provider_failures,
        )

    async def _out_of_budget(self, refused: Refused, on_budget: OnBudget) -> None:
        if on_budget == "fail":
            raise RunOver("failed", refused.text)
        if on_budget == "ask":
            await self._people.escalate("budget", f"budget:{self._progress.state.step}", refused.text)

    async def _continue_as_new_if_due(self, supervision: Supervision) -> None:
        """Between two steps, once no handler is at work: nothing but the state needs to be carried over."""
        progress, every = self._progress, self._input.continue_after_steps
        due = workflow.info().is_continue_as_new_suggested() or (every and progress.steps_here >= every)
        if not due:
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        progress.count(
            runs=progress.state.runs + 1,
            provider_failures=supervision.provider_failures,
            paused_by_hand=progress.waiting.causes.get("hand", ""),
            plan=progress.plan,
        )
        # The snapshot in Postgres has the task and the agent's own text.
        conversation_id = progress.opened.conversation_id
        carried = {"state": progress.state, "task": "", "spec": None, "conversation_id": conversation_id}
        workflow.continue_as_new(self._input.model_copy(update=carried))

    async def _end(self, ending: RunOver) -> RunResult:
        progress, me = self._progress, workflow.info().workflow_id
        progress.end(ending.status)
        totals = await on_record(
            RunActivities.end_run,
            EndRun(
                run_id=me,
                status=ending.status,
                reason=ending.reason[:_REASON_CHARACTERS],
                steps=progress.state.step,
                item=progress.state.last_item,
            ),
        )
        progress.add_up(totals.cost_nano_usd)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return RunResult(
            run_id=me,
            status=ending.status,
            reason=ending.reason,
            steps=progress.state.step,
            cost_nano_usd=totals.cost_nano_usd,
            in_doubt_nano_usd=totals.in_doubt_nano_usd,
            prompt_tokens=progress.state.prompt_tokens,
            output_tokens=progress.state.output_tokens,
            conversation_id=progress.plan.conversation_id if progress.plan else "",
            answer_item=progress.state.last_item,
        )


def _opening(given: RunInput) -> OpenRun:
    info = workflow.info()
    return OpenRun(
        run_id=info.workflow_id,
        temporal_run_id=info.run_id,
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
        traceparent=given.traceparent,
        parent=given.parent,
    )


def _judged(answer: CallResult, tool_calls: int, plan: RunPlan) -> RunOver | None:
    """How the run ends with this answer; None: it goes on. A final answer is one whatever came before."""
    if not answer.tool_calls:
        return _finished(answer)
    if answer.stop_rule:
        return RunOver("stopped", answer.stop_detail)
    if tool_calls > plan.max_tool_calls:
        return RunOver("stopped", f"max_tool_calls: {tool_calls} of {plan.max_tool_calls}")
    return None


def _finished(answer: CallResult) -> RunOver:
    match answer.finish_reason:
        case "length":
            return RunOver("completed", "the last answer was cut at max_output_tokens")
        case "content_filter":
            return RunOver("failed", "the provider withheld the answer (content filter)")
        case _:
            return RunOver("completed", "")


async def _all(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Do all at once; when one raises, the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        raise


def _give_up(work: "asyncio.Task[RunOver]") -> None:
    """Cancel the work; how it takes that does not matter any more."""
    work.cancel()
    work.add_done_callback(lambda task: task.cancelled() or task.exception())


def _outcome(work: "asyncio.Task[RunOver]") -> RunOver:
    """How the work ended by itself."""
    try:
        return work.result()
    except RunOver as over:
        return over
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        return RunOver("failed", str(error.cause)[:_REASON_CHARACTERS])
