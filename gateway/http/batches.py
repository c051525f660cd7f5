"""OpenAI's batches: a file of requests goes in, is held as one, and comes back as a file of answers.

https://platform.openai.com/docs/api-reference/batch
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.batches.opening import BatchAsk, BatchDesk, CannotBatch
from gateway.calls import Caller, WireRequest
from gateway.config import FamilyName
from gateway.errors import NotFound, StateUnavailable
from gateway.http.endpoint import Door, address_of, digest_of, headers_of, idempotency_key_of, read_body
from gateway.http.fields import BadRequest, Json, mapping, read_document, text
from gateway.http.identity import identify, said_by
from gateway.http.plain import Refused, an_id, asked_for, id_in, route
from gateway.http.wires import EMBEDDINGS, OPENAI, RESPONSES, Wire
from gateway.keys import Principal
from gateway.policy.money import decimal_usd
from gateway.policy.refusals import Refusal
from gateway.store.batches import Batch
from gateway.turns import in_turns

_WIRES: Mapping[str, Wire] = {wire.path: wire for wire in (OPENAI, RESPONSES, EMBEDDINGS)}
_DAY_SECONDS = 86_400
_MOST_METADATA = 16
_LONGEST_METADATA = 512
_MOST_LISTED = 100


def batch_routes(door: Door) -> list[Route]:
    """The routes of /v1/batches."""
    batches = _Batches(door)
    return [
        route(door, "openai", "POST", "/v1/batches", batches.open),
        route(door, "openai", "GET", "/v1/batches", batches.all),
        route(door, "openai", "GET", "/v1/batches/{id}", batches.one),
        route(door, "openai", "POST", "/v1/batches/{id}/cancel", batches.cancel),
    ]


class _Batches:
    def __init__(self, door: Door) -> None:
        self._door = door
        self._store = door.gateway.store

    async def open(self, request: Request, principal: Principal) -> Response:
        headers = headers_of(request.scope)
        desk = desk_of(self._door)
        body = await read_body(request.receive, headers, self._door.limits.body_bytes)
        document = read_document(body)
        endpoint, file_id = text(document, "endpoint"), text(document, "input_file_id")
        if endpoint not in _WIRES:
            raise BadRequest(f"must be one of {', '.join(_WIRES)}", "endpoint")
        if document.get("completion_window") != "24h":
            raise BadRequest("must be 24h", "completion_window")
        try:
            lines = await self._store.files.content(an_id(file_id, "file"), principal.key_id)
        except NotFound as error:
            raise BadRequest(str(error), "input_file_id", status=404, code="not_found") from None
        read = Lines(_WIRES[endpoint], "input_file_id", self._door.gateway.config.batches.most_requests)
        async for number, line in in_turns(enumerate(filter(None, lines.splitlines()), start=1)):
            read.line(number, line)
        ask = await batch_ask(
            self._door, request, principal, read, body, prefix="batch", path="/v1/batches", endpoint=endpoint
        )
        ask = replace(ask, input_file_id=file_id, metadata=_metadata(document))
        batch = await opened(desk, ask, read)
        return JSONResponse(_told(batch), headers=headers_for(batch))

    async def all(self, request: Request, principal: Principal) -> Response:
        batches, more = await page_of(self._door, request, principal, "openai", "after")
        told = [_told(batch) for batch in batches]
        ends = {"first_id": told[0]["id"], "last_id": told[-1]["id"]} if told else {}
        return JSONResponse({"object": "list", "data": told, "has_more": more, **ends})

    async def one(self, request: Request, principal: Principal) -> Response:
        batch = await own_batch(self._door, request, principal, "openai")
        return JSONResponse(_told(batch), headers=headers_for(batch))

    async def cancel(self, request: Request, principal: Principal) -> Response:
        batch = await own_batch(self._door, request, principal, "openai")
        await self._store.batches.cancel(batch.id, principal.key_id)
        return JSONResponse(_told(await self._store.batches.get(batch.id)))


class Lines:
    """The requests of a batch as they are read: of one model, each under a name of its own."""

    def __init__(self, wire: Wire, field: str, most: int) -> None:
        self._wire = wire
        self.field = field
        self._most = most
        self._names: set[str] = set()
        self.requests: list[tuple[str, WireRequest]] = []
        self.model = ""
        self.end_user = ""

    def line(self, number: int, line: bytes) -> None:
        """One line of a file. Raises BadRequest, which names the line."""
        try:
            document = read_document(line)
            if document.get("method") != "POST" or document.get("url") != self._wire.path:
                raise BadRequest(f"must be a POST of {self._wire.path}, as the batch's endpoint", "url")
            name, body = text(document, "custom_id"), mapping(document.get("body"), "body")
        except BadRequest as error:
            raise BadRequest(f"line {number}: {error}", self.field) from None
        self.add(f"line {number}", name, body, {})

    def add(self, place: str, name: str, body: Json, headers: Mapping[str, str]) -> None:
        """One request. place: what errors call it."""
        if len(self.requests) >= self._most:
            raise BadRequest(f"a batch has at most {self._most} requests", self.field)
        if name in self._names:
            raise BadRequest(f"{place}: there is another request with the custom_id {name!r}", self.field)
        try:
            model = text(body, "model")
            read = self._wire.read(body, headers)
            request = read.wire()
        except BadRequest as error:
            raise BadRequest(f"{place}: {error}", self.field, code=error.code) from None
        if read.streamed:
            raise BadRequest(f"{place}: a batch has no streams; leave `stream` out", self.field)
        if self.model and model != self.model:
            raise BadRequest(
                f"{place}: all requests of a batch ask for one model, and this one not for it",
                self.field,
            )
        self.model, self.end_user = model, self.end_user or read.end_user
        self._names.add(name)
        self.requests.append((name, request))

    def wrong(self, error: CannotBatch) -> BadRequest:
        """What cannot be bounded or priced, by its place."""
        if error.position < 0:
            return BadRequest(str(error), self.field)
        name = self.requests[error.position][0]
        return BadRequest(f"the request {name!r}: {error}", self.field)


def desk_of(door: Door) -> BatchDesk:
    """Who takes batches on. Raises StateUnavailable where nobody does."""
    if door.batches is None:
        raise StateUnavailable("this front door has no Temporal, which follows batches to their end")
    return door.batches


async def batch_ask(
    door: Door,
    request: Request,
    principal: Principal,
    read: Lines,
    body: bytes,
    *,
    prefix: str,
    path: str,
    endpoint: str,
) -> BatchAsk:
    """Who asks for what. Raises BadRequest, StoreUnavailable."""
    headers = headers_of(request.scope)
    key = idempotency_key_of(headers, principal)
    if not read.requests:
        raise BadRequest("a batch has at least one request", read.field)
    model = door.models.resolve(read.model, principal)
    caller: Caller = await identify(
        principal,
        said_by(headers),
        read.end_user,
        endpoint=path,
        address=address_of(request.scope),
        agents=door.agents,
        store=door.gateway.store,
    )
    agent = door.agents.get(caller.agent)
    requests = read.requests
    if agent is not None:
        most = agent.max_output_tokens
        requests = [
            (name, each if each.max_output_tokens is not None else replace(each, max_output_tokens=most))
            for name, each in requests
        ]
    named = hashlib.blake2b(f"{principal.key_id}\0{path}\0{key}".encode(), digest_size=16).hexdigest()
    return BatchAsk(
        id=f"{prefix}_{named if key else uuid.uuid4().hex}",
        caller=caller,
        family="anthropic" if prefix == "msgbatch" else "openai",
        endpoint=endpoint,
        model=model,
        requests=requests,
        agent_daily_budget_nano_usd=agent.daily_budget_nano_usd if agent is not None else None,
        digest=digest_of(path, body) if key else "",
    )


async def opened(desk: BatchDesk, ask: BatchAsk, read: Lines) -> Batch:
    """The batch. Raises Refused, BadRequest, KeyReused, StateUnavailable, StoreUnavailable."""
    try:
        outcome = await desk.open(ask)
    except CannotBatch as error:
        raise read.wrong(error) from None
    if isinstance(outcome, Refusal):
        raise Refused(outcome)
    return outcome


async def own_batch(door: Door, request: Request, principal: Principal, family: str) -> Batch:
    """The batch of the path, if it is this key's. Raises NotFound."""
    batch = await door.gateway.store.batches.get(id_in(request, "batch"))
    if (batch.key_id, batch.family) != (principal.key_id, family) or batch.state == "opening":
        raise NotFound(f"there is no batch {batch.id!r}")
    return batch


