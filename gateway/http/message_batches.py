"""Anthropic's message batches: the requests come in one document, the results go as lines.

https://docs.anthropic.com/en/api/creating-message-batches
"""

import asyncio
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.errors import NotFound
from gateway.http.batches import (
    Lines,
    batch_ask,
    desk_of,
    headers_for,
    opened,
    own_batch,
    page_of,
)
from gateway.http.endpoint import Door, headers_of, read_body
from gateway.http.fields import BadRequest, mapping, objects, read_document, text
from gateway.http.plain import route
from gateway.http.wires import ANTHROPIC
from gateway.keys import Principal
from gateway.store.batches import Batch
from gateway.turns import in_turns

_PATH = "/v1/messages/batches"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DAY = timedelta(days=1)
_ALONG = ("anthropic-version", "anthropic-beta")
_COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")


def message_batch_routes(door: Door) -> list[Route]:
    """The routes of /v1/messages/batches."""
    batches = _MessageBatches(door)
    return [
        route(door, "anthropic", "POST", _PATH, batches.open),
        route(door, "anthropic", "GET", _PATH, batches.all),
        route(door, "anthropic", "GET", f"{_PATH}/{{id}}", batches.one),
        route(door, "anthropic", "GET", f"{_PATH}/{{id}}/results", batches.results),
        route(door, "anthropic", "POST", f"{_PATH}/{{id}}/cancel", batches.cancel),
    ]


class _MessageBatches:
    def __init__(self, door: Door) -> None:
        self._door = door
        self._store = door.gateway.store

    async def open(self, request: Request, principal: Principal) -> Response:
        headers = headers_of(request.scope)
        desk = desk_of(self._door)
        body = await read_body(request.receive, headers, self._door.limits.body_bytes)
        read = Lines(ANTHROPIC, "requests", self._door.gateway.config.batches.most_requests)
        document = await asyncio.to_thread(read_document, body)
        async for place, each in in_turns(objects(document.get("requests"), "requests")):
            name = text(each, "custom_id", path=f"{place}.")
            if not _NAME.fullmatch(name):
                raise BadRequest("is 1 to 64 letters, digits, '_' and '-'", f"{place}.custom_id")
            read.add(place, name, mapping(each.get("params"), f"{place}.params"), headers)
        ask = await batch_ask(
            self._door, request, principal, read, body, prefix="msgbatch", path=_PATH, endpoint="/v1/messages"
        )
        along: dict[str, str] = {
            name: headers[name] for name in ("anthropic-version", "anthropic-beta") if name in headers
        }
        batch = await opened(desk, replace(ask, metadata=along), read)
        return JSONResponse(self._told(batch, request), headers=headers_for(batch))

    async def all(self, request: Request, principal: Principal) -> Response:
        batches, more = await page_of(self._door, request, principal, "anthropic", "after_id")
        told = [self._told(batch, request) for batch in batches]
        first, last = (told[0]["id"], told[-1]["id"]) if told else (None, None)
        return JSONResponse({"data": told, "has_more": more, "first_id": first, "last_id": last})

    async def one(self, request: Request, principal: Principal) -> Response:
        batch = await own_batch(self._door, request, principal, "anthropic")
        return JSONResponse(self._told(batch, request), headers=headers_for(batch))

    async def results(self, request: Request, principal: Principal) -> Response:
        batch = await own_batch(self._door, request, principal, "anthropic")
        if not batch.output_file_id:
            raise NotFound(f"batch {batch.id} has no results, or none yet")
        content = await self._store.files.content(batch.output_file_id, principal.key_id)
        return Response(content, media_type="application/x-jsonl")

    async def cancel(self, request: Request, principal: Principal) -> Response:
        batch = await own_batch(self._door, request, principal, "anthropic")
        await self._store.batches.cancel(batch.id, principal.key_id)
        return JSONResponse(self._told(await self._store.batches.get(batch.id), request))

    def _told(self, batch: Batch, request: Request) -> dict[str, Any]:
        ended = batch.ended_at is not None
        done = "ended" if ended else "canceling" if batch.cancel_asked else "in_progress"
        url = f"{str(request.base_url).rstrip('/')}{_PATH}/{batch.id}/results"
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": done,
            "request_counts": _counts(batch),
            "created_at": _iso(batch.created_at),
            "expires_at": _iso(batch.created_at + _DAY),
            "ended_at": _iso(batch.ended_at),
            "archived_at": None,
            "cancel_initiated_at": batch.told.get("cancel_initiated_at"),
            "results_url": url if batch.output_file_id else None,
        }


def _counts(batch: Batch) -> dict[str, int]:
    """What the provider counts; of one that never came there all are errors, or cancelled."""
    counts = dict.fromkeys(_COUNTS, 0) | dict(batch.told.get("request_counts") or {})
    if batch.state in ("failed", "lost"):
        return dict.fromkeys(_COUNTS, 0) | {"canceled" if batch.cancel_asked else "errored": batch.requests}
    if batch.state != "ended":
        return dict.fromkeys(_COUNTS, 0) | {"processing": batch.requests}
    return counts


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
