"""What becomes of a tool call: it is run, handed to another agent, put to a person, or refused."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.messages import ToolAnswer, ToolRef, ToolTask
    from activities.tools import ToolActivities
    from workflows.children import Children
    from workflows.people import People
    from workflows.progress import Progress
    from workflows.queues import TOOLS
    from workflows.retries import QUICK, RECORDS

_TOOL_TIMEOUT = timedelta(seconds=300)
_TRIES = 5


class ToolUse:
    """Carries out the tool calls of a run's steps. Every call gets a result in the conversation."""

    def __init__(self, progress: Progress, people: People, children: Children) -> None:
        self._progress = progress
        self._people = people
        self._children = children

    async def use(self, call: ToolRef) -> None:
        """Do what the model asked for. Raises RunOver when people had to be asked and did not answer."""
        tools = self._progress.opened.tools
        tool = tools.get(call.name)
        if tool is None:
            known = ", ".join(sorted(tools)) or "none"
            await self._answer(call, f"There is no tool {call.name!r}. Tools: {known}.", is_error=True)
        elif tool.kind == "ask_human":
            answer = await self._people.answer(call)
            await self._answer(call, answer.text, ref=answer.ref)
        elif tool.kind == "delegate":
            await self._delegate(call, tool.agent)
        elif await self._may(call, needs_approval=tool.requires_approval):
            await self._run(call, retryable=tool.retryable)

    async def _may(self, call: ToolRef, *, needs_approval: bool) -> bool:
        """Whether the call may be made; the model is told when a person denied it."""
        if not needs_approval:
            return True
        decision = await self._people.approval(call)
        if not decision.approved:
            reason = decision.reason or "no reason given"
            await self._answer(call, f"A person denied this call: {reason}", is_error=True)
        return decision.approved

    async def _delegate(self, call: ToolRef, agent: str) -> None:
        result = await self._children.delegate(call, agent)
        if isinstance(result, str):
            await self._answer(call, f"{agent} failed: {result}", is_error=True)
        elif result.status == "completed":
            await self._answer(call, "", ref=f"{result.conversation_id}:{result.answer_item}")
        else:
            await self._answer(call, f"{agent} {result.status}: {result.reason}", is_error=True)

    async def _run(self, call: ToolRef, *, retryable: bool) -> None:
        try:
            await workflow.execute_activity_method(
                ToolActivities.run_tool,
                ToolTask(run_id=workflow.info().workflow_id, step=self._progress.state.step, call=call),
                task_queue=TOOLS,
                start_to_close_timeout=_TOOL_TIMEOUT,
                heartbeat_timeout=timedelta(seconds=self._progress.opened.lost_after_seconds),
                retry_policy=RetryPolicy(maximum_attempts=_TRIES if retryable else 1),
                cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
                summary=call.name,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            text = "The outcome of this call is unknown: the worker was lost while it ran."
            if not retryable:
                text += " It was not tried again, because it has side effects."
            await self._answer(call, text, is_error=True)

    async def _answer(self, call: ToolRef, text: str, *, ref: str = "", is_error: bool = False) -> None:
        await workflow.execute_activity_method(
            ToolActivities.answer_tool,
            ToolAnswer(run_id=workflow.info().workflow_id, call=call, text=text, ref=ref, is_error=is_error),
            task_queue=TOOLS,
            start_to_close_timeout=QUICK,
            retry_policy=RECORDS,
        )