async def page_of(
    door: Door, request: Request, principal: Principal, family: FamilyName, after: str
) -> tuple[list[Batch], bool]:
    """This key's batches, and whether there are more."""
    asked = request.query_params.get("limit", "20")
    if not (asked.isascii() and asked.isdecimal() and len(asked) < 10) or not 1 <= int(asked) <= _MOST_LISTED:
        raise BadRequest(f"must be a whole number from 1 to {_MOST_LISTED}", "limit")
    found = await door.gateway.store.batches.of_key(
        principal.key_id, family, limit=int(asked) + 1, after=asked_for(request, after)
    )
    return found[: int(asked)], len(found) > int(asked)


def headers_for(batch: Batch) -> dict[str, str]:
    """What curb says of a batch beside the family's own words."""
    headers = {
        "x-curb-call-id": batch.attempt_id.rpartition("#")[0],
        "x-curb-deployment": batch.deployment,
        "x-curb-held": decimal_usd(0 if batch.ended_at else batch.asked_nano_usd),
    }
    return headers | ({"x-curb-cost": decimal_usd(batch.cost_nano_usd)} if batch.state == "ended" else {})


def _metadata(document: Json) -> dict[str, str]:
    given = document.get("metadata")
    if given is None:
        return {}
    found = mapping(given, "metadata")
    if len(found) > _MOST_METADATA or not all(map(_is_text, [*found, *found.values()])):
        raise BadRequest(f"at most {_MOST_METADATA} texts, of 512 printable characters each", "metadata")
    return found


