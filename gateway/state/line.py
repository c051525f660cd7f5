"""Commands that are asked for in the same moment go to Redis together, and their replies come together.

Most of what a command costs is not in the command: the way to a connection and back, and the
system's part of sending and receiving, are paid once for all that share them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from redis import exceptions

AT_ONCE = 4  # batches on their way; what is asked for meanwhile makes the next
MOST = 64  # commands in one batch


@dataclass(slots=True)
class _Asked:
    command: tuple[str, ...]
    reply: "asyncio.Future[Any]"


class Line:
    """Keeps a few connections to itself. make: a new one, which connects when it is first used."""

    def __init__(self, make: Callable[[], Any], timeout_seconds: float) -> None:
        self._make = make
        self._timeout_seconds = timeout_seconds
        self._waiting: deque[_Asked] = deque()
        self._batches: set[asyncio.Task[None]] = set()
        self._idle: list[Any] = []
        self._called = False

    async def execute(self, *command: str) -> Any:
        """The reply to one command. Raises what redis-py raises, and TimeoutError."""
        loop = asyncio.get_running_loop()
        asked = _Asked(command, loop.create_future())
        self._waiting.append(asked)
        if not self._called:
            self._called = True
            loop.call_soon(self._go)
        return await asked.reply

    async def close(self) -> None:
        """Wait for what is on its way, then disconnect."""
        await asyncio.gather(*self._batches, return_exceptions=True)
        await self._drop_idle()

    def _go(self) -> None:
        """Send what waits, but for whom nobody waits any more."""
        self._called = False
        while self._waiting and len(self._batches) < AT_ONCE:
            batch = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
            if batch := [asked for asked in batch if not asked.reply.done()]:
                task = asyncio.create_task(self._send(batch), name="curb-redis")
                self._batches.add(task)
                task.add_done_callback(self._sent)

    def _sent(self, task: "asyncio.Task[None]") -> None:
        self._batches.discard(task)
        self._go()

    async def _send(self, batch: list[_Asked]) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._exchange(batch)
        except Exception as error:  # noqa: BLE001 - it is raised where the command was asked for
            _fail(batch, error)
        except BaseException:
            _fail(batch, exceptions.ConnectionError("given up while the command was on its way"))
            raise

    async def _exchange(self, batch: list[_Asked]) -> None:
        connection = self._idle.pop() if self._idle else self._make()
        try:
            await connection.send_packed_command(connection.pack_commands([a.command for a in batch]))
            for asked in batch:
                try:
                    reply = await connection.read_response(disconnect_on_error=False)
                except exceptions.ResponseError as error:
                    _fail([asked], error)
                else:
                    if not asked.reply.done():
                        asked.reply.set_result(reply)
        except BaseException:
            await connection.disconnect(nowait=True)
            await self._drop_idle()  # a server that has gone took the others along
            raise
        self._idle.append(connection)

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.disconnect(nowait=True)


def _fail(batch: Iterable[_Asked], error: BaseException) -> None:
    for asked in batch:
        if not asked.reply.done():
            asked.reply.set_exception(error)
