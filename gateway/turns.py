"""Long work in an event loop that has others to serve: a little at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

_TOGETHER = 50
_T = TypeVar("_T")


async def in_turns(items: Iterable[_T]) -> AsyncIterator[_T]:
    """The same, letting others have their turn every now and then."""
    for position, item in enumerate(items):
        if position % _TOGETHER == 0:
            await asyncio.sleep(0)
        yield item
