"""How fast a channel may be spoken to: a few at once, then one after the other."""

import asyncio

from activities.channels.message import ChannelBusy


class Pace:
    """One message per `every_seconds`, the first `burst` of them at once.

    patience_seconds: the longest wait for a turn; whoever would wait longer is told ChannelBusy.
    """

    def __init__(self, every_seconds: float, *, burst: int = 1, patience_seconds: float = 15.0) -> None:
        self._every = every_seconds
        self._ahead = (burst - 1) * every_seconds
        self._patience = patience_seconds
        self._next = float("-inf")  # when the next message would go out if there were no bursts

    async def turn(self, channel: str) -> None:
        """Wait for a turn. Raises ChannelBusy."""
        await asyncio.sleep(self.claim(channel, asyncio.get_running_loop().time()))

    def claim(self, channel: str, now: float) -> float:
        """Take the next turn; returns the seconds until it comes. Raises ChannelBusy."""
        wait = max(0.0, self._next - self._ahead - now)
        if wait > self._patience:
            raise ChannelBusy(f"{channel}: more messages than it takes; this one waits its turn", wait)
        self._next = max(self._next, now) + self._every
        return wait

    def hold(self, seconds: float, now: float) -> None:
        """Nobody has a turn for this long: the other side asked for it."""
        self._next = max(self._next, now + seconds + self._ahead)
