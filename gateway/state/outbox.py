"""The outbox: a stream that carries every decision to the ledger, in order."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from redis import exceptions

from gateway.events import Event, EventKind
from gateway.state.connection import TIMEOUT_SECONDS
from gateway.state.decisions import Decisions
from gateway.state.keys import OUTBOX_GROUP
from gateway.state.memory import Record


class Outbox:
    """The part of the authority that drainers read."""

    def __init__(self, decisions: Decisions) -> None:
        self._connection = decisions.connection
        self._stream = decisions.connection.keys("outbox")

    async def read_events(self, consumer: str, count: int, block_ms: int) -> list[Event]:
        """Up to `count` entries nobody has read; waits up to block_ms for the first."""
        block = block_ms or None  # BLOCK 0 would wait for ever
        streams = {self._stream: ">"}
        reply = await self._in_group(
            lambda: self._connection.redis.xreadgroup(
                OUTBOX_GROUP, consumer, streams, count=count, block=block
            ),
            waits_seconds=block_ms / 1000,
        )
        return [_event(entry) for entry in reply[0][1]] if reply else []

    async def claim_events(self, consumer: str, min_idle_ms: int, count: int) -> list[Event]:
        """Entries that another drainer read and did not commit for min_idle_ms; now ours."""
        reply = await self._in_group(
            lambda: self._connection.redis.xautoclaim(
                self._stream, OUTBOX_GROUP, consumer, min_idle_ms, "0-0", count=count
            )
        )
        return [_event(entry) for entry in reply[1] if entry[1]]

    async def ack_events(self, ids: Sequence[str]) -> None:
        """These entries are committed: acknowledge and delete them, by id."""
        if not ids:
            return
        await self._connection.call(lambda: self._acknowledge(ids))

    async def clock_ms(self) -> int:
        """The time of Redis, by which windows begin and end, in Unix milliseconds."""
        seconds, microseconds = await self._connection.call(lambda: self._connection.redis.time())
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def oldest_event_ms(self) -> int | None:
        """When the oldest entry that waits was written, by the clock of Redis; None: none waits."""
        entries = await self._connection.call(
            lambda: self._connection.redis.xrange(self._stream, "-", "+", count=1)
        )
        return int(str(entries[0][0]).partition("-")[0]) if entries else None

    async def outbox_stats(self) -> tuple[int, int]:
        """(entries, age of the oldest in milliseconds)"""
        length, age_ms = await self._connection.run("outbox_stats")
        return int(length), int(age_ms)

    async def _acknowledge(self, ids: Sequence[str]) -> None:
        async with self._connection.redis.pipeline(transaction=True) as pipe:
            pipe.xack(self._stream, OUTBOX_GROUP, *ids)
            pipe.xdel(self._stream, *ids)
            await pipe.execute()

    async def _in_group(self, command: Callable[[], Awaitable[Any]], waits_seconds: float = 0.0) -> Any:
        """Run a command of the consumer group; a Redis that was emptied gets the group again."""
        return await self._connection.call(
            lambda: self._with_group(command), timeout_seconds=TIMEOUT_SECONDS + waits_seconds
        )

    async def _with_group(self, command: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await command()
        except exceptions.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
        await self._create_group()
        return await command()

    async def _create_group(self) -> None:
        try:
            await self._connection.redis.xgroup_create(self._stream, OUTBOX_GROUP, id="0", mkstream=True)
        except exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # another drainer was faster
                raise


def _event(entry: tuple[str, dict[str, str]]) -> Event:
    entry_id, fields = entry
    return Record(
        kind=cast(EventKind, fields["kind"]),
        body=fields["body"],
        epoch=int(fields["epoch"]),
        seq=int(fields["seq"]),
        at_ms=int(fields["at_ms"]),
        day=fields["day"],
        attempt_id=fields["attempt_id"],
        number=fields["number"],
        counters=fields["counters"],
        id=entry_id,
    ).as_event()
