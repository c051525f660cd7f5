"""Batches: each a row that goes from state to state, once, whoever tries.

opening -> held -> sending -> sent -> ended
   |         |        +-----> lost      (sent or not, nobody can tell: in doubt)
   |         +--------+-----> failed    (not sent, or not taken: nothing was bought)
   +-> refused                          (no money)
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from gateway.config import FamilyName
from gateway.errors import NotFound
from gateway.store import tables_batches
from gateway.store.database import Database

TABLES = (tables_batches.batches,)
BatchState = Literal["opening", "held", "sending", "sent", "ended", "refused", "failed", "lost"]


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch that is about to be held. opened: gateway.events.Opened as JSON. upload: for the provider."""

    id: str
    key_id: str
    family: FamilyName
    endpoint: str
    requests: int
    provider: str
    deployment: str
    attempt_id: str
    process_id: str
    asked_nano_usd: int
    opened: Mapping[str, Any]
    upload: bytes
    digest: str = ""
    input_file_id: str = ""
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it stands. told: what its provider last said of it."""

    id: str
    state: BatchState
    key_id: str
    family: FamilyName
    endpoint: str
    digest: str
    input_file_id: str
    metadata: Mapping[str, str]
    requests: int
    provider: str
    deployment: str
    attempt_id: str
    process_id: str
    day: str
    asked_nano_usd: int
    cost_nano_usd: int
    opened: Mapping[str, Any]
    told: Mapping[str, Any]
    provider_batch_id: str
    error: str
    output_file_id: str
    error_file_id: str
    cancel_asked: bool
    created_at: datetime
    sending_at: datetime | None
    sent_at: datetime | None
    ended_at: datetime | None
    asked_at: datetime  # when this was read, by the clock of Postgres

    @property
    def was_never_held(self) -> bool:
        """Refused, or given up before its money was held: it may be asked for again."""
        return self.state == "refused" or (self.state == "failed" and not self.day)


class Batches:
    """Every step may be tried again; those that say False were done before, or by somebody else."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, new: NewBatch) -> bool:
        """Open a row. False: there is one of this id."""
        values = {name: getattr(new, name) for name in NewBatch.__slots__}
        values |= {"metadata": json.dumps(dict(new.metadata or {})), "opened": json.dumps(dict(new.opened))}
        return await self._database.row("add_batch", **values) is not None

    async def get(self, id: str) -> Batch:
        """Raises NotFound."""
        row = await self._database.row("get_batch", id=id)
        if row is None:
            raise NotFound(f"there is no batch {id!r}")
        return Batch(**row)

    async def of_key(
        self, key_id: str, family: FamilyName, *, limit: int = 20, after: str = ""
    ) -> list[Batch]:
        """The latest first. after: the id of the last one of the page before."""
        rows = await self._database.rows(
            "list_batches", key_id=key_id, family=family, limit=limit, after=after
        )
        return [Batch(**row) for row in rows]

    async def of_all(self, *, ended: bool, limit: int) -> list[Batch]:
        """Those under way of every key, the latest first. ended: those that are over, too."""
        return [Batch(**row) for row in await self._database.rows("batches_of_all", ended=ended, limit=limit)]

    async def upload(self, id: str) -> bytes:
        """What goes to the provider."""
        upload = await self._database.content("batch_upload", id=id)
        if upload is None:
            raise NotFound(f"batch {id!r} has nothing more to send")
        return upload

    async def move(
        self,
        id: str,
        was: BatchState,
        to: BatchState,
        *,
        day: str = "",
        error: str = "",
        provider_batch_id: str = "",
        since: datetime | None = None,
    ) -> bool:
        """From one state to the next. since: of what is `sending`, whose turn it must be still."""
        row = await self._database.row(
            "move_batch",
            id=id,
            was=was,
            to=to,
            day=day,
            error=error,
            provider_batch_id=provider_batch_id,
            since=since,
        )
        return row is not None

    async def begin(self, id: str) -> datetime | None:
        """From `held` to `sending`; since when. None: it is not held any more, or to be cancelled."""
        row = await self._database.row("begin_batch", id=id)
        return None if row is None else row["sending_at"]

    async def note(self, id: str, told: Mapping[str, Any]) -> bool:
        """Keep what the provider says of a sent one; whether it is to be cancelled."""
        row = await self._database.row("told_of_batch", id=id, told=json.dumps(dict(told)))
        return row is not None and bool(row["cancel_asked"])

    async def cancel(self, id: str, key_id: str | None) -> bool:
        """Ask for its end, if it is this key's; None: whosever it is. False: there is nothing to end."""
        return await self._database.row("ask_to_cancel_batch", id=id, key_id=key_id) is not None

    async def under_way(self) -> set[str]:
        """The attempts of those that have not ended: who follows them settles them, and nobody else."""
        return {str(row["attempt_id"]) for row in await self._database.rows("batches_under_way")}

    async def end(
        self,
        id: str,
        *,
        cost_nano_usd: int,
        told: Mapping[str, Any],
        output_file_id: str = "",
        error_file_id: str = "",
    ) -> bool:
        """Nothing more is to come."""
        row = await self._database.row(
            "end_batch",
            id=id,
            cost_nano_usd=cost_nano_usd,
            told=json.dumps(dict(told)),
            output_file_id=output_file_id,
            error_file_id=error_file_id,
        )
        return row is not None
