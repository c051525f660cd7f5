"""Events folded into rows: pure, so that any order and any number of copies give the same books.

The events of one attempt become one row. Closings have ranks, and the highest wins, here and in
Postgres alike: pending 0 < in_doubt as the authority saw it 1 < in_doubt with an estimate 2 <
released 3 < settled 4. (A settlement beats a release, so that money that was spent is on the
books whichever of the two arrives first.) `refused` stands alone.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.calls import Settlement
from gateway.events import Event
from gateway.plain_json import dumps
from gateway.store.errors import StoreRejected

Row = dict[str, Any]
REFUSED_RANK, SETTLED_RANK = 9, 4
_RANKS = {"in_doubt": 2, "released": 3, "settled": SETTLED_RANK}
_UNSTORABLE = re.compile(r"\\u0000|\\ud[89a-f]", re.IGNORECASE)

_TEXTS = (
    "call_key", "run_id", "agent", "tier", "deployment", "provider", "model", "team", "session",
    "endpoint", "application", "feature", "trace_id", "span_id", "prompt_version", "process_id",
)  # fmt: skip
_TOKENS = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
    "cost_nano_usd", "estimate_nano_usd", "saved_nano_usd",
)  # fmt: skip
_OUTCOMES = ("status", "error_type", "error_message", "finish_reason", "basis", "provider_request_id")

_EMPTY: Row = {
    **dict.fromkeys((*_TEXTS, *_OUTCOMES, "user_id", "key_id", "price_id", "doubt_by"), ""),
    **dict.fromkeys((*_TOKENS, "number", "step", "reserved_nano_usd", "epoch", "seq", "rank"), 0),
    **dict.fromkeys(
        ("temperature", "max_output_tokens", "queued_at", "reserved_at", "day", "success", "refusal",
         "first_token_at", "done_at", "settled_at", "closed_epoch", "closed_seq", "in_doubt_at")
    ),
    "opened": False, "mode": "live", "state": "pending", "tags": {}, "counters": [],
    "provider_usage": {}, "cached": False, "replayed": False,
}  # fmt: skip


@dataclass(slots=True)
class Books:
    """What a batch of events comes to, as rows for the tables of the same names.

    mark: the highest (epoch, seq) seen, or None when all came straight from a process.
    """

    attempts: dict[str, Row] = field(default_factory=dict)
    postings: dict[str, Row] = field(default_factory=dict)
    switch_events: dict[str, Row] = field(default_factory=dict)
    alerts: dict[str, Row] = field(default_factory=dict)
    top_ups: dict[str, Row] = field(default_factory=dict)
    mark: tuple[int, int] | None = None


def fold(events: Iterable[Event]) -> Books:
    """Fold a batch; raises StoreRejected for an event that lacks what its kind must have."""
    books = Books()
    for event in events:
        try:
            _add(books, event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreRejected(f"a {event.kind} event that cannot be read: {error!r}") from error
        if event.epoch:
            books.mark = max(books.mark or (0, 0), (event.epoch, event.seq))
    return books


def to_json(rows: Sequence[Row]) -> str:
    """Rows as the JSON that Postgres reads them from; characters that it cannot store are replaced."""
    text = dumps(rows, default=str)
    if _UNSTORABLE.search(text):
        text = dumps([_storable(row) for row in rows], default=str)
    return text


def event_key(event: Event) -> str:
    """A name for an event that its copies share: its place in the order and what it says."""
    body = json.dumps(event.body, sort_keys=True, separators=(",", ":"), default=str)
    at = "" if event.epoch else str(event.at_ms)
    digest = hashlib.blake2b(f"{event.kind}{at}{body}".encode(), digest_size=12).hexdigest()
    return f"{event.epoch}:{event.seq}:{digest}"


def timestamp(ms: float | None) -> str | None:
    """Unix milliseconds as Postgres reads a time."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def _add(books: Books, event: Event) -> None:
    match event.kind:
        case "reserved" | "refused":
            _open(_attempt(books, event), event)
        case "settled" | "released" | "in_doubt":
            _close(_attempt(books, event), event)
            if event.kind == "settled":
                _post_settlement(books, event)
        case "posted":
            _post(books, event)
        case "switch":
            books.switch_events[event_key(event)] = _switch(event)
        case "alert":
            books.alerts[event_key(event)] = _alert(event)
        case "top_up":
            books.top_ups[str(event.body["top_up_id"])] = _top_up(event)
        case unknown:
            raise ValueError(f"unknown kind {unknown}")


def _attempt(books: Books, event: Event) -> Row:
    attempt_id = str(event.body["attempt_id"])
    if not attempt_id:
        raise ValueError("an empty attempt id")
    row = books.attempts.get(attempt_id)
    if row is None:
        row = {**_EMPTY, "attempt_id": attempt_id, "at": timestamp(event.at_ms), "day": event.day or None}
        books.attempts[attempt_id] = row
    return row


def _open(row: Row, event: Event) -> None:
    if row["opened"]:
        return
    body = event.body
    row.update({name: str(body.get(name) or "") for name in _TEXTS})
    row.update(
        opened=True,
        number=int(body.get("number") or 0),
        step=int(body.get("step") or 0),
        user_id=str(body.get("user") or ""),
        key_id=str(body.get("key_id") or ""),
        mode=str(body.get("mode") or "live"),
        tags=dict(body.get("tags") or {}),
        temperature=body.get("temperature"),
        max_output_tokens=body.get("max_output_tokens"),
        counters=list(body.get("counters") or ()),
        reserved_nano_usd=int(body["asked_nano_usd"]),
        queued_at=timestamp(body.get("queued_ms")),
        reserved_at=timestamp(event.at_ms) if event.kind == "reserved" else None,
        at=timestamp(event.at_ms),
        day=event.day or row["day"],
        epoch=event.epoch,
        seq=event.seq,
        price_id=row["price_id"] or str(body.get("price_id") or ""),
    )
    if event.kind == "refused":
        _refuse(row, event)


