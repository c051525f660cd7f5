"""One request to the front door inside this process: the same ASGI application, without a socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.types import ASGIApp, Message

from activities.heartbeats import heartbeating
from worker.plugin.asking import Asking

_PIECES_AHEAD = 1


class Exchange:
    """Asks an application and hears its answer, piece by piece; a slow reader slows the provider down."""

    def __init__(
        self, app: ASGIApp, asking: Asking, path: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        self._app = app
        self._asking = asking
        self._body = body
        self._scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
            ],
            "client": None,
            "curb.asking": asking,
        }
        self._asked = False
        self._gone = asyncio.Event()
        self._answer: asyncio.Queue[Message | None] = asyncio.Queue(_PIECES_AHEAD)
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> tuple[int, dict[str, str]]:
        """Send the request; its answer's status and headers, once they are there."""
        self._asking.exchanges.add(self)
        self._task = asyncio.create_task(self._run(), name="curb-exchange")
        try:
            start = await self._answer.get()
        except BaseException:
            await self.close()
            raise
        assert start is not None  # the endpoint answers whatever happens
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
        return start["status"], headers

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body. It must be read to its end or closed."""
        try:
            while (message := await self._answer.get()) is not None:
                if message["body"]:
                    yield message["body"]
        finally:
            await self.close()

    async def close(self) -> None:
        """Nobody reads on: what the provider still sends is cut, and booked, before this returns."""
        self._gone.set()
        self._asking.exchanges.discard(self)
        if self._task is None:
            return
        while not self._task.done():  # it may wait to hand over a piece
            with contextlib.suppress(asyncio.QueueEmpty):
                self._answer.get_nowait()
            await asyncio.wait({self._task}, timeout=0.01)

    async def _run(self) -> None:
        beating = contextlib.nullcontext() if self._asking.info.is_local else heartbeating()
        async with beating:
            await self._app(self._scope, self._receive, self._send)
        await self._answer.put(None)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if not self._gone.is_set():
            await self._answer.put(message)
