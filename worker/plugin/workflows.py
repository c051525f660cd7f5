"""What SupervisorPlugin adds to every workflow of a worker: `kill`, `curb_status`, word to its activities.

No command is added and none is left out, so histories replay with the plugin and without it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ExecuteWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)

from worker.plugin.launch import MEMO, Launch, launch_in

MODEL_ACTIVITIES = ("invoke_model_activity", "invoke_model_activity_streaming")
_MODEL_ENDINGS = ("__model_request", "__model_request_stream")
LOST_AFTER = timedelta(seconds=20)


def is_model_activity(name: str) -> bool:
    """Whether an activity is one model call and nothing else: of OpenAI Agents, or of pydantic-ai."""
    return name in MODEL_ACTIVITIES or name.endswith(_MODEL_ENDINGS)


@dataclass
class WorkflowState:
    """What one workflow knows about itself. model_activities: how many were started; nodes of LangGraph,
    which may call models, are not among them. killed: why, '' while nobody killed it."""

    launch: Launch
    model_activities: int = 0
    killed: str = ""

    def told(self) -> dict[str, Any]:
        """The answer to `curb_status`."""
        return {
            "run": workflow.info().workflow_id,
            "agent": self.launch.agent,
            "budget_usd": self.launch.budget_usd,
            "max_steps": self.launch.max_steps,
            "model_activities": self.model_activities,
            "killed": self.killed,
        }


class SupervisedWorkflow(WorkflowInboundInterceptor):
    """Runs the workflow beside the signal `kill`. launch_of: what holds for a workflow type by default."""

    launch_of: Callable[[str], Launch]

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        self._default = self.launch_of(outbound.info().workflow_type)
        self._state = WorkflowState(self._default)
        super().init(_Outbound(outbound, self._state))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        self._state.launch = self._launch(launch_in(input.headers))
        self._listen()
        work = asyncio.create_task(self.next.execute_workflow(input))
        try:
            await workflow.wait_condition(lambda: work.done() or bool(self._state.killed))
        except asyncio.CancelledError:
            work.cancel()
            return await work
        if not work.done():
            work.cancel()
            raise ApplicationError(self._state.killed, type="killed", non_retryable=True)
        return await work

    def _launch(self, inherited: Launch | None) -> Launch:
        """The parent's word, then this workflow's own memo."""
        memo: dict[str, object] = workflow.memo_value(MEMO, default={}, type_hint=dict)
        launch = (inherited or self._default).with_memo(memo)
        return launch.model_copy(update={"chain": workflow.info().first_execution_run_id})

    def _listen(self) -> None:
        if workflow.get_signal_handler("kill") is None:
            workflow.set_signal_handler("kill", self._kill)
        if workflow.get_signal_handler("wake") is None:  # a waiting activity looks by itself
            workflow.set_signal_handler("wake", _nothing)
        if workflow.get_query_handler("curb_status") is None:
            workflow.set_query_handler("curb_status", self._state.told)

    def _kill(self, reason: str = "killed by hand") -> None:
        self._state.killed = reason or "killed by hand"


class _Outbound(WorkflowOutboundInterceptor):
    """Sends the launch along with every activity and child."""

    def __init__(self, next: WorkflowOutboundInterceptor, state: WorkflowState) -> None:
        super().__init__(next)
        self._state = state

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = {**input.headers, **self._state.launch.as_header()}
        if is_model_activity(input.activity):
            self._state.model_activities += 1
            input.heartbeat_timeout = input.heartbeat_timeout or LOST_AFTER
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = {**input.headers, **self._state.launch.as_header()}
        self._state.model_activities += is_model_activity(input.activity)
        return super().start_local_activity(input)

    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        input.headers = {**input.headers, **self._for_child().as_header()}
        return await super().start_child_workflow(input)

    def _for_child(self) -> Launch:
        """A child's calls count in every run above it; its own run has no budget of its own by that."""
        mine, launch = workflow.info().workflow_id, self._state.launch
        budgets = launch.budgets | ({mine: launch.budget_usd} if launch.budget_usd else {})
        above = {"ancestors": (mine, *launch.ancestors)[:4], "budgets": budgets}
        return launch.model_copy(update={"budget_usd": "", **above})


def _nothing() -> None:
    """Nothing is to be done."""
