"""Batches as the two families have them: requests that wait, an answer each, at half the price.

One row of the invoice for a batch, opened when it is taken and final when it has ended. A request whose
model says how it goes wrong is one failed request of the batch, and costs nothing.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from gateway.providers.simulator.invoice import Invoice, Row
from gateway.providers.simulator.prices import Tokens

Family = Literal["openai", "anthropic"]
_COUNTS = ("input", "output", "cache_read", "cache_write", "reasoning")
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Line:
    """What came of one request: its answer, or an error answer. base: the model whose price counts."""

    status: int
    body: Mapping[str, Any]
    tokens: Tokens = field(default_factory=Tokens)
    amount_nano_usd: int = 0


Work = Callable[[str, bytes], Awaitable[Line]]
"""Answers one request (its path and body) without an invoice of its own."""


@dataclass(slots=True)
class _Batch:
    id: str
    family: Family
    row: Row
    requests: tuple[tuple[str, str, bytes], ...]  # custom id, path, body
    endpoint: str = ""
    input_file_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    created: int = field(default_factory=lambda: int(time.time()))
    results: list[tuple[str, Line]] = field(default_factory=list)
    failure: str = ""
    cancelling: bool = False
    ended: int | None = None
    output_file_id: str = ""
    error_file_id: str = ""
    task: asyncio.Task[None] | None = None

    def count(self, *, good: bool) -> int:
        return sum((line.status == 200) is good for _, line in self.results)


class Batches:
    """The routes, and the work behind them. Files and batches live as long as the process."""

    def __init__(self, invoice: Invoice, work: Work, price_model: Callable[[bytes], str]) -> None:
        self._invoice = invoice
        self._work = work
        self._price_model = price_model
        self._files: dict[str, tuple[str, bytes]] = {}
        self._batches: dict[str, _Batch] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/files", self._upload),
            web.get("/v1/files/{id}/content", self._content),
            web.post("/v1/batches", self._create),
            web.get("/v1/batches", self._list),
            web.get("/v1/batches/{id}", self._show),
            web.post("/v1/batches/{id}/cancel", self._cancel),
            web.post("/v1/messages/batches", self._create_messages),
            web.get("/v1/messages/batches/{id}", self._show),
            web.get("/v1/messages/batches/{id}/results", self._results),
            web.post("/v1/messages/batches/{id}/cancel", self._cancel),
        ]

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form.get("file")
        if form.get("purpose") != "batch" or not isinstance(file, web.FileField):
            return _error(400, "Send `purpose` = batch and a `file`.")
        content = file.file.read()
        id = self._keep(content)
        return web.json_response(
            {"id": id, "object": "file", "bytes": len(content), "purpose": "batch", "status": "processed"}
        )

    def _keep(self, content: bytes) -> str:
        id = f"file-{uuid.uuid4().hex}"
        self._files[id] = ("batch", content)
        return id

    async def _content(self, request: web.Request) -> web.Response:
        found = self._files.get(request.match_info["id"])
        if found is None:
            return _error(404, "No such File object")
        return web.Response(body=found[1], content_type="application/octet-stream")

    async def _create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        found = self._files.get(asked.get("input_file_id", ""))
        if found is None or asked.get("completion_window") != "24h":
            return _error(400, "An `input_file_id` and a `completion_window` of 24h, please")
        endpoint = str(asked["endpoint"])
        try:
            lines = [json.loads(line) for line in found[1].splitlines() if line]
            requests = tuple(
                (str(line["custom_id"]), str(line["url"]), json.dumps(line["body"]).encode())
                for line in lines
            )
            failure = "" if all(url == endpoint for _, url, _ in requests) else "a url is not the endpoint"
        except (ValueError, KeyError, TypeError):
            requests, failure = (), "the file is not what a batch is made of"
        batch = self._open(request, "openai", requests)
        batch.endpoint, batch.input_file_id, batch.failure = endpoint, asked["input_file_id"], failure
        batch.metadata = asked.get("metadata") or {}
        await self._begin(batch)
        return web.json_response(_openai(batch))

    async def _create_messages(self, request: web.Request) -> web.Response:
        asked = await request.json()
        requests = tuple(
            (str(each["custom_id"]), "/v1/messages", json.dumps(each["params"]).encode())
            for each in asked["requests"]
        )
        batch = self._open(request, "anthropic", requests)
        await self._begin(batch)
        return web.json_response(_anthropic(batch, str(request.url.origin())))

    def _open(
        self, request: web.Request, family: Family, requests: tuple[tuple[str, str, bytes], ...]
    ) -> _Batch:
        id = f"{'batch' if family == 'openai' else 'msgbatch'}_{uuid.uuid4().hex}"
        client = request.headers.get("x-client-request-id", "")
        model = self._price_model(requests[0][2]) if requests else ""
        row = self._invoice.open_row(id, client, model, model, Tokens())
        row.charged_nano_usd = 0
        batch = _Batch(id, family, row, requests)
        self._batches[id] = batch
        return batch

    async def _begin(self, batch: _Batch) -> None:
        await self._invoice.sync()
        batch.task = asyncio.create_task(self._do(batch))

    async def _do(self, batch: _Batch) -> None:
        try:
            for custom_id, path, body in () if batch.failure else batch.requests:
                if batch.cancelling:
                    break
                line = await self._work(path, body)
                self._bill(batch.row, line)
                batch.results.append((custom_id, line))
        except asyncio.CancelledError:
            if not batch.cancelling:
                raise
        finally:
            self._end(batch)

    def _bill(self, row: Row, line: Line) -> None:
        row.charged_nano_usd = (row.charged_nano_usd or 0) + line.amount_nano_usd
        for name in _COUNTS:
            setattr(row.tokens, name, getattr(row.tokens, name) + getattr(line.tokens, name))

    def _end(self, batch: _Batch) -> None:
        good, bad = (b"".join(_openai_lines(batch, good=good)) for good in (True, False))
        batch.output_file_id = self._keep(good) if good else ""
        batch.error_file_id = self._keep(bad) if bad else ""
        batch.ended = int(time.time())
        self._invoice.finish(batch.row)

    async def _list(self, request: web.Request) -> web.Response:
        mine = [_openai(each) for each in self._batches.values() if each.family == "openai"][::-1]
        after, limit = request.query.get("after", ""), int(request.query.get("limit", "20"))
        start = next((i + 1 for i, each in enumerate(mine) if each["id"] == after), 0)
        page = mine[start : start + limit]
        return web.json_response({"object": "list", "data": page, "has_more": start + len(page) < len(mine)})

    async def _show(self, request: web.Request) -> web.Response:
        batch = self._batches.get(request.match_info["id"])
        if batch is None:
            return _error(404, "No such batch")
        return web.json_response(_described(batch, request))

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self._batches.get(request.match_info["id"])
        if batch is None:
            return _error(404, "No such batch")
        batch.cancelling = True
        if batch.task is not None:
            batch.task.cancel()
        return web.json_response(_described(batch, request))

    async def _results(self, request: web.Request) -> web.Response:
        batch = self._batches.get(request.match_info["id"])
        if batch is None or batch.ended is None:
            return _error(404, "No results yet")
        return web.Response(body=b"".join(_anthropic_lines(batch)), content_type="application/x-jsonl")


def _described(batch: _Batch, request: web.Request) -> dict[str, Any]:
    if batch.family == "openai":
        return _openai(batch)
    return _anthropic(batch, str(request.url.origin()))


def _openai(batch: _Batch) -> dict[str, Any]:
    status = "in_progress" if batch.ended is None else "completed"
    if batch.failure and batch.ended:
        status = "failed"
    elif batch.cancelling:
        status = "cancelled" if batch.ended else "cancelling"
    done = {"completed": batch.count(good=True), "failed": batch.count(good=False)}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": [{"code": "invalid", "message": batch.failure}]}
        if batch.failure
        else None,
        "input_file_id": batch.input_file_id,
        "completion_window": "24h",
        "status": status,
        "output_file_id": batch.output_file_id or None,
        "error_file_id": batch.error_file_id or None,
        "created_at": batch.created,
        "expires_at": batch.created + _DAY_SECONDS,
        "completed_at": batch.ended,
        "request_counts": {"total": len(batch.requests), **done},
        "metadata": dict(batch.metadata),
    }


def _openai_lines(batch: _Batch, *, good: bool) -> Iterator[bytes]:
    for position, (custom_id, line) in enumerate(batch.results):
        if (line.status == 200) is good:
            response = {
                "status_code": line.status,
                "request_id": f"{batch.id}-{position}",
                "body": line.body,
            }
            told = {"id": f"batch_req_{position}", "custom_id": custom_id, "response": response}
            yield json.dumps({**told, "error": None}).encode() + b"\n"


def _anthropic(batch: _Batch, origin: str) -> dict[str, Any]:
    good, bad = batch.count(good=True), batch.count(good=False)
    left = len(batch.requests) - good - bad
    ended = batch.ended is not None
    status = "ended" if ended else "canceling" if batch.cancelling else "in_progress"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": {
            "processing": 0 if ended else left,
            "succeeded": good if ended else 0,  # as documented: zero until the whole batch has ended
            "errored": bad if ended else 0,
            "canceled": left if ended else 0,
            "expired": 0,
        },
        "ended_at": _iso(batch.ended) if batch.ended is not None else None,
        "created_at": _iso(batch.created),
        "expires_at": _iso(batch.created + _DAY_SECONDS),
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": f"{origin}/v1/messages/batches/{batch.id}/results" if ended else None,
    }


def _anthropic_lines(batch: _Batch) -> Iterator[bytes]:
    done = dict(batch.results)
    for custom_id, _, _ in batch.requests:
        line = done.get(custom_id)
        result: dict[str, Any] = {"type": "canceled"}
        if line is not None and line.status == 200:
            result = {"type": "succeeded", "message": line.body}
        elif line is not None:
            result = {"type": "errored", "error": line.body}
        yield json.dumps({"custom_id": custom_id, "result": result}).encode() + b"\n"


def _iso(unix_seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_seconds))


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=status)
