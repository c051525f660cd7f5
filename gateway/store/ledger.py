"""The ledger: events become attempts and postings, each exactly once, in whatever order they come."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    Column,
    ColumnElement,
    Select,
    and_,
    case,
    column,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from gateway.events import Event
from gateway.store.database import DIALECT, Connection, Database, fetch, run
from gateway.store.errors import StoreRejected
from gateway.store.folding import Books, event_key, fold, to_json
from gateway.store.tables import CLOSING, OPENING, attempts
from gateway.store.tables_traces import trace_outbox, trace_targets
from gateway.store.tables_usage import stale_hours
from gateway.store.usage import mark_attempts


class Ledger:
    """What was bought and what it cost. Postings are only ever added (a trigger forbids the rest)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply_events(self, events: Sequence[Event]) -> None:
        """Book a batch in one transaction; idempotent, and the order of events does not matter.

        Events that never saw the outbox (epoch 0) are welcome: their copy that comes through it
        later changes nothing. Raises StoreUnavailable, or StoreRejected when an event of the batch
        cannot be booked (then none is).
        """
        now_ms = int(time.time() * 1000)
        books = fold(event if event.at_ms else replace(event, at_ms=now_ms) for event in events)

        async def book(connection: Connection) -> None:
            await _book(connection, books)

        await self._database.transact(book)

    async def bury(self, event: Event, error: str) -> None:
        """Keep an event that cannot be booked where a person finds it, with an alert."""
        key = event_key(event)
        whole = {"id": event.id, "epoch": event.epoch, "seq": event.seq, "day": event.day, "body": event.body}

        async def keep(connection: Connection) -> None:
            text = to_json([whole])[1:-1]
            await run(connection, "insert_dead_event", key=key, kind=event.kind, event=text, error=error)
            evidence = to_json([{"key": key, "kind": event.kind, "error": error}])[1:-1]
            await run(connection, "insert_dead_event_alert", key=f"dead:{key}", evidence=evidence)

        await self._database.transact(keep)

    async def dead(self) -> int:
        """How many events lie in dead_events."""
        row = await self._database.row("count_dead_events")
        return int(row["events"]) if row else 0

    async def mark(self) -> tuple[int, int]:
        """The highest (epoch, seq) that has been booked; (0, 0) before the first."""
        row = await self._database.row("drained_mark")
        return (int(row["epoch"]), int(row["drained_seq"])) if row else (0, 0)


async def _book(connection: Connection, books: Books) -> None:
    if books.attempts:
        # One order for everybody: two drainers that lock the same rows must not wait in a circle.
        rows = sorted(books.attempts.values(), key=lambda row: str(row["attempt_id"]))
        await fetch(connection, _upsert_attempts(), {"rows": to_json(rows)})
    if corrected := _attempts_of_other_postings(books):
        await mark_attempts(connection, corrected)
        await run(connection, "mark_traces", subjects=[f"attempt:{each}" for each in corrected])
    for query, table in (
        ("insert_postings", books.postings),
        ("insert_switch_events", books.switch_events),
        ("insert_alerts", books.alerts),
        ("insert_top_ups", books.top_ups),
    ):
        if table:
            await run(connection, query, rows=to_json([table[key] for key in sorted(table)]))
    if books.mark:
        await run(connection, "set_drained_mark", epoch=books.mark[0], seq=books.mark[1])


def _attempts_of_other_postings(books: Books) -> list[str]:
    """Attempts that get money here and are perhaps not written: adjusted, or adopted by other means."""
    postings = books.postings.values()
    ids = {
        p["attempt_id"] for p in postings if p["kind"] == "adjust" or p["attempt_id"] not in books.attempts
    }
    return sorted(ids)


@cache
def _upsert_attempts() -> str:
    """INSERT ... ON CONFLICT for a JSON array of whole rows, as psycopg reads it.

    Opening columns are taken once; closing columns when the new rank is higher. A row that has
    nothing new to say is not written at all. The hours of those written are marked as stale, and those
    that have ended as something to tell.
    """
    new_row = func.json_populate_recordset(literal_column("NULL::attempts"), literal_column("%(rows)s::json"))
    source: Select[*tuple[Any, ...]] = select(*(column(c.name) for c in attempts.c)).select_from(new_row)
    statement = insert(attempts).from_select([c.name for c in attempts.c], source)
    excluded = statement.excluded
    opens = and_(excluded.opened, ~attempts.c.opened)
    closes = excluded["rank"] > attempts.c["rank"]
    confirms = and_(
        excluded["rank"] == attempts.c["rank"], attempts.c.closed_epoch == 0, excluded.closed_epoch > 0
    )
    earlier = excluded.in_doubt_at < func.coalesce(attempts.c.in_doubt_at, literal_column("'infinity'"))
    changes: dict[str, ColumnElement[object]] = {
        **{name: _take(opens, statement, attempts.c[name]) for name in ("opened", *OPENING)},
        **{name: _take(closes, statement, attempts.c[name]) for name in CLOSING},
        **{name: _take(or_(closes, confirms), statement, attempts.c[name]) for name in _PLACE},
        "price_id": _take(
            and_(excluded.price_id != "", or_(closes, attempts.c.price_id == "")),
            statement,
            attempts.c.price_id,
        ),
        "in_doubt_at": func.least(attempts.c.in_doubt_at, excluded.in_doubt_at),
        "day": func.coalesce(attempts.c.day, excluded.day),
    }
    upsert = statement.on_conflict_do_update(
        index_elements=[attempts.c.attempt_id], set_=changes, where=or_(opens, closes, confirms, earlier)
    )
    hour: ColumnElement[object] = literal_column("date_trunc('hour', attempts.at, 'UTC')").label("hour")
    touched = upsert.returning(hour, attempts.c.attempt_id, attempts.c.state).cte("touched")
    marks = insert(stale_hours).from_select(["hour"], select(touched.c.hour).distinct())
    marks = marks.add_cte(_untold(touched))
    compiled = marks.compile(dialect=DIALECT, compile_kwargs=_LITERAL)
    return str(compiled).replace("%%(rows)s", "%(rows)s")


def _untold(touched: CTE) -> CTE:
    """Marks those that have ended, where there is anybody to tell: mark_traces, for rows at hand."""
    subject: ColumnElement[str] = literal_column("'attempt:'") + touched.c.attempt_id
    ended = touched.c.state.in_(("settled", "in_doubt"))
    mark: ColumnElement[int] = func.nextval("trace_marks")
    rows = (
        select(trace_targets.c.name, subject, mark)
        .select_from(touched.join(trace_targets, true()))
        .where(ended)
    )
    again = {"mark": mark, "tries": 0, "error": "", "at": func.now()}
    untold = insert(trace_outbox).from_select(["target", "subject", "mark"], rows)
    untold = untold.on_conflict_do_update(
        index_elements=[trace_outbox.c.target, trace_outbox.c.subject], set_=again
    )
    return untold.returning(trace_outbox.c.mark).cte("untold")


_PLACE = ("closed_epoch", "closed_seq")
_LITERAL = {"literal_binds": True}


def _take(condition: ColumnElement[bool], statement: Insert, old: Column[object]) -> ColumnElement[object]:
    return case((condition, statement.excluded[old.name]), else_=old)


__all__ = ["Ledger", "StoreRejected"]
