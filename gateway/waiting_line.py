"""A line for calls whose deployments all said when to come again: bounded in length and in time.

One per process. It only saves the client from asking again: whoever finds no place is refused as before.
"""

import asyncio
import time
from collections.abc import Mapping

_SHORTEST_MS = 50  # between two tries, also where a deployment says "now"


class WaitingLine:
    """longest: so many calls may wait at once."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._waiting = 0

    @property
    def waiting(self) -> int:
        return self._waiting

    async def wait(self, milliseconds: int) -> bool:
        """Wait so long; False, at once, where there is no place."""
        if self._waiting >= self._longest:
            return False
        self._waiting += 1
        try:
            await asyncio.sleep(milliseconds / 1000)
        finally:
            self._waiting -= 1
        return True


def wait_ms(resting: Mapping[str, int], now_ms: int, end_ms: int) -> int | None:
    """How long until the first of some deployments may be asked again; None: not before the end.

    resting: by deployment, when it said to come again, in Unix milliseconds. end_ms: when waiting ends.
    """
    if not resting:
        return None
    wait = max(min(resting.values()) - now_ms, _SHORTEST_MS)
    return wait if now_ms + wait <= end_ms else None


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000
