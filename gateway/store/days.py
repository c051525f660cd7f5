"""Closed days and months: a snapshot of every budget, once per window; and scheduled work that was done."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from gateway.policy.scopes import Period, Window
from gateway.store import tables_days
from gateway.store.database import Connection, Database, run
from gateway.store.folding import to_json

TABLES = (tables_days.days, tables_days.budget_windows, tables_days.scheduled_work)


@dataclass(frozen=True, slots=True)
class WindowSum:
    """One counter of a window as the books have it. Amounts in nano-dollars.

    refusals: how often its scope said no in that time. told_limit: the limit that a refusal quoted.
    """

    counter: str
    spent_nano_usd: int = 0
    held_nano_usd: int = 0
    in_doubt_nano_usd: int = 0
    topped_nano_usd: int = 0
    refusals: int = 0
    told_limit_nano_usd: int | None = None


@dataclass(frozen=True, slots=True)
class BudgetSnapshot:
    """What a budget had come to when its window was closed. limit: with top-ups, None where none was.

    overrun: what was spent above the limit.
    """

    scope: str
    limit_nano_usd: int | None
    topped_nano_usd: int
    spent_nano_usd: int
    held_nano_usd: int
    in_doubt_nano_usd: int
    overrun_nano_usd: int
    refusals: int


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A closed day or month. spent: of everything. verified: whether the counters could be compared.

    preliminary: closed before its end; the real closing replaces it.
    """

    period: Period
    window_id: str
    start_at: datetime
    end_at: datetime
    preliminary: bool
    spent_nano_usd: int
    verified: bool
    differences: int
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class Work:
    """Scheduled work that was done. at: the time that it was scheduled for."""

    kind: str
    at: datetime
    outcome: dict[str, Any]
    done_at: datetime


class Days:
    """The tables days, budget_windows and scheduled_work."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sums(self, period: Period, window: Window) -> list[WindowSum]:
        """Every counter of this day or month by the books, at one instant, by name.

        Reads one day of the ledger at a time, so that no statement of a busy month takes for ever.
        """

        async def read(connection: Connection) -> list[WindowSum]:
            return await _sums(connection, period, window)

        return await self._database.snapshot(read)

    async def pending(self, period: Period, window: Window) -> int:
        """Attempts of this window whose calls are still in flight, by the books."""
        row = await self._database.row("pending_in_window", suffix=suffix(period, window))
        return int(row["attempts"]) if row else 0

    async def close(
        self,
        period: Period,
        window: Window,
        budgets: Sequence[BudgetSnapshot],
        *,
        spent_nano_usd: int,
        verified: bool,
        differences: int,
        preliminary: bool,
    ) -> bool:
        """Close a window with its snapshot, in one transaction. False: it had been closed already."""
        place = {"period": period.value, "window_id": window.id}
        values = {
            "start": _at(window.start_ms),
            "end": _at(window.end_ms),
            "preliminary": preliminary,
            "spent": spent_nano_usd,
            "verified": verified,
            "differences": differences,
        }

        async def close(connection: Connection) -> bool:
            if not await run(connection, "close_window", **place, **values):
                return False
            await run(connection, "forget_budget_windows", **place)
            rows = to_json([asdict(budget) for budget in budgets])
            await run(connection, "insert_budget_windows", **place, rows=rows)
            return True

        return await self._database.transact(close)

    async def closed(self, period: Period, window_id: str) -> ClosedWindow | None:
        """How this window was closed; None when it was not."""
        row = await self._database.row("closed_window", period=period.value, window_id=window_id)
        return None if row is None else _closed(row)

    async def closed_among(self, period: Period, window_ids: Collection[str]) -> list[ClosedWindow]:
        """Those of the windows that are closed, oldest first."""
        rows = await self._database.rows("closed_windows", period=period.value, window_ids=list(window_ids))
        return [_closed(row) for row in rows]

    async def budgets(self, period: Period, window_id: str) -> list[BudgetSnapshot]:
        """The snapshot of a closed window, by scope; [] while it is not closed."""
        rows = await self._database.rows("budget_windows", period=period.value, window_id=window_id)
        return [BudgetSnapshot(**row) for row in rows]

    async def booked_among(self, days: Collection[date]) -> list[date]:
        """Those of the accounting days on which something was booked."""
        return [row["day"] for row in await self._database.rows("days_booked", days=list(days))]

    async def record_work(self, kind: str, at: datetime, outcome: Mapping[str, Any]) -> bool:
        """Write down that the work of this time is done; False when it had been already."""
        text = json.dumps(dict(outcome), default=str)
        row = await self._database.row("record_work", kind=kind, at=at, outcome=text)
        return row is not None

    async def work(self, kind: str, at: datetime | None = None, *, limit: int = 100) -> list[Work]:
        """Work of a kind that was done, newest first; with `at`, of that time only."""
        return [Work(**row) for row in await self._database.rows("work_done", kind=kind, at=at, limit=limit)]


def suffix(period: Period, window: Window) -> str:
    """What the names of all counters of a window end with."""
    return f"|{period.value}|{window.id}"


async def _sums(connection: Connection, period: Period, window: Window) -> list[WindowSum]:
    ends = suffix(period, window)
    found: dict[str, dict[str, int]] = {}

    def add(counter: str, name: str, amount: int) -> None:
        values = found.setdefault(counter, {})
        values[name] = values.get(name, 0) + amount

    for day in _days_of(period, window):
        for row in await run(connection, "window_spent", day=day, suffix=ends):
            add(row["counter"], "spent_nano_usd", row["amount"])
    for row in await run(connection, "window_open", suffix=ends):
        add(row["counter"], "held_nano_usd", row["held"])
        add(row["counter"], "in_doubt_nano_usd", row["in_doubt"])
    for row in await run(connection, "window_topped", suffix=ends):
        add(row["counter"], "topped_nano_usd", row["amount"])
    times = {"start": _at(window.start_ms), "end": _at(window.end_ms)}
    for row in await run(connection, "window_refusals", suffix=ends, period=period.value, **times):
        add(row["counter"], "refusals", row["refusals"])
        if row["told"] is not None:
            found[row["counter"]]["told_limit_nano_usd"] = row["told"]
    return [WindowSum(counter, **values) for counter, values in sorted(found.items())]


def _days_of(period: Period, window: Window) -> list[date]:
    """The accounting days whose postings may belong to a window: one more on each side, for what was
    booked without a day."""
    first = date.fromisoformat(window.id if period is Period.DAY else f"{window.id}-01")
    days = 1 if period is Period.DAY else 31
    return [first + timedelta(days=number) for number in range(-1, days + 1)]


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _closed(row: Mapping[str, Any]) -> ClosedWindow:
    return ClosedWindow(**{**row, "period": Period(row["period"])})
