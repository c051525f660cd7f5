"""What happened to attempts and what it cost: the reading side of the ledger."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.calls import Settlement
from gateway.store.database import Database
from gateway.store.sql import statement

AttemptRow = dict[str, Any]
"""A row of the table `attempts`, columns as in tables.py."""

DIMENSIONS = {
    "agent": "a.agent",
    "application": "a.application",
    "day": "l.day::text",
    "deployment": "a.deployment",
    "endpoint": "a.endpoint",
    "feature": "a.feature",
    "hour": "to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:00\"Z\"')",
    "key": "a.key_id",
    "mode": "a.mode",
    "model": "a.model",
    "month": "to_char(l.day, 'YYYY-MM')",
    "provider": "a.provider",
    "run": "a.run_id",
    "session": "a.session",
    "team": "a.team",
    "tier": "a.tier",
    "user": "a.user_id",
}


@dataclass(frozen=True, slots=True)
class Spend:
    """What one value of a dimension came to. Amounts in nano-dollars, adjustments included."""

    name: str
    cost_nano_usd: int
    attempts: int
    errors: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The books in one line. in_doubt and pending are bounds of what may still come."""

    ledger_nano_usd: int
    in_doubt_nano_usd: int
    pending_nano_usd: int
    attempts: int
    in_doubt: int
    pending: int


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Attempts of which nobody knows yet what they cost, and the most that it can be."""

    calls: int
    bound_nano_usd: int


@dataclass(frozen=True, slots=True)
class Booked:
    """An attempt against an invoice: what is on the books for it, all postings together."""

    attempt_id: str
    state: str
    basis: str
    ledger_nano_usd: int
    reserved_nano_usd: int
    adjustments: int
    counters: tuple[str, ...]
    day: str
    provider: str


class Attempts:
    """Questions about attempts and money."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, attempt_id: str) -> AttemptRow | None:
        """One attempt."""
        return await self._database.row("get_attempt", attempt_id=attempt_id)

    async def of_call(self, call_key: str) -> list[AttemptRow]:
        """Every attempt of a call, by number; refusals are not attempts."""
        return await self._database.rows("attempts_of_call", first=f"{call_key}#", end=f"{call_key}$")

    async def of_run(self, run_id: str, *, limit: int = 1000) -> list[AttemptRow]:
        """The attempts and refusals of a run, in the order of its steps."""
        return await self._database.rows("attempts_of_run", run_id=run_id, limit=limit)

    async def recent(self, *, limit: int = 100, since: datetime | None = None) -> list[AttemptRow]:
        """The newest attempts and refusals of everybody, newest first."""
        return await self._database.rows("recent_attempts", since=since, limit=limit)

    async def open(
        self, states: Sequence[str] = ("pending", "in_doubt"), *, after: str = "", limit: int = 1000
    ) -> list[AttemptRow]:
        """Attempts that are pending or in doubt, by id; `after` the last one of the page before."""
        return await self._database.rows("open_attempts", states=list(states), after=after, limit=limit)

    async def direct(self, *, limit: int = 500) -> list[AttemptRow]:
        """Attempts that a process closed here without the outbox, and no copy has come since."""
        return await self._database.rows("direct_attempts", limit=limit)

    async def confirm(self, attempt_ids: Sequence[str], epoch: int) -> None:
        """Redis knows now of these that were closed directly."""
        await self._database.rows("confirm_attempts", ids=list(attempt_ids), epoch=epoch)

    async def mark_replayed(self, attempt_id: str) -> None:
        """The stored answer of this attempt was given out again."""
        await self._database.rows("mark_replayed", attempt_id=attempt_id)

    async def spend(
        self, by: str, *, since: datetime | None = None, until: datetime | None = None, limit: int = 1000
    ) -> list[Spend]:
        """What was booked from `since` to before `until`, by one of DIMENSIONS, dearest first.

        Raises ValueError for another dimension.
        """
        if by not in DIMENSIONS:
            raise ValueError(f"costs cannot be shown by {by}: take one of {', '.join(sorted(DIMENSIONS))}")
        sql = statement("spend").replace("/* dimension */ a.agent", DIMENSIONS[by])
        rows = await self._database.select(sql, {"since": since, "until": until, "limit": limit})
        return [Spend(**row) for row in rows]

    async def totals(self) -> Totals:
        """All that was ever booked, and what is open."""
        row = await self._database.row("totals")
        assert row is not None, "an aggregate without GROUP BY has one row"
        return Totals(**row)

    async def in_doubt(self) -> InDoubt:
        """What is in doubt now."""
        row = await self._database.row("in_doubt")
        assert row is not None, "an aggregate without GROUP BY has one row"
        return InDoubt(**row)

    async def booked(self, attempt_ids: Sequence[str]) -> dict[str, Booked]:
        """What is on the books for these attempts; those unknown are left out."""
        rows = await self._database.rows("booked", ids=list(attempt_ids))
        return {row["attempt_id"]: _booked(row) for row in rows}

    async def all_booked(self, *, page: int = 5000) -> AsyncIterator[Booked]:
        """Every attempt that money was booked for, or that is open."""
        after: str | None = ""
        while after is not None:
            rows = await self._database.rows("all_booked", after=after, limit=page)
            for row in rows:
                yield _booked(row)
            after = rows[-1]["attempt_id"] if len(rows) == page else None

    async def spent_by_counter(
        self, counters: Collection[str], windows: Collection[str] = ()
    ) -> dict[str, int]:
        """What the ledger has for these counters and for all of these windows, in nano-dollars."""
        rows = await self._database.rows("spent_by_counter", counters=list(counters), windows=list(windows))
        return {row["counter"]: row["amount"] for row in rows}

    async def open_by_counter(self) -> dict[str, tuple[int, int]]:
        """(pending, in doubt) amounts of every counter that has any, in nano-dollars."""
        rows = await self._database.rows("open_by_counter")
        return {row["counter"]: (row["pending"], row["in_doubt"]) for row in rows}


def settlement_of(row: AttemptRow) -> Settlement:
    """The settlement that a row of `attempts` tells of; a pending one comes out as in doubt."""
    same = {name: row[name] for name in Settlement.model_fields if name in row}
    state = row["state"] if row["state"] in ("settled", "released") else "in_doubt"
    return Settlement.model_validate(
        {
            **same,
            "state": state,
            "basis": row["basis"] or "unknown",
            "first_token_ms": _ms(row["first_token_at"]),
            "done_ms": _ms(row["done_at"]),
        }
    )


def _ms(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)


def _booked(row: dict[str, Any]) -> Booked:
    return Booked(**{**row, "counters": tuple(row["counters"])})
