"""A client that costs little: bare HTTP/1.1 over connections that stay, one request after the other.

Clients of libraries would cost more than what is measured.
"""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.upstream import PACED

_STAMP = re.compile(rb"@(\d+)@")  # when the provider sent this piece, as bench.upstream writes it
_END = b"\r\n0\r\n\r\n"
_ANSWER_SECONDS = 30.0
_SAID = "Say something that is neither long nor short, please."


@dataclass(slots=True)
class Heard:
    """What clients saw. took: seconds of each request; delays: of each piece of a paced stream, seconds;
    seconds: from the first request to the last answer."""

    took: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return len(self.took) / self.seconds


class Asking:
    """Asks one server for chat completions. headers: what it wants besides, a key for one."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._port = port
        self.headers = headers

    async def clients(self, many: int, seconds: float, *, stream: bool = False, paced: bool = False) -> Heard:
        """So many at once, each asking again as soon as it has its answer.

        paced: the provider pauses before each piece of a stream. Raises OSError, NotAnswered.
        """
        heard, started = Heard(), time.perf_counter()
        request = _request(self.headers, stream=stream, paced=paced)
        tasks = [asyncio.create_task(self._client(request, started + seconds, heard)) for _ in range(many)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        heard.seconds = time.perf_counter() - started
        return heard

    async def until_answered(self, seconds: float) -> None:
        """Wait until the server answers as it should. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await self.clients(1, 0.001)
                    return
                except (OSError, NotAnswered):
                    await asyncio.sleep(0.1)

    async def _client(self, request: bytes, until: float, heard: Heard) -> None:
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(
            lambda: _Connection(heard.delays), "127.0.0.1", self._port
        )
        try:
            async with asyncio.timeout(until - time.perf_counter() + _ANSWER_SECONDS):
                while (started := time.perf_counter()) < until:
                    transport.write(request)
                    await connection.answer()
                    heard.took.append(time.perf_counter() - started)
        finally:
            transport.close()


class NotAnswered(Exception):
    """The server did not say 200, but this."""


class _Connection(asyncio.Protocol):
    def __init__(self, delays: list[float]) -> None:
        self._delays = delays
        self._closed: Exception | None = None
        self._begin()

    async def answer(self) -> None:
        """Wait for the whole answer to the request that was just written."""
        if self._closed is not None:
            raise self._closed
        await self._answered
        self._begin()

    def _begin(self) -> None:
        self._received = b""
        self._whole: int | None = None  # bytes of head and body, once the head is read; 0: a chunked body
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if b"@" in data:
            now = time.monotonic_ns()
            self._delays.extend((now - int(sent)) / 1e9 for sent in _STAMP.findall(data))
        self._received += data
        if self._whole is None:
            self._read_head()
        if self._is_whole() and not self._answered.done():
            self._answered.set_result(None)

    def _is_whole(self) -> bool:
        if self._whole:
            return len(self._received) >= self._whole
        return self._whole == 0 and self._received.endswith(_END)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = exc or ConnectionResetError("the server closed the connection")
        self._fail(self._closed)

    def _fail(self, error: Exception) -> None:
        if not self._answered.done():
            self._answered.set_exception(error)
            self._answered.exception()  # nobody may be waiting

    def _read_head(self) -> None:
        head, found, _ = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(NotAnswered(self._received.decode(errors="replace")))
            return
        _, _, length = head.lower().partition(b"\r\ncontent-length: ")
        self._whole = len(head) + 4 + int(length.partition(b"\r\n")[0]) if length else 0


def _request(headers: Mapping[str, str], *, stream: bool, paced: bool) -> bytes:
    said = {"role": "user", "content": f"{_SAID} {PACED}" if paced else _SAID}
    document = {"model": "quick", "messages": [said], "max_tokens": 100, "stream": stream}
    body = json.dumps(document, separators=(",", ":")).encode()
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
