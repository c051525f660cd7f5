"""AnomalySweep: every minute, whether something is strange."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.sweep import SweepActivities, SweepResult
    from workflows.retries import QUICK
    from workflows.scheduled import Scheduled, scheduled_at

# A backlog of stale hours takes longer than a minute looks; the next sweep waits for this one.
_LOOK = timedelta(minutes=2)
_SOON = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=3)
_NOW = Scheduled()


@workflow.defn(name="AnomalySweep")
class AnomalySweep:
    """Sweep one minute. A sweep that fails is a failed workflow; two in a row are told, and their end."""

    @workflow.run
    async def run(self, given: Scheduled = _NOW) -> SweepResult:
        at = scheduled_at(given)
        failed_before = workflow.get_last_failure() is not None
        try:
            result = await workflow.execute_activity_method(
                SweepActivities.sweep, at, start_to_close_timeout=_LOOK, retry_policy=_SOON
            )
        except ActivityError as error:
            if failed_before and not is_cancelled_exception(error):
                await workflow.execute_activity_method(
                    SweepActivities.tell_sweep_failure,
                    args=[at, str(error.cause or error)],
                    start_to_close_timeout=QUICK,
                    retry_policy=_SOON,
                )
            raise
        if failed_before:
            await workflow.execute_activity_method(
                SweepActivities.tell_sweep_recovery, at, start_to_close_timeout=QUICK, retry_policy=_SOON
            )
        return result
