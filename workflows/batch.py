"""Batch: follows one batch at a provider to its end, whatever restarts meanwhile.

Its id is the batch's. Cancelling it, in the Temporal UI too, cancels the batch, which is followed still:
what had been answered by then is paid for.
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.batches import BatchActivities
    from workflows.queues import GATEWAY

_TRANSFER = timedelta(minutes=20)
_LOOKS = timedelta(minutes=15)
_LOST = timedelta(seconds=20)
_PATIENCE = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=1.5,
    maximum_interval=timedelta(minutes=1),
    maximum_attempts=3_000,
)


@workflow.defn(name="Batch")
class Batch:
    """Started once for each batch."""

    @workflow.run
    async def run(self, batch_id: str) -> str:
        try:
            return await self._followed(batch_id)
        except ActivityError:  # after two days of trying
            await self._done(BatchActivities.give_up_batch, batch_id, _TRANSFER)
            return "given up"

    async def _followed(self, batch_id: str) -> str:
        if not await self._done(BatchActivities.submit_batch, batch_id, _TRANSFER):
            return "not handed in"
        while not await self._done(BatchActivities.follow_batch, batch_id, _LOOKS):
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(batch_id)
        await self._done(BatchActivities.settle_batch, batch_id, _TRANSFER)
        return "settled"

    async def _done(self, step: object, batch_id: str, longest: timedelta) -> bool:
        """One step; a cancellation is passed on to the batch, and the step done again."""
        while True:
            try:
                return bool(await self._activity(step, batch_id, longest))
            except (asyncio.CancelledError, ActivityError) as error:
                if not is_cancelled_exception(error):
                    raise
            await self._activity(BatchActivities.cancel_batch, batch_id, _LOST)

    async def _activity(self, step: object, batch_id: str, longest: timedelta) -> object:
        done: object = await workflow.execute_activity_method(
            step,  # type: ignore[call-overload]
            batch_id,
            task_queue=GATEWAY,
            start_to_close_timeout=longest,
            heartbeat_timeout=_LOST,
            retry_policy=_PATIENCE,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return done