def _is_text(value: object) -> bool:
    """Whether it can be kept: no control characters, no half of a surrogate pair."""
    return isinstance(value, str) and len(value) <= _LONGEST_METADATA and (value.isprintable() or not value)


def _status(batch: Batch) -> str:
    """In OpenAI's words. What has ended there and is not booked here is finalizing."""
    told = str(batch.told.get("status", "in_progress"))
    if batch.state in ("opening", "held", "sending"):
        return "cancelling" if batch.cancel_asked else "validating"
    if batch.state == "sent":
        if told in ("completed", "failed", "expired", "cancelled"):
            return "finalizing"
        return "cancelling" if batch.cancel_asked else told
    if batch.state == "ended":
        return told
    return "cancelled" if batch.cancel_asked else "failed"


def _told(batch: Batch) -> dict[str, Any]:
    told, status = batch.told, _status(batch)
    created, ended = _seconds(batch.created_at), _seconds(batch.ended_at)
    counts = told.get("request_counts") or {"total": batch.requests, "completed": 0, "failed": 0}
    ended_as = dict.fromkeys(("completed_at", "failed_at", "expired_at", "cancelled_at"))
    if f"{status}_at" in ended_as:
        ended_as[f"{status}_at"] = ended
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": _errors(batch),
        "input_file_id": batch.input_file_id,
        "completion_window": "24h",
        "status": status,
        "output_file_id": batch.output_file_id or None,
        "error_file_id": batch.error_file_id or None,
        "created_at": created,
        "in_progress_at": _seconds(batch.sent_at),
        "expires_at": (created or 0) + _DAY_SECONDS,
        "finalizing_at": told.get("finalizing_at"),
        **ended_as,
        "cancelling_at": told.get("cancelling_at"),
        "request_counts": counts,
        "metadata": dict(batch.metadata) or None,
    }


def _errors(batch: Batch) -> dict[str, Any] | None:
    if batch.state == "ended":
        return batch.told.get("errors")
    if not batch.error:
        return None
    code = "in_doubt" if batch.state == "lost" else "failed"
    problem = {"code": code, "message": batch.error, "param": None, "line": None}
    return {"object": "list", "data": [problem]}


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
