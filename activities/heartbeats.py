"""Heartbeats: how a long activity tells Temporal that it lives, and hears that it should not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from temporalio import activity

_INTERVAL_SECONDS = 0.5


@contextlib.asynccontextmanager
async def heartbeating() -> AsyncIterator[None]:
    """Heartbeat twice a second inside the block. Cancellation and termination of the workflow
    arrive with the answer, as the cancellation of the activity's task.
    """
    task = asyncio.create_task(_beat(), name="curb-heartbeat")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _beat() -> None:
    while True:
        await asyncio.sleep(_INTERVAL_SECONDS)
        activity.heartbeat()
