"""The model endpoints: one request in, one call through the gateway, one answer out.

Written against ASGI itself: a stream's pieces go to the client in the moment in which they come, and
a client that goes away is noticed while its provider still works, whose stream is then cut.
"""

import asyncio
import hashlib
import time
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog
from starlette.types import Receive, Scope, Send

from gateway.agents import Agent
from gateway.batches.opening import BatchDesk
from gateway.cache_keys import may_be_cached
from gateway.calls import Call, Caller, Outcome
from gateway.config import CacheUse
from gateway.errors import StateUnavailable, StoreUnavailable
from gateway.gateway import Gateway
from gateway.http import problems
from gateway.http.cache_use import cache_use
from gateway.http.fields import BadRequest, read_document, text
from gateway.http.identity import identify, said_by
from gateway.http.models import Models
from gateway.http.reply import Reply
from gateway.http.wires import ClientRequest, Wire
from gateway.keys import Principal, Unauthorized
from gateway.policy.refusals import Refusal
from gateway.providers.errors import ProviderError
from gateway.traces.ids import TRACEPARENT, read_traceparent

IDEMPOTENCY_KEY = "idempotency-key"
_LONGEST_IDEMPOTENCY_KEY = 200

log = structlog.get_logger(__name__)


class KeyHolder(Protocol):
    """Says who calls; gateway.keys.KeyRing is one. Raises Unauthorized, StoreUnavailable."""

    async def authenticate(self, token: str, address: str = "") -> Principal: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take. silence_seconds: how long a provider's stream may say nothing.
    upgrade_url: where callers who are limited read how to be less so."""

    body_bytes: int = 32 * 1024 * 1024
    call_seconds: float = 600.0
    silence_seconds: float = 180.0
    upgrade_url: str = ""


@dataclass(frozen=True, slots=True)
class Door:
    """What every endpoint works with. agents: those of curb.yaml, whose defaults hold for who names them.
    batches: None where nobody follows any."""

    gateway: Gateway
    keys: KeyHolder
    models: Models
    agents: Mapping[str, Agent] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    batches: BatchDesk | None = None

    async def principal(self, headers: Mapping[str, str], scope: Scope) -> Principal:
        """Who calls, by `Authorization: Bearer` or `x-api-key`. Raises Unauthorized, StoreUnavailable."""
        return await self.keys.authenticate(token_in(headers), address_of(scope))


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class ModelEndpoint:
    """POST of one family's model calls: an ASGI application."""

    def __init__(self, door: Door, wire: Wire) -> None:
        self._door = door
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = Reply(send, self._wire)
        try:
            await self._answer(scope, receive, reply)
        except ClientGone:
            pass
        except asyncio.CancelledError:
            await reply.fail(problems.unavailable("this server is closing", _now_ms()))
            raise
        except BadRequest as error:
            await reply.fail(problems.of_bad_request(error))
        except RecursionError:
            await reply.fail(problems.of_bad_request(BadRequest("the body is nested too deeply")))
        except Unauthorized as error:
            await reply.fail(problems.of_unauthorized(error))
        except ProviderError as error:
            await reply.fail(problems.of_provider(error))
        except (StateUnavailable, StoreUnavailable) as error:
            await reply.fail(problems.unavailable(str(error), _now_ms()))
        except Exception as error:  # noqa: BLE001 - the outermost edge: an answer in the client's shape
            # By its type and place: its message may quote the prompt.
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error("a request failed", error=type(error).__name__, at=f"{place.filename}:{place.lineno}")
            await reply.fail(problems.internal())

    async def _answer(self, scope: Scope, receive: Receive, reply: Reply) -> None:
        came = await self._came(scope, receive)
        headers, principal = headers_of(scope), came.principal
        idempotency_key = idempotency_key_of(headers, principal)
        use = cache_use(headers, self._door.agents.get(came.caller.agent))
        call = self._call(came, idempotency_key, digest_of(str(scope["path"]), came.body), reply, use)
        outcome = await self._completed(call, receive)
        if isinstance(outcome, Refusal):
            await reply.fail(problems.of_refusal(outcome, _now_ms(), self._door.limits.upgrade_url))
        elif outcome.replayed and outcome.digest != call.digest:
            raise BadRequest(
                "this key was used for another request; take a new one",
                IDEMPOTENCY_KEY,
                status=422,
                code="key_reused",
            )
        else:
            await reply.finish(outcome)

    async def _came(self, scope: Scope, receive: Receive) -> "_Came":
        """Who asks for what of which model. Raises BadRequest, Unauthorized, StoreUnavailable, ClientGone."""
        headers = headers_of(scope)
        principal = await self._door.principal(headers, scope)
        body = await read_body(receive, headers, self._door.limits.body_bytes)
        document = read_document(body)
        request = self._wire.read(document, headers)
        model = self._door.models.resolve(text(document, "model"), principal)
        caller = await identify(
            principal,
            said_by(headers),
            request.end_user,
            endpoint=str(scope["path"]),
            address=address_of(scope),
            agents=self._door.agents,
            store=self._door.gateway.store,
        )
        place = read_traceparent(headers.get(TRACEPARENT, ""))
        if place.trace_id:
            caller = replace(caller, trace_id=place.trace_id, span_id=place.span_id)
        return _Came(principal, caller, request, model, body)

    def _call(self, came: "_Came", idempotency_key: str, digest: str, reply: Reply, use: CacheUse) -> Call:
        """The call as the gateway takes it; what the client leaves open is the agent's to say."""
        caller, request = came.caller, came.request
        key = f"http:{caller.key_id}:{idempotency_key or uuid.uuid4().hex}"
        keep = bool(idempotency_key)
        wire, agent, limits = request.wire(), self._door.agents.get(caller.agent), self._door.limits
        reply.asked(request, key, keep=keep or may_be_cached(use, wire))
        if agent is not None and wire.max_output_tokens is None:
            wire = replace(wire, max_output_tokens=agent.max_output_tokens)
        return Call(
            key=key,
            caller=caller,
            request=wire,
            tier=came.model,
            agent_daily_budget_nano_usd=agent.daily_budget_nano_usd if agent is not None else None,
            cost_aware=agent.cost_aware if agent is not None else False,
            retried=keep,
            timeout_seconds=limits.call_seconds,
            total_timeout_seconds=limits.call_seconds,
            listener=reply,
            keep=keep,
            digest=digest if keep else "",
            silence_seconds=limits.silence_seconds,
            cache=use,
        )

    async def _completed(self, call: Call, receive: Receive) -> Outcome:
        """The outcome of a call, which is cancelled when its client goes away. Raises ClientGone then."""
        calling = asyncio.create_task(self._door.gateway.complete(call))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({calling, gone}, return_when=asyncio.FIRST_COMPLETED)
            if calling.done():
                return calling.result()
            raise ClientGone
        finally:
            gone.cancel()
            calling.cancel()
            await asyncio.gather(calling, gone, return_exceptions=True)


