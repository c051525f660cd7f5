"""A service that takes messages, played by a real HTTP server on loopback: it notes what comes and
answers what it is told to."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

WAIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Received:
    """One request. headers: by lower-case names."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer. instead: break off, never answer at all, or answer and never end."""

    status: int = 200
    text: str = "ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    instead: Literal["", "close", "hang", "stall"] = ""


@dataclass
class Receiver:
    """answers: the next ones, in order; then the usual one for ever."""

    url: str = ""
    usual: Answer = Answer()
    requests: list[Received] = field(default_factory=list)
    answers: deque[Answer] = field(default_factory=deque)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    def says(self, *answers: Answer) -> None:
        """Answer these next."""
        self.answers.extend(answers)

    async def until(self, count: int) -> list[Received]:
        """Wait until as many requests have come."""
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.requests) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.requests

    async def take(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Received(request.method, request.path_qs, headers, await request.read()))
        self._changed.set()
        answer = self.answers.popleft() if self.answers else self.usual
        if answer.instead == "hang":
            await self._ended.wait()
        if answer.instead == "stall":
            begun = web.StreamResponse(status=answer.status)
            await begun.prepare(request)
            await self._ended.wait()
            return begun
        if answer.instead == "close" and request.transport is not None:
            request.transport.abort()
        return web.Response(status=answer.status, text=answer.text, headers=answer.headers)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """Serve while the block runs; every path takes messages."""
    made = Receiver()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.take)
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    try:
        yield made
    finally:
        made._ended.set()
        await runner.cleanup()
