"""TraceExport: tells one keeper of traces what is on the books and was not told yet.

Started when something waits; a target that is away is tried again for hours, and what waits meanwhile
waits in Postgres.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.traces import TraceActivities, TracesTold

_ONE = timedelta(minutes=5)
_LOST = timedelta(seconds=10)  # a worker that does not beat so long is gone
_ROUNDS = 20
_PATIENCE = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=1),
    maximum_attempts=240,
)


@workflow.defn(name="TraceExport")
class TraceExport:
    """The workflow id is `curb-traces-` and the target's name, so that there is one at a time."""

    @workflow.run
    async def run(self, target: str) -> TracesTold:
        told = 0
        for _ in range(_ROUNDS):
            done = await workflow.execute_activity_method(
                TraceActivities.export_traces,
                target,
                start_to_close_timeout=_ONE,
                heartbeat_timeout=_LOST,
                retry_policy=_PATIENCE,
            )
            told += done.told
            if not done.more:
                return TracesTold(told=told)
        return TracesTold(told=told, more=True)
