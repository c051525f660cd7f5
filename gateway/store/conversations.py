"""Conversations: what was said, in items numbered from 0 without gaps, written once per key."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import DictRow
from pydantic import TypeAdapter

from gateway.calls import Message
from gateway.errors import NotFound
from gateway.store.database import Database
from gateway.store.errors import StoreRejected

_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
_TRIES = 8
_PLAIN: dict[str, object] = {"answer": None, "prompt_tokens": 0, "started_at": None}


@dataclass(frozen=True, slots=True)
class Item:
    """One message of a conversation under its number and key.

    prompt_tokens: all tokens that went in for a model's answer; 0 for what people and tools said.
    """

    number: int
    key: str
    message: Message
    prompt_tokens: int = 0


class Conversations:
    """The prompts and answers of runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, run_id: str, agent: str, *, id: str = "") -> str:
        """Make a conversation and return its id; the same run (or id) gets the same one again."""
        conversation_id = id or (f"c-{run_id}" if run_id else f"c-{uuid.uuid4()}")
        await self._database.rows("create_conversation", id=conversation_id, run_id=run_id, agent=agent)
        return conversation_id

    async def append(
        self, conversation_id: str, key: str, message: Message, *, started_at: datetime | None = None
    ) -> int:
        """Add an item and return its number; under a key that exists, the number it already has.

        started_at: when the work began whose result it is. Raises NotFound when there is no such
        conversation.
        """
        row = await append(
            self._database, "append_item", conversation_id, key, message, started_at=started_at
        )
        return int(row["number"])

    async def load(self, conversation_id: str, up_to: int | None = None) -> list[Item]:
        """The items in order, only those with number <= up_to when it is given."""
        rows = await self._database.rows("load_items", id=conversation_id, up_to=up_to)
        return [_item(row) for row in rows]

    async def pair(self, conversation_id: str, number: int, key: str) -> tuple[Item | None, Item | None]:
        """The item of this number and the item under this key, in one read."""
        rows = await self._database.rows("load_two_items", id=conversation_id, number=number, key=key)
        items = [_item(row) for row in rows]
        return (
            next((item for item in items if item.number == number), None),
            next((item for item in items if item.key == key), None),
        )

    async def find(self, conversation_id: str, key: str) -> int | None:
        """The number of the item under this key, None when there is none."""
        row = await self._database.row("find_item", id=conversation_id, key=key)
        return None if row is None else int(row["number"])

    async def items(self, conversation_id: str, numbers: Sequence[int]) -> list[Item]:
        """These items only, in order."""
        rows = await self._database.rows("load_some_items", id=conversation_id, numbers=list(numbers))
        return [_item(row) for row in rows]


async def append(
    database: Database, statement: str, conversation_id: str, key: str, message: Message, **more: object
) -> DictRow:
    """Insert the item under the next number, or find the one with this key: {number, message, answer}.

    One statement. When somebody else adds the same key in the same moment, the unique constraint
    undoes ours whole (so no number is lost) and the next try finds theirs.
    """
    values = {"id": conversation_id, "key": key, "message": message.model_dump_json(), **_PLAIN, **more}
    for _ in range(_TRIES):
        try:
            row = await database.row(statement, **values)
        except StoreRejected:
            row = await database.row("find_item", id=conversation_id, key=key)
            if row is None:
                raise
        if row is not None:
            return row
        if await database.row("find_conversation", id=conversation_id) is None:
            raise NotFound(f"there is no conversation {conversation_id}")
    raise StoreRejected(f"conversation {conversation_id}: the item could not be placed in {_TRIES} tries")


def _item(row: DictRow) -> Item:
    message = _MESSAGE.validate_json(row["message"])
    return Item(row["number"], row["key"], message, row["prompt_tokens"])
