"""The invoice: one row per request served, durable against kill -9 and power loss.

An append-only journal of JSON lines. A row is opened, and synced to disk, before the first token is
generated; what is produced is written before it is sent; the end is synced before the client learns
its usage. Rows found open at start ended with the process: they are final at what had been produced.
"""

import asyncio
import fcntl
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.providers.simulator.prices import Model, Tokens, amount_nano_usd, find

_NANO_PER_USD = 1_000_000_000


class InvoiceInUse(RuntimeError):
    """Another simulator writes to this directory."""


@dataclass(slots=True)
class Row:
    """One request. price_model: the table's name behind the name asked for. Unix milliseconds."""

    number: int
    id: str
    client_request_id: str
    model: str
    price_model: str
    at_ms: int
    tokens: Tokens = field(default_factory=Tokens)
    done_ms: int | None = None
    amount_nano_usd: int | None = None  # set when final
    charged_nano_usd: int | None = None  # of a batch: the sum of its requests so far

    @property
    def final(self) -> bool:
        return self.done_ms is not None


class Invoice:
    """Opens, counts up and closes rows. One per data directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = os.open(directory / "invoice.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise InvoiceInUse(f"{directory} is in use by another simulator") from error
        self._rows: dict[int, Row] = {}
        self._syncing: asyncio.Future[None] | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._load()

    def close(self) -> None:
        os.close(self._file)

    def open_row(self, id: str, client_request_id: str, model: str, price_model: str, tokens: Tokens) -> Row:
        """Open a row with the tokens of the prompt; call `sync` before generating anything."""
        at_ms = time.time_ns() // 1_000_000
        row = Row(len(self._rows), id, client_request_id, model, price_model, at_ms, tokens)
        self._rows[row.number] = row
        counts = [tokens.input, tokens.output, tokens.cache_read, tokens.cache_write, tokens.reasoning]
        self._write({"open": [row.number, id, client_request_id, model, price_model, row.at_ms, *counts]})
        return row

    def produced(self, row: Row, output: int, reasoning: int) -> None:
        """Add tokens to an open row; call it before they are sent."""
        row.tokens.output += output
        row.tokens.reasoning += reasoning
        self._write({"made": [row.number, row.tokens.output, row.tokens.reasoning]})

    def finish(self, row: Row) -> None:
        """Make a row final at what it has; does nothing if it is."""
        if row.final:
            return
        row.done_ms = time.time_ns() // 1_000_000
        row.amount_nano_usd = _amount(row)
        self._write({"final": [row.number, row.done_ms, row.amount_nano_usd]})

    async def sync(self) -> None:
        """Return once everything written so far is on disk; concurrent callers share one fdatasync."""
        if self._syncing is None:
            self._syncing = asyncio.ensure_future(self._sync())
            return await asyncio.shield(self._syncing)
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._sync_after(self._syncing))
        return await asyncio.shield(self._waiting)

    def as_json(self, since_ms: int = 0) -> dict[str, Any]:
        """Rows that were opened, or still changed, at or after since_ms; totals are over these."""
        rows = [row for row in self._rows.values() if not row.final or (row.done_ms or 0) >= since_ms]
        rendered = [_render(row) for row in rows]
        total = sum(row["amount_nano_usd"] for row in rendered)
        return {"rows": rendered, "total_nano_usd": total, "total_usd": _dollars(total)}

    async def _sync(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(None, os.fdatasync, self._file)
        finally:
            self._syncing, self._waiting = self._waiting, None

    async def _sync_after(self, running: asyncio.Future[None]) -> None:
        await asyncio.wait([running])
        await self._sync()

    def _write(self, record: dict[str, list[Any]]) -> None:
        os.write(self._file, json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def _load(self) -> None:
        """Fold the journal; a last line that kill -9 left unfinished was never acted upon."""
        with os.fdopen(os.dup(self._file), "rb") as journal:
            journal.seek(0)
            content = journal.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._file, whole)
        for line in content[:whole].splitlines():
            self._apply(json.loads(line))
        for row in self._rows.values():
            self.finish(row)
        os.fdatasync(self._file)

    def _apply(self, record: dict[str, list[Any]]) -> None:
        ((kind, values),) = record.items()
        if kind == "open":
            number, id, client_request_id, model, price_model, at_ms, *counts = values
            row = Row(number, id, client_request_id, model, price_model, at_ms, Tokens(*counts))
            self._rows[number] = row
        elif kind == "made":
            tokens = self._rows[values[0]].tokens
            tokens.output, tokens.reasoning = values[1], values[2]
        else:
            row = self._rows[values[0]]
            row.done_ms, row.amount_nano_usd = values[1], values[2]


def _amount(row: Row) -> int:
    if row.charged_nano_usd is not None:
        return row.charged_nano_usd
    model: Model | None = find(row.price_model)
    if model is None:
        raise ValueError(f"no price for {row.price_model}")
    return amount_nano_usd(model, row.tokens, row.at_ms)


def _render(row: Row) -> dict[str, Any]:
    amount = row.amount_nano_usd if row.amount_nano_usd is not None else _amount(row)
    return {
        "client_request_id": row.client_request_id,
        "id": row.id,
        "model": row.model,
        "input_tokens": row.tokens.input,
        "output_tokens": row.tokens.output,
        "cache_read_tokens": row.tokens.cache_read,
        "cache_write_tokens": row.tokens.cache_write,
        "reasoning_tokens": row.tokens.reasoning,
        "amount_nano_usd": amount,
        "amount_usd": _dollars(amount),
        "state": "final" if row.final else "open",
        "at_ms": row.at_ms,
        "done_ms": row.done_ms,
    }


def _dollars(nano_usd: int) -> str:
    return f"{nano_usd // _NANO_PER_USD}.{nano_usd % _NANO_PER_USD:09d}"
