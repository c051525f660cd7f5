"""Keeps what rate limits refused: counted in memory, and written to Postgres every second.

Not a ledger row for each: whoever is refused a thousand times a second would fill the outbox, and with
it stop everybody else. A process that is killed loses its last second of these counts.
"""

import asyncio
import contextlib
import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from gateway.calls import Caller
from gateway.errors import CurbError
from gateway.policy.refusals import Refusal
from gateway.store import Store
from gateway.store.violations import Violation

FLUSH_SECONDS = 1.0
MAX_ROWS = 5_000
WRITE_SECONDS = 5.0

log = structlog.get_logger(__name__)

_Who = tuple[str, ...]


@dataclass(slots=True)
class _Count:
    """A row in the making. written: how many of the refused Postgres knows of."""

    first_at: datetime
    last_at: datetime
    rate_limit: int
    window_ms: int
    refused: int = 0
    written: int = 0


class ViolationLog:
    """One per process. Bounded: past MAX_ROWS callers in a minute the others count as one, `other`."""

    def __init__(self, store: Store, process_id: str) -> None:
        self._store = store
        self._process_id = process_id
        self._counts: dict[tuple[datetime, _Who], _Count] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, caller: Caller, refusal: Refusal) -> None:
        """Count one request that a rate limit refused."""
        now = datetime.fromtimestamp(time.time(), UTC)
        key = (now.replace(second=0, microsecond=0), _who(caller, refusal))
        if key not in self._counts and len(self._counts) >= MAX_ROWS:
            key = (key[0], (refusal.rate_rule, "other", refusal.rate_tier, *[""] * 6))
        count = self._counts.get(key)
        if count is None:
            count = _Count(now, now, refusal.rate_limit, refusal.rate_window_ms)
            self._counts[key] = count
        count.refused += 1
        count.last_at = now
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush_until_quiet(), name="curb-violations")

    async def close(self) -> None:
        """Write what is left, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(CurbError, TimeoutError):
            await self._flush()

    async def _flush_until_quiet(self) -> None:
        while self._counts:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self._flush()
            except (CurbError, TimeoutError) as error:
                log.warning("rate limit violations wait", error=str(error), rows=len(self._counts))

    async def _flush(self) -> None:
        """Write every row that has grown; forget those whose minute is over."""
        grown = [
            (key, count, count.refused)
            for key, count in self._counts.items()
            if count.refused > count.written
        ]
        if grown:
            rows = [(self._id(key), _violation(key, count)) for key, count, _ in grown]
            async with asyncio.timeout(WRITE_SECONDS):
                await self._store.violations.put(self._process_id, rows)
        for _, count, written in grown:
            count.written = written
        over = datetime.fromtimestamp(time.time(), UTC) - timedelta(minutes=1)
        for key in [
            key for key, count in self._counts.items() if key[0] <= over and count.written == count.refused
        ]:
            del self._counts[key]

    def _id(self, key: tuple[datetime, _Who]) -> str:
        minute, who = key
        text = "\0".join((self._process_id, minute.isoformat(), *who))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _who(caller: Caller, refusal: Refusal) -> _Who:
    return (
        refusal.rate_rule,
        refusal.scope,
        refusal.rate_tier,
        caller.agent,
        caller.team,
        caller.user,
        caller.key_id,
        caller.address,
        caller.endpoint,
    )


def _violation(key: tuple[datetime, _Who], count: _Count) -> Violation:
    minute, (rule, scope, tier, agent, team, user, key_id, address, endpoint) = key
    return Violation(
        minute=minute,
        rule=rule,
        scope=scope,
        tier=tier,
        agent=agent,
        team=team,
        user=user,
        key_id=key_id,
        address=address,
        endpoint=endpoint,
        rate_limit=count.rate_limit,
        window_ms=count.window_ms,
        refused=count.refused,
        first_at=count.first_at,
        last_at=count.last_at,
    )
