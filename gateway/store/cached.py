"""Answers that may be given again, under the name of what was asked; and vectors to find similar ones by."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from gateway.calls import Message
from gateway.errors import ConfigurationError
from gateway.store import tables_cached
from gateway.store.database import Connection, Database, run
from gateway.store.errors import StoreRejected

TABLES = (tables_cached.cached_answers,)
_LOCK = 0x63757262_76656374
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer as it was given. rendered: as the client had it, '' for runs. cost: what it cost then.
    similar: found by likeness."""

    key: str
    message: Message
    deployment: str
    rendered: str
    cost_nano_usd: int
    agent: str = ""
    similar: bool = False

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.rendered) + len(self.message.text) * 2


class CachedAnswers:
    """Kept for a time; what is over is removed by whoever keeps something new, and by retention."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare(self) -> None:
        """Make the table of vectors. Raises ConfigurationError where Postgres has no pgvector."""

        async def make(connection: Connection) -> None:
            await run(connection, "lock_cached_vectors", key=_LOCK)  # several processes begin at once
            for each in ("make_vectors_possible", "make_cached_vectors", "make_cached_vectors_index"):
                await run(connection, each)

        try:
            await self._database.transact(make)
        except StoreRejected as error:
            raise ConfigurationError(
                "cache.semantic: Postgres has no pgvector, or this user may not create it: run "
                f"CREATE EXTENSION vector; as its administrator, or remove the section ({error})"
            ) from error

    async def find(self, key: str) -> CachedAnswer | None:
        """The living answer of this name."""
        row = await self._database.row("find_cached", key=key)
        return None if row is None else _answer(row)

    async def similar(self, partition: str, vector: Sequence[float], threshold: float) -> CachedAnswer | None:
        """The living answer of this partition that is most like it, at least so much (cosine, 0 to 1)."""
        row = await self._database.row(
            "find_similar", partition=partition, vector=_written(vector), distance=1 - threshold
        )
        return None if row is None else _answer(row)

    async def keep(self, answer: CachedAnswer, seconds: float) -> None:
        """Keep an answer for so long, instead of an earlier one of this name."""
        await self._database.rows(
            "keep_cached",
            key=answer.key,
            answer=json.dumps(
                {
                    "message": answer.message.model_dump(mode="json"),
                    "deployment": answer.deployment,
                    "rendered": answer.rendered,
                    "cost_nano_usd": answer.cost_nano_usd,
                    "agent": answer.agent,
                }
            ),
            seconds=seconds,
        )

    async def keep_vector(self, partition: str, key: str, vector: Sequence[float]) -> None:
        """Let an answer be found by likeness."""
        await self._database.rows("keep_cached_vector", partition=partition, key=key, vector=_written(vector))

    async def forget(self, agent: str = "") -> int:
        """Remove the answers of one agent, or all; how many there were."""
        return len(await self._database.rows("forget_cached", agent=agent))


def _written(vector: Sequence[float]) -> str:
    return "[" + ",".join(map(repr, vector)) + "]"


def _answer(row: dict[str, Any]) -> CachedAnswer:
    said = json.loads(row["answer"])
    return CachedAnswer(
        key=row["key"],
        message=_MESSAGE.validate_python(said["message"]),
        deployment=said["deployment"],
        rendered=said["rendered"],
        cost_nano_usd=said["cost_nano_usd"],
        agent=said["agent"],
    )
