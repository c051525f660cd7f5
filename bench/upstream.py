"""A provider that answers at once with the same words: `python -m bench.upstream PORT`.

It makes nothing, so that what is measured is what stands before it. Speaks OpenAI's format. A stream is sent
as a whole, or piece after piece where the request asks for it (PACED), each with the time when it left.
"""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

_USAGE = {"prompt_tokens": 20, "completion_tokens": 20, "total_tokens": 40}
_BASE: dict[str, Any] = {"id": "chatcmpl-bench", "created": 0, "model": "bench"}
_PAUSE_SECONDS = 0.005
PIECES = 20
PACED = "Take your time."


class Upstream(asyncio.Protocol):
    """One connection. Requests come one after the other, bodies with their length."""

    def __init__(self) -> None:
        self._waiting = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        while (end := self._waiting.find(b"\r\n\r\n")) >= 0:
            head = self._waiting[:end].lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if len(self._waiting) < end + 4 + length:
                return
            body = self._waiting[end + 4 : end + 4 + length]
            self._waiting = self._waiting[end + 4 + length :]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        if b'"stream":true' not in body.replace(b" ", b""):
            self._transport.write(_WHOLE)
        elif PACED.encode() in body:
            self._transport.write(_STREAM_HEAD + _FIRST)
            self._later(PIECES)
        else:
            self._transport.write(_STREAM)

    def _later(self, left: int) -> None:
        asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._piece, left)

    def _piece(self, left: int) -> None:
        """Send what is left, one piece now. The stamp between two @ is a monotonic clock's nanoseconds."""
        if not left:
            self._transport.write(_LAST)
            return
        self._transport.write(_chunk({"content": f"@{time.monotonic_ns()}@ "}))
        self._later(left - 1)


def _whole() -> bytes:
    message = {"role": "assistant", "content": "word " * PIECES}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({**_BASE, "object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )


def _event(what: dict[str, Any]) -> bytes:
    event = b"data: " + json.dumps({**_BASE, "object": "chat.completion.chunk", **what}).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    return _event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


_WHOLE = _whole()
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_FIRST = _chunk({"role": "assistant", "content": ""})
_DONE = b"data: [DONE]\n\n"
_LAST = (
    _chunk({}, "stop")
    + _event({"choices": [], "usage": _USAGE})
    + b"%x\r\n%s\r\n0\r\n\r\n" % (len(_DONE), _DONE)
)
_STREAM = _STREAM_HEAD + _FIRST + _chunk({"content": "word "}) * PIECES + _LAST


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
