"""DailyReset: closes the accounting day, and the month on its first."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.reset import Closed, ResetActivities, ResetOutcome, ResetPlan
    from workflows.retries import RECORDS
    from workflows.scheduled import Scheduled, scheduled_at

_NOW = Scheduled()
_SHORT = timedelta(minutes=2)
_CLOSING = timedelta(minutes=20)
_LOST = timedelta(seconds=5)  # done again without harm
# For some hours; what cannot be closed by then is left to the reset of the next day.
_PATIENT = RetryPolicy(
    initial_interval=timedelta(seconds=2),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=5),
    maximum_attempts=40,
)


@workflow.defn(name="DailyReset")
class DailyReset:
    """People first: what the new day allows is allowed at once, then the books are closed.

    Closes every day and month that had ended by the scheduled time and is not closed yet, so a
    reset that was missed is made up for by the next one.
    """

    @workflow.run
    async def run(self, given: Scheduled = _NOW) -> ResetOutcome:
        at = scheduled_at(given)
        plan = await workflow.execute_activity_method(
            ResetActivities.plan_reset, at, start_to_close_timeout=_SHORT, retry_policy=RECORDS
        )
        reopened = await workflow.execute_activity_method(
            ResetActivities.reopen,
            plan.day_start,
            start_to_close_timeout=_SHORT,
            heartbeat_timeout=_LOST,
            retry_policy=RECORDS,
        )
        closed, failed = await self._close(plan)
        outcome = ResetOutcome(day_start=plan.day_start, reopened=reopened, closed=closed, failed=failed)
        if failed:
            raise ApplicationError(
                f"could not be closed: {', '.join(failed)}; the next reset tries again",
                type="NotClosed",
                non_retryable=True,
            )
        await workflow.execute_activity_method(
            ResetActivities.record_reset, outcome, start_to_close_timeout=_SHORT, retry_policy=RECORDS
        )
        return outcome

    async def _close(self, plan: ResetPlan) -> tuple[tuple[Closed, ...], tuple[str, ...]]:
        """The windows that were closed, and those that could not be."""
        closed: list[Closed] = []
        failed: list[str] = []
        for window in plan.windows:
            try:
                closed.append(
                    await workflow.execute_activity_method(
                        ResetActivities.close_books,
                        window,
                        start_to_close_timeout=_CLOSING,
                        heartbeat_timeout=_LOST,
                        retry_policy=_PATIENT,
                        summary=f"{window.period} {window.id}",
                    )
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                failed.append(window.id)
        return tuple(closed), tuple(failed)
