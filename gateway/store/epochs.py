"""Epochs: what a rebuild of Redis needs from Postgres (I8).

The rows of `epochs` say which rebuild is wanted (closed) and which one was done (open). Processes
register here, so that the one that leads knows whom to wait for.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime

from gateway.store.attempts import AttemptRow
from gateway.store.budgets import Limits, read_limits
from gateway.store.database import Connection, Database, run

REBUILD_LOCK = 0x6375_7262_0002


@dataclass(frozen=True, slots=True)
class Counter:
    """What the books say about a counter.

    default_limit: what came with the calls: a run's launch budget, an agent's own budget for a day.
    """

    counter: str
    spent_nano_usd: int
    topped_nano_usd: int
    default_limit_nano_usd: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the budget authority must know, read from one consistent picture.

    open: rows of attempts that are pending and claimed for this epoch, or in doubt. closed: ids of
    attempts that ended in the last 48 h. switches: value and end (Unix milliseconds, 0: none).
    """

    limits_version: int
    limits: Limits
    counters: tuple[Counter, ...]
    open: tuple[AttemptRow, ...]
    closed: tuple[str, ...]
    top_ups: tuple[str, ...]
    postings: tuple[str, ...]
    switches: dict[str, tuple[str, int]]


class Epochs:
    """Processes, rebuilds and what they are computed from."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def heartbeat(self, process_id: str) -> None:
        """This process lives."""
        await self._database.rows("heartbeat", process_id=process_id)

    async def leave(self, process_id: str) -> None:
        """This process ends and need not be waited for."""
        await self._database.rows("leave", process_id=process_id)

    async def living(self, within_seconds: float = 5.0) -> list[str]:
        """Processes seen lately."""
        rows = await self._database.rows("living_processes", seconds=within_seconds)
        return [row["process_id"] for row in rows]

    async def want(self, reason: str, at_least: int = 1) -> int:
        """Name the epoch that is to be opened: a new one each time. For the one that leads."""
        row = await self._database.row("want_epoch", reason=reason, at_least=at_least)
        assert row is not None  # INSERT ... RETURNING of one row
        return int(row["epoch"])

    async def wanted(self) -> int | None:
        """The epoch that somebody leads to, or led to when he died; None while none is to be opened."""
        row = await self._database.row("wanted_epoch")
        return None if row is None else int(row["epoch"])

    async def flushed(self, process_id: str, epoch: int, claimed: Sequence[str]) -> None:
        """This process has written all it knows; `claimed` are its live reservations."""

        async def note(connection: Connection) -> None:
            await run(connection, "claim", epoch=epoch, process_id=process_id, ids=list(claimed))
            await run(connection, "flushed", epoch=epoch, process_id=process_id)

        await self._database.transact(note)

    async def unflushed(self, epoch: int, within_seconds: float = 5.0) -> list[str]:
        """Living processes that have not flushed for this epoch."""
        rows = await self._database.rows("unflushed", epoch=epoch, seconds=within_seconds)
        return [row["process_id"] for row in rows]

    def lead(self) -> AbstractAsyncContextManager[bool]:
        """The lock of the one that rebuilds; the context's value says whether we have it."""
        return self._database.advisory_lock(REBUILD_LOCK)

    async def doubt_unclaimed(self, epoch: int) -> int:
        """Pending attempts that nobody claims for this epoch become in doubt; returns how many."""
        return len(await self._database.rows("doubt_unclaimed", epoch=epoch))

    async def facts(self, windows: Sequence[str], since: datetime) -> Facts:
        """Compute everything from Postgres alone.

        windows: ids of the days and months that still matter; since: when the earliest began.
        Counters of runs are kept when the run is not over or spent something in the last 35 days.
        """

        async def read(connection: Connection) -> Facts:
            return await _read_facts(connection, list(windows), since)

        return await self._database.snapshot(read)

    async def opened(self, epoch: int) -> None:
        """The authority works in this epoch: it and every older wish are done."""
        await self._database.rows("epoch_opened", epoch=epoch)

    async def newest(self) -> tuple[int, str]:
        """The newest epoch and its state; (0, 'none') before the first."""
        row = await self._database.row("newest_epoch")
        return (int(row["epoch"]), str(row["state"])) if row else (0, "none")


async def _read_facts(connection: Connection, windows: list[str], since: datetime) -> Facts:
    version, limits = await read_limits(connection)
    counters = await run(connection, "counters_for_rebuild", windows=windows, since=since)
    attempts = await run(connection, "open_for_rebuild")
    return Facts(
        limits_version=version,
        limits=limits,
        counters=tuple(Counter(**row) for row in counters),
        open=tuple(attempts),
        closed=tuple(row["attempt_id"] for row in await run(connection, "closed_for_rebuild")),
        top_ups=tuple(row["top_up_id"] for row in await run(connection, "top_ups_for_rebuild")),
        postings=tuple(row["posting_id"] for row in await run(connection, "postings_for_rebuild")),
        switches={
            row["name"]: (row["new"], row["ends_ms"]) for row in await run(connection, "switches_for_rebuild")
        },
    )
