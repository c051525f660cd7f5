"""Booking: closing an attempt so that it is on the books whatever is down.

First choice is the authority, whose script moves the counters and tells the ledger. With Redis
gone the event goes to Postgres directly and the counters follow as soon as Redis answers;
with both gone the process keeps trying. Should the process die before, the attempt's lease
lapses and it stays counted as in doubt: nothing is ever silently released.
"""

import asyncio
import time

import structlog

from gateway.calls import Settlement
from gateway.errors import CurbError, StateUnavailable
from gateway.events import Event
from gateway.state.authority import Authority
from gateway.store import Store

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.5
_MAX_WAITING = 50_000


class Booker:
    """Closes attempts, at once where possible, in the background where not."""

    def __init__(self, authority: Authority, store: Store) -> None:
        self._authority = authority
        self._store = store
        self._waiting: dict[str, tuple[Settlement, str, bool]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many attempts are not yet booked in Redis."""
        return len(self._waiting)

    async def close_attempt(self, settlement: Settlement, day: str) -> None:
        """Book how an attempt ended. day: its accounting day. Never raises for a server that is down."""
        booked = await self._try(settlement, day, in_store=False)
        if booked is not None and len(self._waiting) < _MAX_WAITING:
            self._waiting[settlement.attempt_id] = (settlement, day, booked)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._retry_until_done(), name="curb-booking")

    async def drain(self, timeout_seconds: float) -> bool:
        """Wait until everything is booked; False when the time ran out before."""
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=timeout_seconds)
        return not self._waiting

    async def close(self) -> None:
        """Stop trying."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _try(self, settlement: Settlement, day: str, *, in_store: bool) -> bool | None:
        """Book once: None when done, else whether at least Postgres has it."""
        try:
            result = await self._authority.close_attempt(settlement)
        except StateUnavailable:
            return in_store or await self._try_store(settlement, day)
        if result == "unknown" and not in_store:
            return None if await self._try_store(settlement, day) else False
        return None

    async def _try_store(self, settlement: Settlement, day: str) -> bool:
        body = settlement.model_dump(mode="json")
        event = Event(settlement.state, body, at_ms=time.time_ns() // 1_000_000, day=day)
        try:
            await self._store.ledger.apply_events([event])
        except CurbError as error:  # also values that Postgres refuses: Redis may take them yet
            log.warning("attempt not booked yet", attempt_id=settlement.attempt_id, error=str(error))
            return False
        return True

    async def _retry_until_done(self) -> None:
        while self._waiting:
            await asyncio.sleep(_RETRY_SECONDS)
            for attempt_id, (settlement, day, in_store) in list(self._waiting.items()):
                booked = await self._try(settlement, day, in_store=in_store)
                if booked is None:
                    del self._waiting[attempt_id]
                else:
                    self._waiting[attempt_id] = (settlement, day, booked)
