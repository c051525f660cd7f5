"""The run's record: the short activities that read and write it, all with the same patience."""

from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.types import MethodAsyncSingleParam

with workflow.unsafe.imports_passed_through():
    from activities.messages import OpenRun, RunPlan
    from activities.runs import RunActivities
    from workflows.queues import RUNS
    from workflows.retries import OPENING_LOST, QUICK, RECORDS

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


async def on_record(
    method: MethodAsyncSingleParam[RunActivities, _Argument, _Result], argument: _Argument
) -> _Result:
    """Do something to the run's record; retried while Postgres or Redis are away. Raises ActivityError."""
    return await workflow.execute_activity_method(
        method, argument, task_queue=RUNS, start_to_close_timeout=QUICK, retry_policy=RECORDS
    )


async def open_on_record(given: OpenRun) -> RunPlan:
    """Open the run, which may have to start tool servers. Raises ActivityError."""
    return await workflow.execute_activity_method(
        RunActivities.open_run,
        given,
        task_queue=RUNS,
        start_to_close_timeout=timedelta(seconds=90),
        heartbeat_timeout=OPENING_LOST,
        retry_policy=RECORDS,
    )