class CountEndpoint(ModelEndpoint):
    """POST of a request whose tokens are to be counted, and not bought."""

    async def _answer(self, scope: Scope, receive: Receive, reply: Reply) -> None:
        came = await self._came(scope, receive)
        counted = await self._door.gateway.counter.count(came.caller, came.request.wire(), came.model)
        if isinstance(counted, Refusal):
            await reply.fail(problems.of_refusal(counted, _now_ms()))
        else:
            await reply.tell(counted)


@dataclass(frozen=True, slots=True)
class _Came:
    """A request as far as it is understood. model: the tier or deployment that it asks for."""

    principal: Principal
    caller: Caller
    request: ClientRequest
    model: str
    body: bytes


def headers_of(scope: Scope) -> dict[str, str]:
    """Names in lower case; of several with one name the last counts."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def address_of(scope: Scope) -> str:
    """Who is at the other end of the connection; '' where that is no address."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def token_in(headers: Mapping[str, str]) -> str:
    """The key that came along, '' without one."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key", "").strip() or (token.strip() if kind.lower() == "bearer" else "")


async def read_body(receive: Receive, headers: Mapping[str, str], most: int) -> bytes:
    """The whole body. Raises BadRequest for what is too large or packed, ClientGone."""
    if headers.get("content-encoding", "identity") != "identity":
        raise BadRequest("send the body as it is", "content-encoding", status=415)
    if (length := headers.get("content-length", "0")).isdigit() and int(length) > most:
        raise _too_large(most)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return bytes(body)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def idempotency_key_of(headers: Mapping[str, str], principal: Principal) -> str:
    """What the client calls this request, so that asking again is free; '' when it does not say.

    No '#': it ends a call key and begins the number of an attempt.
    """
    key = headers.get(IDEMPOTENCY_KEY, "").strip()
    if not key:
        return ""
    if principal.rate_tier == "anonymous":
        raise BadRequest("counts with a key of your own only", IDEMPOTENCY_KEY)
    if len(key) > _LONGEST_IDEMPOTENCY_KEY or not (key.isascii() and key.isprintable()) or "#" in key:
        what = f"at most {_LONGEST_IDEMPOTENCY_KEY} printable ASCII characters without '#'"
        raise BadRequest(f"is {what}", IDEMPOTENCY_KEY)
    return key


def digest_of(path: str, body: bytes) -> str:
    """A fingerprint of what was asked."""
    return hashlib.blake2b(path.encode() + b"\0" + body, digest_size=20).hexdigest()


def _too_large(most: int) -> BadRequest:
    return BadRequest(f"the body is larger than {most} bytes", status=413, code="too_large")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
