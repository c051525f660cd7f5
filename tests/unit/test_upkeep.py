"""The upkeep of a process outlives what nobody foresaw."""

import asyncio

import pytest

from worker.upkeep import kept_up


async def test_upkeep_that_stumbles_begins_again() -> None:
    begun = 0

    async def stumbles_twice() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise KeyError("an entry that nobody of us wrote")

    await kept_up(stumbles_twice, "drainer", pause_seconds=0)

    assert begun == 3


async def test_upkeep_ends_when_it_is_cancelled() -> None:
    task = asyncio.create_task(kept_up(asyncio.Event().wait, "monitor"))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
