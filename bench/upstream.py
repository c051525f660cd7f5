"""A provider that answers at once with the same words: `python -m bench.upstream` prints its port.

It makes nothing, so that what is measured is what stands before it. Speaks OpenAI's format.
"""

import asyncio
import json
from typing import Any

import uvloop

_USAGE = {"prompt_tokens": 20, "completion_tokens": 20, "total_tokens": 40}
_BASE: dict[str, Any] = {"id": "chatcmpl-bench", "created": 0, "model": "bench"}
PIECES = 20


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
            self._transport.write(_STREAM if b'"stream":true' in body else _WHOLE)


def _whole() -> bytes:
    message = {"role": "assistant", "content": "word " * PIECES}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({**_BASE, "object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )


def _stream() -> bytes:
    deltas: list[Any] = [{"role": "assistant", "content": ""}, *[{"content": "word "}] * PIECES]
    chunks: list[Any] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    last = {"choices": [], "usage": _USAGE}
    events = [
        b"data: " + json.dumps({**_BASE, "object": "chat.completion.chunk", **chunk}).encode() + b"\n\n"
        for chunk in (*chunks, last)
    ]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in (*events, b"data: [DONE]\n\n"))
    return head + pieces + b"0\r\n\r\n"


_WHOLE, _STREAM = _whole(), _stream()


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
