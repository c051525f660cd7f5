"""Files that clients bring and fetch: what batches are made of, and what came of them. Each is one key's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.errors import NotFound
from gateway.store import tables_batches
from gateway.store.database import Database

TABLES = (tables_batches.files,)


@dataclass(frozen=True, slots=True)
class File:
    """What is known of a file beside its content."""

    id: str
    key_id: str
    purpose: str
    filename: str
    bytes: int
    created_at: datetime


class Files:
    """Methods that look for one file raise NotFound where this key has none of this id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, id: str, key_id: str, purpose: str, filename: str, content: bytes) -> File:
        """Keep a file; one that is there already stays as it is."""
        await self._database.rows(
            "keep_file",
            id=id,
            key_id=key_id,
            purpose=purpose,
            filename=filename,
            bytes=len(content),
            content=content,
        )
        return await self.get(id, key_id)

    async def get(self, id: str, key_id: str) -> File:
        return _file(await self._one("get_file", id, key_id))

    async def content(self, id: str, key_id: str) -> bytes:
        content = await self._database.content("file_content", id=id, key_id=key_id)
        if content is None:
            raise _missing(id)
        return content

    async def of_key(self, key_id: str, purpose: str = "", limit: int = 1_000) -> list[File]:
        """The latest first. purpose: '' for any."""
        rows = await self._database.rows("list_files", key_id=key_id, purpose=purpose, limit=limit)
        return [_file(row) for row in rows]

    async def uploaded(self, key_id: str) -> int:
        """The bytes of all that this key has brought."""
        row = await self._database.row("uploaded_bytes", key_id=key_id)
        return 0 if row is None else int(row["bytes"])

    async def remove(self, id: str, key_id: str) -> None:
        await self._one("remove_file", id, key_id)

    async def _one(self, query: str, id: str, key_id: str) -> Mapping[str, Any]:
        row = await self._database.row(query, id=id, key_id=key_id)
        if row is None:
            raise _missing(id)
        return row


def _missing(id: str) -> NotFound:
    return NotFound(f"there is no file {id!r}")


def _file(row: Mapping[str, Any]) -> File:
    return File(**{name: row[name] for name in File.__slots__})
