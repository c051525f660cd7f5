"""The steps of a batch, as activities: hand it in, wait for its end, settle it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.dependencies import Dependencies
from activities.heartbeats import heartbeating
from gateway.batches.following import Follower, NotYet
from gateway.providers.errors import ProviderError

_SETTLED_WHATEVER = 30  # a quarter of an hour: results that lack something then will not be better
_AT_ONCE_SECONDS = 600.0  # then the workflow asks again, so that an activity is never long


class BatchActivities:
    """Needs the gateway. A step that fails is tried again; nothing is handed in twice by that."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._follower = Follower(dependencies.gateway)
        self._store = dependencies.store
        self._poll_seconds = dependencies.gateway.config.batches.poll_seconds

    @activity.defn
    async def submit_batch(self, batch_id: str) -> bool:
        """Hand it in. False: there is nothing to follow."""
        async with _told(), heartbeating():
            return await self._follower.submit(batch_id)

    @activity.defn
    async def follow_batch(self, batch_id: str) -> bool:
        """Look at it again and again, ten minutes at most; whether it has ended."""
        until = time.monotonic() + _AT_ONCE_SECONDS
        async with _told(), heartbeating():
            while not await self._follower.look(batch_id):
                if time.monotonic() > until:
                    return False
                await asyncio.sleep(self._poll_seconds)
            return True

    @activity.defn
    async def settle_batch(self, batch_id: str) -> None:
        """Fetch what came of it, and book it."""
        async with _told(), heartbeating():
            await self._follower.settle(batch_id, patient=activity.info().attempt < _SETTLED_WHATEVER)

    @activity.defn
    async def give_up_batch(self, batch_id: str) -> None:
        """Nobody could follow it."""
        async with _told(), heartbeating():
            await self._follower.give_up(batch_id)

    @activity.defn
    async def cancel_batch(self, batch_id: str) -> None:
        """Have it cancelled at the next look."""
        batch = await self._store.batches.get(batch_id)
        await self._store.batches.cancel(batch_id, batch.key_id)


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """Failures in words that may stand in history."""
    try:
        yield
    except NotYet as error:
        raise ApplicationError(str(error), type="NotYet") from None
    except ProviderError as error:
        raise ApplicationError(error.summary, type=f"Provider.{error.kind.value}") from None
