"""The HTTP server: routes, refusals, streaming, and what happens when the client goes away."""

import asyncio
import hashlib
import json
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from aiohttp import web

from gateway.providers.simulator import embeddings, prices, wire_anthropic, wire_openai
from gateway.providers.simulator.asked import Asked, InvalidRequest, Json, read_anthropic, read_openai
from gateway.providers.simulator.batches import Batches, Line
from gateway.providers.simulator.behaviours import HTTP_ERRORS, Behaviour, Part, UnknownBehaviour, parse
from gateway.providers.simulator.cache import PromptCache
from gateway.providers.simulator.generation import Generation, Piece, prepare
from gateway.providers.simulator.invoice import Invoice, Row
from gateway.providers.simulator.outages import Outages
from gateway.providers.simulator.prices import Model, Tokens
from gateway.providers.simulator.traces import Trace
from gateway.providers.simulator.wire_anthropic import AnthropicWire
from gateway.providers.simulator.wire_openai import OpenAIWire
from gateway.providers.simulator.wire_responses import ResponsesWire, read_responses

_MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_REMEMBERED = 100_000
_SHUTDOWN_SECONDS = 0.5
_STATUS = {
    "429": 429,
    "500": 500,
    "503": 503,
    "auth": 401,
    "invalid": 400,
    "context-length": 400,
    "refuse": 400,
}


