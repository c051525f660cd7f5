"""Reconcile: every hour, the books against what the providers report and against the counters."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.reconcile import ReconcileActivities, Reconciled, whole_hour
    from workflows.scheduled import Scheduled, scheduled_at

_LONGEST = timedelta(minutes=20)
_LOST = timedelta(seconds=30)
# For most of an hour: then the next one does it.
_PATIENT = RetryPolicy(
    initial_interval=timedelta(seconds=2),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=5),
    maximum_attempts=12,
)
_NOW = Scheduled()


@workflow.defn(name="Reconcile")
class Reconcile:
    """Done twice for the same hour it is done once."""

    @workflow.run
    async def run(self, given: Scheduled = _NOW) -> Reconciled:
        return await workflow.execute_activity_method(
            ReconcileActivities.reconcile_hour,
            whole_hour(scheduled_at(given)),
            start_to_close_timeout=_LONGEST,
            heartbeat_timeout=_LOST,
            retry_policy=_PATIENT,
        )
