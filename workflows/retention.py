"""Retention: every night, what was kept long enough goes."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.retention import (
        RetentionActivities,
        RetentionOutcome,
        RetentionPlan,
        Retired,
    )
    from workflows.retries import RECORDS
    from workflows.scheduled import Scheduled, scheduled_at

_NOW = Scheduled()
_SHORT = timedelta(minutes=2)
_CLASS = timedelta(minutes=15)
_LOST = timedelta(seconds=20)
_SOME = RetryPolicy(
    initial_interval=timedelta(seconds=5),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=5),
    maximum_attempts=10,
)


@workflow.defn(name="Retention")
class Retention:
    """One class of data after the other; what does not fit into the time goes on the next night."""

    @workflow.run
    async def run(self, given: Scheduled = _NOW) -> RetentionOutcome:
        plan = await workflow.execute_activity_method(
            RetentionActivities.plan_retention,
            scheduled_at(given),
            start_to_close_timeout=_SHORT,
            retry_policy=RECORDS,
        )
        retired, failed = await self._retire(plan)
        outcome = RetentionOutcome(day_start=plan.day_start, retired=retired, failed=failed)
        await workflow.execute_activity_method(
            RetentionActivities.record_retention,
            outcome,
            start_to_close_timeout=_SHORT,
            retry_policy=RECORDS,
        )
        if failed:
            raise ApplicationError(
                f"not worked through: {', '.join(failed)}; the next night tries again",
                type="NotRetired",
                non_retryable=True,
            )
        return outcome

    async def _retire(self, plan: RetentionPlan) -> tuple[tuple[Retired, ...], tuple[str, ...]]:
        """What was done, and the classes with which it could not be done."""
        retired: list[Retired] = []
        failed: list[str] = []
        for each in plan.classes:
            try:
                retired.append(
                    await workflow.execute_activity_method(
                        RetentionActivities.retire,
                        each,
                        start_to_close_timeout=_CLASS,
                        heartbeat_timeout=_LOST,
                        retry_policy=_SOME,
                        summary=each.name,
                    )
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                failed.append(each.name)
        return tuple(retired), tuple(failed)