class Wire(Protocol):
    """Writes one answer in one family's format."""

    @property
    def starts_early(self) -> bool: ...
    def start(self) -> bytes: ...
    def piece(self, piece: Piece) -> bytes: ...
    def end(self, *, refused: bool) -> bytes: ...
    def usage(self) -> bytes: ...
    def error(self) -> bytes: ...
    def whole(self, pieces: list[Piece], *, refused: bool) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire format: how requests are read, and how answers and errors are written."""

    name: str
    read: Callable[[Json], Asked]
    writer: Callable[[Generation, Row], Wire]
    error_body: Callable[[int, str, str], dict[str, Any]]
    overloaded: int
    model_list: Callable[[tuple[str, ...]], dict[str, Any]]


OPENAI = Dialect("openai", read_openai, OpenAIWire, wire_openai.error_body, 503, wire_openai.model_list)
ANTHROPIC = Dialect(
    "anthropic", read_anthropic, AnthropicWire, wire_anthropic.error_body, 529, wire_anthropic.model_list
)
RESPONSES = replace(OPENAI, read=read_responses, writer=ResponsesWire)
EMBEDDINGS = replace(OPENAI, read=embeddings.read_embeddings)
COUNTING = replace(ANTHROPIC, read=lambda body: read_anthropic({"max_tokens": 1, **body}))


_DIALECTS = {
    "/v1/chat/completions": OPENAI,
    "/v1/responses": RESPONSES,
    "/v1/embeddings": EMBEDDINGS,
    "/v1/messages": ANTHROPIC,
}


class Refused(Exception):
    """An HTTP error answer: nothing is generated and nothing is billed."""

    def __init__(self, status: int, message: str, *, code: str = "", retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class Simulator:
    """Answers requests and bills them. token_ms: the pace of models that have none of their own."""

    def __init__(self, invoice: Invoice, *, trace: Trace | None = None, token_ms: float = 0.0) -> None:
        self._invoice = invoice
        self._trace = trace
        self._token_ms = token_ms
        self._cache = PromptCache()
        self._outages = Outages()
        self._happened: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/responses", self._responses)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/invoice", self._show_invoice)
        app.router.add_get("/health", self._health)
        app.router.add_routes(self._outages.routes())
        app.router.add_routes(Batches(self._invoice, self._line, _price_model).routes())
        return app

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, OPENAI)

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, RESPONSES)

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, EMBEDDINGS)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, ANTHROPIC)

    async def _count(self, request: web.Request) -> web.Response:
        """How many tokens a request has: free, and on nobody's invoice."""
        try:
            asked, behaviour, _ = self._checked(await request.read(), COUNTING)
            self._refuse_if_told(request, asked, behaviour, ANTHROPIC)
        except Refused as refused:
            body = ANTHROPIC.error_body(refused.status, refused.code, str(refused))
            return web.json_response(body, status=refused.status)
        return web.json_response({"input_tokens": asked.prompt_tokens})

    async def _models(self, request: web.Request) -> web.Response:
        """Both families ask at the same path; Anthropic's clients say which version they speak."""
        dialect = ANTHROPIC if "anthropic-version" in request.headers else OPENAI
        if await self._outages.suffer(request, dialect.name):
            return _unavailable(dialect)
        return web.json_response(dialect.model_list(prices.names()))

    async def _show_invoice(self, request: web.Request) -> web.Response:
        since = request.query.get("since_ms", "0")
        if not since.isdigit():
            return web.json_response({"error": "since_ms: Unix milliseconds, please"}, status=400)
        return web.json_response(self._invoice.as_json(int(since)))

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _answer(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        if await self._outages.suffer(request, dialect.name):
            return _unavailable(dialect)
        identity = f"req_{uuid.uuid4().hex}"
        headers = {"x-request-id": identity, "request-id": identity}
        try:
            asked, behaviour, model = self._checked(await request.read(), dialect)
            if betas := request.headers.get("anthropic-beta"):
                asked = replace(asked, passed={**asked.passed, "anthropic-beta": betas})
            self._refuse_if_told(request, asked, behaviour, dialect)
        except Refused as refused:
            if refused.retry_after is not None:
                headers["retry-after"] = str(refused.retry_after)
            body = dialect.error_body(refused.status, refused.code, str(refused))
            return web.json_response(body, status=refused.status, headers=headers)
        skipped = frozenset(
            part.name for part in behaviour.manners if part.once and not self._happens(part, request, asked)
        )
        generation = prepare(asked, behaviour, skipped, self._trace, self._token_ms)
        row = self._open(request, asked, behaviour, model, identity)
        try:
            await self._invoice.sync()
            if dialect is EMBEDDINGS:
                return await self._embedded(asked, generation, row, headers)
            send = self._stream if asked.stream else self._at_once
            return await send(request, generation, row, dialect.writer(generation, row), headers)
        finally:
            self._invoice.finish(row)

    async def _line(self, path: str, raw: bytes) -> Line:
        """One request of a batch: on no invoice of its own, from no prompt cache, without a stream."""
        dialect = _DIALECTS[path]
        try:
            asked, behaviour, model = self._checked(raw, dialect)
            for part in behaviour.manners:
                if part.name in HTTP_ERRORS:
                    raise _refusal(part, asked, dialect)
        except Refused as refused:
            return Line(refused.status, dialect.error_body(refused.status, refused.code, str(refused)))
        identity, now_ms = f"req_{uuid.uuid4().hex}", time.time_ns() // 1_000_000
        row = Row(-1, identity, "", asked.model, behaviour.base, now_ms, Tokens(asked.prompt_tokens))
        generation = prepare(asked, behaviour, frozenset(), self._trace, self._token_ms)
        if dialect is EMBEDDINGS:
            usage = generation.manner.usage != "none"
            body = embeddings.answer(asked, row.price_model, usage=usage)
        else:
            pieces = [piece async for piece in generation.pieces(_Tally(), row)]
            body = dialect.writer(generation, row).whole(pieces, refused=False)
        return Line(200, body, row.tokens, prices.amount_nano_usd(model, row.tokens, now_ms, batch=True))

    def _checked(self, raw: bytes, dialect: Dialect) -> tuple[Asked, Behaviour, Model]:
        try:
            asked = dialect.read(json.loads(raw))
            behaviour = parse(asked.model)
        except (InvalidRequest, UnknownBehaviour) as error:
            raise Refused(400, str(error)) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Refused(400, f"We could not parse your request: {type(error).__name__}: {error}") from error
        model = prices.find(behaviour.base)
        if model is None:
            raise Refused(404, f"The model `{behaviour.base}` does not exist", code="model_not_found")
        if asked.prompt_tokens > model.context_tokens:
            raise _too_long(asked.prompt_tokens, model.context_tokens)
        return asked, behaviour, model

    def _refuse_if_told(
        self, request: web.Request, asked: Asked, behaviour: Behaviour, dialect: Dialect
    ) -> None:
        for part in behaviour.manners:
            if part.name in HTTP_ERRORS and (not part.once or self._happens(part, request, asked)):
                raise _refusal(part, asked, dialect)

    def _happens(self, part: Part, request: web.Request, asked: Asked) -> bool:
        """Whether this is the first time for this call, which the client's request id tells."""
        client = request.headers.get("x-client-request-id", "")
        key = (part.name, asked.model, client.rpartition("#")[0] or client or asked.seed)
        if key in self._happened:
            return False
        self._happened[key] = None
        if len(self._happened) > _MAX_REMEMBERED:
            self._happened.popitem(last=False)
        return True

    def _open(
        self, request: web.Request, asked: Asked, behaviour: Behaviour, model: Model, identity: str
    ) -> Row:
        secret = request.headers.get("authorization") or request.headers.get("x-api-key") or ""
        account = hashlib.blake2b(secret.encode(), digest_size=8).hexdigest()
        tokens = self._cache.tokens(asked, account, behaviour.base, cached=model.caches)
        client = request.headers.get("x-client-request-id", "")
        return self._invoice.open_row(identity, client, asked.model, behaviour.base, tokens)

    async def _stream(
        self,
        request: web.Request,
        generation: Generation,
        row: Row,
        wire: Wire,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={**headers, "content-type": "text/event-stream"})
        response.enable_chunked_encoding()
        try:
            if wire.starts_early:
                await response.prepare(request)
                await response.write(wire.start())
            async for piece in generation.pieces(self._invoice, row):
                if not response.prepared:
                    await response.prepare(request)
                if data := wire.piece(piece):
                    await response.write(data)
            if not response.prepared:
                await response.prepare(request)
            await self._end(request, response, generation, row, wire)
        except ConnectionError:
            pass  # the client has gone; what was produced is billed
        return response

    async def _end(
        self,
        request: web.Request,
        response: web.StreamResponse,
        generation: Generation,
        row: Row,
        wire: Wire,
    ) -> None:
        """Make the bill final, then tell the client; or break off as the manner says."""
        manner = generation.manner
        if manner.cut_final:
            await response.write(wire.end(refused=False))
        self._invoice.finish(row)
        await self._invoice.sync()
        if manner.cut_final or manner.cut_at is not None:
            _cut(request)
            return
        if manner.error_at is not None:
            await response.write(wire.error())
        elif manner.garbage_at is not None:
            await response.write(b'data: {"this is": no JSON\n\n')
        else:
            await response.write(wire.end(refused=manner.refuse_at is not None) + wire.usage())
        await response.write_eof()

    async def _embedded(
        self, asked: Asked, generation: Generation, row: Row, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Vectors, after as long as the first token of an answer would take."""
        await asyncio.sleep(generation.manner.first_token_ms / 1000)
        self._invoice.finish(row)
        await self._invoice.sync()
        usage = generation.manner.usage != "none"
        return web.json_response(embeddings.answer(asked, row.price_model, usage=usage), headers=headers)

    async def _at_once(
        self,
        request: web.Request,
        generation: Generation,
        row: Row,
        wire: Wire,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        """Answer without streaming; manners of the stream happen to the one answer."""
        pieces = [piece async for piece in generation.pieces(self._invoice, row)]
        manner = generation.manner
        self._invoice.finish(row)
        await self._invoice.sync()
        if manner.cut_final or manner.cut_at is not None:
            _cut(request)
        if manner.garbage_at is not None or manner.error_at is not None:
            return web.Response(text='{"this is": no JSON', headers=headers, content_type="application/json")
        return web.json_response(wire.whole(pieces, refused=manner.refuse_at is not None), headers=headers)


class _Tally:
    """Counts on the row alone."""

    def produced(self, row: Row, output: int, reasoning: int) -> None:
        row.tokens.output += output
        row.tokens.reasoning += reasoning


async def serve(simulator: Simulator, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Start serving; returns the runner (clean it up to stop) and the port."""
    runner = web.AppRunner(
        simulator.app(),
        access_log=None,
        handler_cancellation=True,  # a client that goes away ends its generation
        keepalive_timeout=120.0,
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    await site.start()
    return runner, int(runner.addresses[0][1])


async def run_until(stopped: asyncio.Event, runner: web.AppRunner) -> None:
    """Serve until the event is set; open rows are closed by their cancelled handlers."""
    try:
        await stopped.wait()
    finally:
        await runner.cleanup()


def _price_model(raw: bytes) -> str:
    """The model of a request of a batch, without its manners; '' where that is none."""
    try:
        return parse(str(json.loads(raw)["model"])).base
    except (ValueError, LookupError, TypeError, UnknownBehaviour):
        return ""


def _unavailable(dialect: Dialect) -> web.Response:
    return web.json_response(dialect.error_body(503, "", "The service is unavailable"), status=503)


def _refusal(part: Part, asked: Asked, dialect: Dialect) -> Refused:
    match part.name:
        case "429":
            return Refused(429, "Rate limit reached", code="rate_limit_exceeded", retry_after=part.numbers[0])
        case "overloaded":
            return Refused(dialect.overloaded, "Overloaded")
        case "auth":
            return Refused(401, "Incorrect API key provided", code="invalid_api_key")
        case "context-length":
            return _too_long(asked.prompt_tokens, asked.prompt_tokens // 2)
        case "refuse":
            return Refused(400, "Output blocked by content filtering policy", code="content_filter")
        case "invalid":
            return Refused(400, "Invalid value for a parameter", code="invalid_value")
    return Refused(_STATUS[part.name], "The server had an error while processing your request")


def _too_long(tokens: int, limit: int) -> Refused:
    said = f"prompt is too long: {tokens} tokens > {limit} maximum context length"
    return Refused(400, said, code="context_length_exceeded")


def _cut(request: web.Request) -> None:
    """Close the connection without ending the answer; what was written still arrives."""
    if request.transport is not None:
        request.transport.close()