def _refuse(row: Row, event: Event) -> None:
    refusal = dict(event.body["refusal"])
    row.update(
        state="refused",
        rank=REFUSED_RANK,
        status="refused",
        success=False,
        error_type=str(refusal.get("kind") or "refused"),
        error_message=str(refusal.get("detail") or ""),
        refusal=refusal,
        settled_at=timestamp(event.at_ms),
        done_at=timestamp(event.at_ms),
        closed_epoch=event.epoch or None,
        closed_seq=event.seq,
    )


def _close(row: Row, event: Event) -> None:
    if event.kind == "in_doubt" and "by" in event.body:  # the authority's own: a lapsed lease, a fence
        doubt = {"state": "in_doubt", "rank": 1, "doubt_by": str(event.body["by"])}
        _take_closing(row, event, doubt)
        return
    known = {name: event.body[name] for name in Settlement.model_fields if name in event.body}
    known["provider_usage"] = known.get("provider_usage") or {}  # an empty table of Lua reads as []
    settlement = Settlement.model_validate(known)
    if settlement.state != event.kind:
        raise ValueError(f"a {event.kind} event with a settlement that is {settlement.state}")
    _take_closing(row, event, _closing(settlement))


def _closing(settlement: Settlement) -> Row:
    said = settlement.model_dump(include={*_TOKENS, *_OUTCOMES, "provider_usage"})
    state = settlement.state
    return {
        **said,
        "state": state,
        "rank": _RANKS[state],
        "success": None if state == "in_doubt" else settlement.status == "success",
        "cached": settlement.basis == "cache",
        "price_id": settlement.price_id,
        "first_token_at": timestamp(settlement.first_token_ms),
        "done_at": timestamp(settlement.done_ms),
        "doubt_by": "owner" if state == "in_doubt" else "",
    }


def _take_closing(row: Row, event: Event, closing: Row) -> None:
    if closing["state"] == "in_doubt":
        row["in_doubt_at"] = min(filter(None, (row["in_doubt_at"], timestamp(event.at_ms))), default=None)
    if closing["rank"] < row["rank"]:
        return
    if closing["rank"] == row["rank"]:  # a copy: all that it can add is its place in the order
        if not row["closed_epoch"]:
            row.update(closed_epoch=event.epoch, closed_seq=event.seq)
        return
    closed_at = None if closing["state"] == "in_doubt" else timestamp(event.at_ms)
    price_id = closing.pop("price_id", "") or row["price_id"]
    row.update(
        closing, price_id=price_id, settled_at=closed_at, closed_epoch=event.epoch, closed_seq=event.seq
    )


def _post_settlement(books: Books, event: Event) -> None:
    attempt_id = str(event.body["attempt_id"])
    posting_id = f"{attempt_id}/settle"
    if posting_id not in books.postings:
        books.postings[posting_id] = {
            "posting_id": posting_id,
            "attempt_id": attempt_id,
            "kind": "settle",
            "amount_nano_usd": int(event.body.get("cost_nano_usd") or 0),
            "day": event.day or None,
            "counters": None,
            "at": timestamp(event.at_ms),
            "body": None,
        }


def _post(books: Books, event: Event) -> None:
    body = event.body
    if adopted := body.get("adopted"):
        _adopt(books, event, adopted)
    posting_id = str(body["posting_id"])
    books.postings.setdefault(
        posting_id,
        {
            "posting_id": posting_id,
            "attempt_id": str(body["attempt_id"]),
            "kind": "settle" if adopted else str(body.get("kind") or "adjust"),
            "amount_nano_usd": int(body["amount_nano_usd"]),
            "day": event.day or body.get("day") or None,
            "counters": list(body.get("counters") or ()) or None,
            "at": timestamp(event.at_ms),
            "body": {key: body[key] for key in ("reason", "basis") if key in body} or None,
        },
    )


def _adopt(books: Books, event: Event, adopted: Row) -> None:
    """A usage row that no attempt knew: `adopted` is an Opened and a Settlement in one object."""
    for kind in ("reserved", "settled"):
        part = Event(kind, adopted, event.epoch, event.seq, event.at_ms, event.day)
        row = _attempt(books, part)
        _open(row, part) if kind == "reserved" else _close(row, part)
    row["at"] = timestamp(adopted.get("queued_ms")) or row["at"]


def _switch(event: Event) -> Row:
    return {
        "key": event_key(event),
        "name": str(event.body["name"]),
        "old": str(event.body.get("old") or ""),
        "new": str(event.body.get("new") or ""),
        "expires_at": timestamp(event.body.get("expires_at_ms")),
        "at": timestamp(event.at_ms),
        "epoch": event.epoch,
        "seq": event.seq,
    }


def _alert(event: Event) -> Row:
    return {
        "key": event_key(event),
        "rule": str(event.body["rule"]),
        "scope": str(event.body.get("scope") or ""),
        "evidence": dict(event.body.get("evidence") or {}),
        "at": timestamp(event.at_ms),
        "epoch": event.epoch,
        "seq": event.seq,
        "state": "resolved" if event.body.get("state") == "resolved" else "firing",
        "severity": str(event.body.get("severity") or ""),
    }


def _top_up(event: Event) -> Row:
    return {
        "top_up_id": str(event.body["top_up_id"]),
        "counter": str(event.body["counter"]),
        "amount_nano_usd": int(event.body["amount_nano_usd"]),
        "by": str(event.body.get("by") or ""),
        "at": timestamp(event.at_ms),
    }


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_storable(key): _storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(inner) for inner in value]
    return value
