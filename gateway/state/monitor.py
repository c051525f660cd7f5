"""The monitor: notices switches that nobody is calling under, and holds that nobody ends.

Runs in every process; one of them leads, by a lease in Redis.
"""

import asyncio
import logging
from collections.abc import Callable, Collection

from gateway.errors import StateUnavailable
from gateway.state.authority import Authority

INTERVAL_SECONDS = 1.0
LEASE_MS = 3_000
SWEEP_LIMIT = 500

_log = logging.getLogger(__name__)


class Monitor:
    """names: the switches of all known agents, providers and deployments, asked for at each round."""

    def __init__(self, authority: Authority, names: Callable[[], Collection[str]]) -> None:
        self._authority = authority
        self._names = names

    async def run(self) -> None:
        """Make a round every second, until cancelled."""
        while True:
            try:
                await self.round()
            except StateUnavailable as error:
                _log.warning("the monitor cannot work: %s", error)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def round(self) -> bool:
        """Observe and sweep, if this process leads. Whether it does."""
        if not await self._authority.lead("monitor", self._authority.process_id, LEASE_MS):
            return False
        await self._authority.observe_switches({"kill:global", *self._names()})
        await self._authority.expire_overdue(SWEEP_LIMIT)
        return True
