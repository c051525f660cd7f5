"""A TCP relay in front of a server that can be shut: nobody gets through, and nobody is told."""

import asyncio
import contextlib
import socket

_HOST = "127.0.0.1"
_CHUNK = 64 * 1024


class Gate:
    """Listens on a port of its own and relays to `upstream` while it is open.

    Shut, it cuts what it relayed, and new connections hang in the handshake: the system retries it
    by itself, so that whoever waits is connected soon after the gate opens again.
    """

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._port = 0
        self._server: asyncio.Server | None = None
        self._wall: list[socket.socket] = []
        self._relays: set[asyncio.Task[None]] = set()
        self.accepted = 0

    @property
    def address(self) -> str:
        return f"{_HOST}:{self._port}"

    async def open(self) -> None:
        for brick in self._wall:
            brick.close()
        self._wall.clear()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, _HOST, self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Cut every connection; from now on, connecting hangs."""
        await self._close()
        # A listener whose queue is full: the system drops further handshakes without a word.
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, self._port))
        listener.listen(0)
        self._wall.append(listener)
        for _ in range(3):
            brick = socket.socket()
            brick.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                brick.connect((_HOST, self._port))
            self._wall.append(brick)

    async def close(self) -> None:
        await self._close()
        for brick in self._wall:
            brick.close()
        self._wall.clear()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        relays = tuple(self._relays)
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        try:
            await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # either side went away, or the gate was shut
        finally:
            self._relays.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(*self._upstream)
        except BaseException:
            writer.transport.abort()
            raise
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, to_server))
                group.create_task(_pump(from_server, writer))
        except* OSError:
            pass
        finally:
            writer.transport.abort()
            to_server.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until the end, which ends the whole relay: no protocol here half-closes."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError
