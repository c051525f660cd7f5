"""The drainer: moves events from the outbox in Redis to Postgres, in batches, losing none.

An entry is acknowledged and deleted only after its batch was committed, and booking is
idempotent, so any number of drainers may run and any of them may die at any point: what it had
read and not committed is claimed by another after a while.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from gateway.errors import StateUnavailable, StoreUnavailable
from gateway.events import Event
from gateway.state.authority import Authority
from gateway.store import Store, StoreRejected

BATCH = 500
BLOCK_MS = 1_000
CLAIM_IDLE_MS = 10_000
CLAIM_EVERY_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 5.0
GATHER_SECONDS = 0.1  # after a small batch: one transaction for ten events costs little more than for one


@dataclass(frozen=True, slots=True)
class Lag:
    """How far Postgres is behind: entries that wait and the age of the oldest."""

    entries: int
    oldest_age_ms: int


class Drainer:
    """Drains until it is stopped or cancelled. consumer: a name of its own, for example the process id."""

    def __init__(
        self,
        authority: Authority,
        store: Store,
        consumer: str,
        *,
        batch: int = BATCH,
        claim_idle_ms: int = CLAIM_IDLE_MS,
    ) -> None:
        self._authority = authority
        self._store = store
        self._consumer = consumer
        self._batch = batch
        self._claim_idle_ms = claim_idle_ms
        self._claim_at = 0.0
        self._in_hand: list[Event] = []
        self._stopping = False
        self.drained = 0
        self.buried = 0
        self.failures = 0
        self._log = structlog.get_logger("gateway.drainer").bind(consumer=consumer)

    async def run(self) -> None:
        """Drain until `stop`; Redis or Postgres being down only makes it wait and try again."""
        pause = 0.0
        while not self._stopping:
            try:
                if await self.step() < self._batch:
                    await asyncio.sleep(GATHER_SECONDS)
                pause = 0.0
            except (StateUnavailable, StoreUnavailable) as error:
                self.failures += 1
                if not pause:
                    self._log.warning("draining waits", error=str(error), in_hand=len(self._in_hand))
                pause = min(max(0.1, pause * 2), LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(pause)

        with contextlib.suppress(StateUnavailable, StoreUnavailable):
            while await self.step(block_ms=0):
                pass

    def stop(self) -> None:
        """Make `run` return when it has moved what is there now, within a second if it can.

        A drainer that is cancelled instead may take with it what it had just read; another one
        claims that, but only after a while.
        """
        self._stopping = True

    async def step(self, block_ms: int = BLOCK_MS) -> int:
        """Move one batch and return its size; waits up to block_ms for the first event.

        A batch that could not be booked stays in hand for the next step. Raises StateUnavailable
        and StoreUnavailable.
        """
        if not self._in_hand:
            self._in_hand = await self._next(block_ms)
        if self._in_hand:
            await self._book(self._in_hand)
            await self._authority.ack_events([event.id for event in self._in_hand])
        done, self._in_hand = len(self._in_hand), []
        self.drained += done
        return done

    async def drain_all(self, *, within_seconds: float = 10.0, claim_idle_ms: int | None = None) -> bool:
        """Drain until nothing is left; False when `within_seconds` were not enough.

        claim_idle_ms 0 takes over what other drainers have in hand: only for when they must not
        be waited for, as booking twice is harmless but not free.
        """
        deadline = time.monotonic() + within_seconds
        while time.monotonic() < deadline:
            self._claim_at = 0.0
            if claim_idle_ms is not None and not self._in_hand:
                self._in_hand = await self._authority.claim_events(self._consumer, claim_idle_ms, self._batch)
            if await self.step(block_ms=0) == 0 and (await self.lag()).entries == 0:
                return True
            await asyncio.sleep(0.01)
        return False

    async def lag(self) -> Lag:
        """Entries in the outbox and the age of the oldest, for metrics and for /health."""
        return Lag(*await self._authority.outbox_stats())

    async def _next(self, block_ms: int) -> list[Event]:
        if time.monotonic() >= self._claim_at:
            self._claim_at = time.monotonic() + CLAIM_EVERY_SECONDS
            stale = await self._authority.claim_events(self._consumer, self._claim_idle_ms, self._batch)
            if stale:
                self._claim_at = 0.0  # there may be more
                return stale
        return await self._authority.read_events(self._consumer, self._batch, block_ms)

    async def _book(self, events: Sequence[Event]) -> None:
        self.buried += await book(self._store, events)


async def book(store: Store, events: Sequence[Event]) -> int:
    """Book events; a batch that Postgres refuses is halved until the culprit stands alone.

    Culprits go to `dead_events` with an alert, and never stand in the way of the others. Returns
    how many there were. Raises StoreUnavailable.
    """
    buried = 0
    waiting = [events]
    while waiting:
        part = waiting.pop()
        try:
            await store.ledger.apply_events(part)
        except StoreRejected as error:
            if len(part) > 1:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
                continue
            structlog.get_logger("gateway.drainer").error(
                "an event cannot be booked", kind=part[0].kind, id=part[0].id, error=str(error)
            )
            await store.ledger.bury(part[0], str(error))
            buried += 1
    return buried
