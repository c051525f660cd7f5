"""A provider's batch API with moods, before the simulator: what is one key's, no other key sees."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import httpx
from aiohttp import web

Changed = Callable[[bytes], bytes]


@dataclass
class BatchGate:
    """before, after: statuses to answer with, by method and beginning of path, each once; `after` does first
    what was asked. changed: what becomes of an answer. held: answers that are there and wait."""

    simulator_url: str
    url: str = ""
    before: dict[str, list[int]] = field(default_factory=dict)
    after: dict[str, list[int]] = field(default_factory=dict)
    changed: dict[str, Changed] = field(default_factory=dict)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    holding: asyncio.Event = field(default_factory=asyncio.Event)
    owners: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        what, key = f"{request.method} {request.path}", request.headers.get("authorization", "")
        self.asked.append(what)
        if (status := _next(self.before, what)) is not None:
            return _no(status)
        if any(owner != key and id in request.path for id, owner in self.owners.items()):
            return _no(404)
        body = await request.read()
        kept = {n: v for n, v in request.headers.items() if n.lower() not in ("host", "content-length")}
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            said = await client.request(
                request.method, f"{self.simulator_url}{request.path_qs}", content=body, headers=kept
            )
        content = self._seen(said.content, key, made=request.method == "POST")
        for name, lets_go in self.held.items():
            if what.startswith(name) and not lets_go.is_set():
                self.holding.set()
                await lets_go.wait()
        if (status := _next(self.after, what)) is not None:
            return _no(status)
        change = next((each for name, each in self.changed.items() if what.startswith(name)), None)
        return web.Response(
            status=said.status_code,
            body=change(content) if change else content,
            content_type=said.headers["content-type"].partition(";")[0],
        )

    def _seen(self, content: bytes, key: str, *, made: bool) -> bytes:
        with contextlib.suppress(ValueError, AttributeError, TypeError):
            document = json.loads(content)
            if made and "id" in document:
                self.owners.setdefault(document["id"], key)
            for name in ("output_file_id", "error_file_id"):
                if document.get(name):
                    self.owners.setdefault(document[name], self.owners.get(document["id"], key))
            if document.get("object") == "list":
                mine = [each for each in document["data"] if self.owners.get(each["id"]) == key]
                return json.dumps({**document, "data": mine}).encode()
        return content


@contextlib.asynccontextmanager
async def batch_gate(simulator_url: str) -> AsyncIterator[BatchGate]:
    """Open at its `url` until the block ends."""
    gate = BatchGate(simulator_url)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", gate.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        gate.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield gate
    finally:
        await runner.cleanup()


def _next(moods: dict[str, list[int]], what: str) -> int | None:
    return next((left.pop(0) for name, left in moods.items() if what.startswith(name) and left), None)


def _no(status: int) -> web.Response:
    return web.json_response({"error": {"message": "no", "type": "x"}}, status=status)
