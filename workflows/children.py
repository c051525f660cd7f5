"""Runs below a run: an agent hands a part of its task to another agent."""

import asyncio
import contextlib
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.messages import ChildTask, ToolRef
    from activities.runs import RunActivities
    from workflows.messages import Parent, RunInput, RunResult
    from workflows.progress import Progress
    from workflows.records import on_record

Child = workflow.ChildWorkflowHandle[Any, RunResult]


class Children:
    """The runs below this one that are live, by tool call."""

    def __init__(self, given: RunInput, progress: Progress) -> None:
        self._given = given
        self._progress = progress
        self._live: dict[tuple[int, str], Child] = {}

    async def delegate(self, call: ToolRef, agent: str) -> RunResult | str:
        """Run another agent, charged to this run's budget too; its result, or how it failed."""
        run_id = f"{workflow.info().workflow_id}.{self._progress.state.step}.{call.digest[:8]}"
        child = await self._start(call, agent, run_id)
        self._live[call.item, call.id] = child
        try:
            await self._catch_up(child)
            return await child
        except ChildWorkflowError as error:
            if is_cancelled_exception(error):
                raise
            return str(error.cause)
        finally:
            del self._live[call.item, call.id]

    async def tell(self, signal: str, *arguments: str) -> None:
        """Pass a signal on to every child that is still there to hear it."""
        await asyncio.gather(*(_signal(child, signal, *arguments) for child in self._live.values()))

    async def end(self, reason: str) -> None:
        """End every child with this run. They are told before they are cancelled, to know why."""
        await self.tell("kill", f"with {workflow.info().workflow_id}: {reason}")

    async def _start(self, call: ToolRef, agent: str, run_id: str) -> Child:
        me, plan = workflow.info().workflow_id, self._progress.opened
        task = ChildTask(run_id=me, call=call, agent=agent, child_run_id=run_id)
        conversation_id = await on_record(RunActivities.open_child, task)
        child: Child = await workflow.start_child_workflow(
            "AgentRun",
            RunInput(
                agent=agent,
                conversation_id=conversation_id,
                mode=plan.mode,
                user=plan.user,
                team=plan.team,
                session=self._given.session,
                application=self._given.application,
                tags=self._given.tags,
                traceparent=self._given.traceparent,
                parent=self._as_parent(),
            ),
            id=run_id,
            result_type=RunResult,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            cancellation_type=workflow.ChildWorkflowCancellationType.TRY_CANCEL,
        )
        return child

    async def _catch_up(self, child: Child) -> None:
        """A pause that came before the child was there holds for it too."""
        reason = self._progress.waiting.causes.get("hand")
        if reason:
            await _signal(child, "pause", reason)

    def _as_parent(self) -> Parent:
        me, plan = workflow.info().workflow_id, self._progress.opened
        above = self._given.parent or Parent(run_ids=())
        budgets = dict(above.budgets_nano_usd)
        if plan.budget_nano_usd is not None:
            budgets[me] = plan.budget_nano_usd
        return Parent(
            run_ids=(me, *above.run_ids),
            budgets_nano_usd=budgets,
            on_budget={**above.on_budget, me: plan.on_budget},
        )


async def _signal(child: Child, signal: str, *arguments: str) -> None:
    with contextlib.suppress(FailureError):  # it has ended meanwhile
        await child.signal(signal, args=list(arguments))
