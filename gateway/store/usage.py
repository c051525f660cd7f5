"""Usage by the hour: what the ledger comes to, computed again for the hours that have changed.

Whoever books marks the hours that he touched, in the same transaction (ledger.py). `refresh` takes
marks away and, in a later statement, computes their hours from attempts and ledger. In READ
COMMITTED each statement sees what was committed before it began: everything whose mark was taken
is seen, and what is committed meanwhile still has its mark for the next time. So nothing is lost,
whoever books while it runs, and nobody who books ever waits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Literal

from gateway.policy.latency import BUCKETS_PER_DOUBLING, MAX_BUCKET
from gateway.store.database import Connection, Database, run

USAGE_LOCK = 0x6375_7262_0003
_AT_ONCE = 6  # hours per transaction: a reader waits for the lock of one, not of all


@dataclass(frozen=True, slots=True)
class Stale:
    """How much waits for `refresh`: marks, the hours that they name, attempts whose hour is looked up."""

    marks: int
    hours: int
    attempts: int


class Usage:
    """The tables usage_hours, usage_users and latency_hours (tables_usage.py says what is in them)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def refresh(self, *, limit: int = 1000) -> int:
        """Bring the tables up to date, the newest hours first; returns how many hours were computed.

        limit: hours at most; what is left waits for the next call. Call it before reading. Raises
        StoreUnavailable when somebody else has been at it for half a minute.
        """
        done = 0
        while done < limit:
            wanted = min(_AT_ONCE, limit - done)
            taken, computed = await self._database.transact(partial(_refresh, limit=wanted))
            done += computed
            if taken < wanted:
                break
        return done

    async def freeze_before(self, at: datetime) -> None:
        """Leave the hours before `at` as they are from now on: their attempts are about to be deleted.

        What is stale is computed first. Whoever deletes attempts calls this before, with the time
        before which it deletes; the boundary never moves back.
        """
        await self.refresh()

        async def freeze(connection: Connection) -> None:
            await run(connection, "lock_usage", key=USAGE_LOCK)
            await run(connection, "freeze_usage", before=at)

        await self._database.transact(freeze)

    async def stale(self) -> Stale:
        """What waits for the next `refresh`."""
        row = await self._database.row("count_stale_hours")
        assert row is not None, "an aggregate without GROUP BY has one row"
        return Stale(**row)

    async def latencies(
        self, first_day: date, last_day: date, *, by: Literal["", "agent", "deployment"] = ""
    ) -> dict[str, dict[int, int]]:
        """Successful attempts of these accounting days by bucket of their duration, by name ('': all).

        `gateway.policy.latency.percentile_ms` reads percentiles from the inner mapping.
        """
        rows = await self._database.rows("latencies", first_day=first_day, last_day=last_day, by=by)
        found: dict[str, dict[int, int]] = {}
        for row in rows:
            found.setdefault(row["name"], {})[int(row["bucket"])] = int(row["attempts"])
        return found


async def mark_attempts(connection: Connection, attempt_ids: Sequence[str]) -> None:
    """Mark the hours of these attempts as stale, in the transaction of whoever books for them.

    Their hours are looked up by `refresh` and not here: somebody may be booking the attempt itself
    at this moment, and we do not see in which hour.
    """
    await run(connection, "mark_attempts", ids=list(attempt_ids))


async def _refresh(connection: Connection, limit: int) -> tuple[int, int]:
    """How many hours were taken, and how many of them were computed (the others are frozen)."""
    await run(connection, "lock_usage", key=USAGE_LOCK)
    marked = await run(connection, "take_attempt_marks")
    if marked:
        await run(connection, "mark_hours_of", ids=[row["attempt_id"] for row in marked])
    taken = await run(connection, "take_stale_hours", limit=limit)
    live: list[datetime] = [row["hour"] for row in taken if not row["frozen"]]
    for hour in live:
        await _compute(connection, hour)
    return len(taken), len(live)


async def _compute(connection: Connection, hour: datetime) -> None:
    for query in ("forget_usage_hour", "forget_usage_users", "forget_latency_hour"):
        await run(connection, query, hour=hour)
    buckets: Mapping[str, int] = {"per_doubling": BUCKETS_PER_DOUBLING, "max_bucket": MAX_BUCKET}
    await run(connection, "compute_usage_hour", hour=hour, **buckets)
