"""What is still to be told to whoever keeps traces, and what it is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from gateway.calls import Message
from gateway.store.attempts import AttemptRow
from gateway.store.conversations import Item
from gateway.store.database import Connection, Database, run

_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
_LONGEST_ERROR = 500


@dataclass(frozen=True, slots=True)
class Marked:
    """Something to tell: `attempt:ID` or `run:ID`. mark: of this version of it."""

    subject: str
    mark: int
    tries: int = 0

    @property
    def kind(self) -> str:
        return self.subject.partition(":")[0]

    @property
    def id(self) -> str:
        return self.subject.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one target. oldest_seconds: since when. refused: given up within the last hour."""

    target: str
    waiting: int
    oldest_seconds: float
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Times:
    """When the work on an item began, where that is known, and when the item was there."""

    started_at: datetime | None
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class RunOnRecord:
    """A run with what its spans are made of.

    run: a row of `runs`. steps: by number, with started_at, ended_at and call_key. items, times: of its
    conversation, by number. ratings: (key, body) of what was said about it.
    """

    run: Mapping[str, Any]
    steps: Sequence[Mapping[str, Any]]
    items: Mapping[int, Item]
    times: Mapping[int, Times]
    ratings: Sequence[tuple[str, dict[str, Any]]]

    @property
    def task(self) -> str:
        """What was to be done, in words."""
        return next((i.message.text for i in self.items.values() if i.message.role == "user"), "")

    @property
    def answer(self) -> str:
        """The final answer, '' without one."""
        number = self.run["answer_item"]
        item = None if number is None else self.items.get(number)
        return "" if item is None else item.message.text


class Traces:
    """The outbox of traces. Whoever books writes to it (gateway.store.ledger), exporters empty it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def aim(self, targets: Sequence[str]) -> None:
        """From now on there is something to tell just these; what waits for others is forgotten."""
        await self._database.rows("set_trace_targets", names=list(targets))

    async def mark(self, subjects: Sequence[str]) -> None:
        """There is something (new) to tell of these."""
        await self._database.rows("mark_traces", subjects=list(subjects))

    async def next(self, target: str, limit: int) -> list[Marked]:
        """What waits, those that were tried least and marked first before others."""
        rows = await self._database.rows("next_traces", target=target, limit=limit)
        return [Marked(row["subject"], row["mark"], row["tries"]) for row in rows]

    async def told(self, target: str, marked: Sequence[Marked]) -> None:
        """They have been told, unless they were marked again meanwhile."""
        subjects, marks = [each.subject for each in marked], [each.mark for each in marked]
        await self._database.rows("traces_told", target=target, subjects=subjects, marks=marks)

    async def failed(self, target: str, marked: Sequence[Marked], error: str) -> None:
        """They could not be told; they stay."""
        subjects = [each.subject for each in marked]
        await self._database.rows(
            "traces_failed", target=target, subjects=subjects, error=error[:_LONGEST_ERROR]
        )

    async def backlog(self) -> list[Backlog]:
        """What waits, by target."""
        rows = await self._database.rows("trace_backlog")
        return [Backlog(**row) for row in rows]

    async def attempts(self, ids: Sequence[str]) -> list[AttemptRow]:
        """These attempts, as far as they are still here."""
        return list(await self._database.rows("attempts_to_tell", ids=list(ids)))

    async def run(self, run_id: str) -> RunOnRecord | None:
        """A run and what its spans are made of, of one moment; None for one that is not here any more."""

        async def read(connection: Connection) -> RunOnRecord | None:
            return await _read_run(connection, run_id)

        return await self._database.snapshot(read)

    async def content(self, row: AttemptRow) -> list[Message] | None:
        """What an attempt of a run was asked and what it answered, last; None where that is not kept."""
        found = await self._database.row("answer_to_tell", call_key=row["call_key"])
        if found is None:
            return None
        items = await self._database.rows("items_to_tell", id=found["conversation_id"])
        return [_message(item) for item in items if item["number"] <= found["number"]]


async def _read_run(connection: Connection, run_id: str) -> RunOnRecord | None:
    found = await run(connection, "run_to_tell", id=run_id)
    if not found:
        return None
    [row] = found
    items = await run(connection, "items_to_tell", id=row["conversation_id"])
    return RunOnRecord(
        run=row,
        steps=await run(connection, "steps_to_tell", id=run_id),
        items={i["number"]: Item(i["number"], i["key"], _message(i), i["prompt_tokens"]) for i in items},
        times={i["number"]: Times(i["started_at"], i["at"]) for i in items},
        ratings=[(r["key"], r["body"]) for r in await run(connection, "ratings_to_tell", id=run_id)],
    )


def _message(row: Mapping[str, Any]) -> Message:
    return _MESSAGE.validate_json(row["message"])
