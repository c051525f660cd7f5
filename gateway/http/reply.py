"""One answer on its way to one client: headers, stream or document, or a problem.

Headers wait for the first byte, so that whatever is refused before it has a status of its own. A
client that has gone is noticed elsewhere (gateway.http.endpoint); here nothing fails for it.
"""

import time
from collections.abc import Iterator, Mapping

from starlette.types import Send

from gateway.calls import BudgetLeft, Completion, Message, Reasoning, Text, ToolUse
from gateway.config import Deployment
from gateway.http.counted import FAILED_WITH
from gateway.http.problems import Problem
from gateway.http.wires import ClientRequest, Wire, Writer
from gateway.listening import Delta, ReasoningDelta, TextDelta, ToolBegun, ToolDelta
from gateway.policy.money import decimal_usd
from gateway.policy.usage import Usage
from gateway.providers.wire_json import dumps

_STREAM = "text/event-stream; charset=utf-8"
_JSON = "application/json"
_SAMPLING = ("temperature", "top_p")  # not for models that count reasoning


class Reply:
    """Answers one call; it is the call's listener."""

    def __init__(self, send: Send, wire: Wire) -> None:
        self._send = send
        self._wire = wire
        self._call_key = ""
        self._request: ClientRequest | None = None
        self._keep = False
        self._kept: list[bytes] = []
        self._begun = False
        self._complete = False  # the client has the end of its stream, or its error
        self._deployment: Deployment | None = None
        self._left: BudgetLeft | None = None
        self._as_it_is = False
        self._writer: Writer | None = None
        self._closing = b""

    def asked(self, request: ClientRequest, call_key: str, *, keep: bool) -> None:
        """What the client asked for; before that it can only have a problem. keep: a replay will want
        the stream, too."""
        self._request = request
        self._call_key = call_key
        self._keep = keep

    # What the gateway tells

    @property
    def begun(self) -> bool:
        return self._begun

    @property
    def wants_deltas(self) -> bool:
        return self._streamed and not self._as_it_is

    def answering(
        self, deployment: Deployment, attempt_id: str, *, as_it_is: bool, left: BudgetLeft | None
    ) -> None:
        self._deployment = deployment
        self._left = left
        self._as_it_is = as_it_is
        self._writer = None

    async def block(self, raw: bytes, data: str) -> None:
        if not self._streamed or self._request is None or self._wire.surplus(self._request, data):
            return
        self._complete = self._complete or self._wire.ends(data) or self._wire.failed(data)
        await self._write(raw)

    async def deltas(self, deltas: list[Delta]) -> None:
        if written := self._own_writer().deltas(deltas):
            await self._write(written)

    def rendered(self, message: Message, finish_reason: str, usage: Usage | None, document: bytes) -> str:
        if not self._streamed:
            if self._as_it_is and document:
                return document.decode()
            return dumps(self._own_writer().whole(message, finish_reason, usage)).decode()
        if not self._begun and self._as_it_is:  # the provider would not stream
            self._closing = _told_at_once(self._own_writer(), message, finish_reason, usage)
        elif not self._as_it_is:
            self._closing = self._own_writer().end(finish_reason, usage)
        return b"".join([*self._kept, self._closing]).decode() if self._keep else ""

    # What the client gets

    async def finish(self, completion: Completion) -> None:
        """The answer, or the rest of its stream."""
        if self._streamed and self._begun:
            await self._body(self._closing, more=False)
            return
        given = completion.replayed or completion.cached
        body = self._closing if self._closing and not given else completion.rendered.encode()
        self._left = completion.left
        headers = self._headers(completion.deployment, _source(completion))
        if completion.cached:
            headers["x-curb-saved"] = decimal_usd(completion.saved_nano_usd)
        headers["x-curb-cost"] = decimal_usd(0 if completion.replayed else completion.cost_nano_usd)
        if not self._streamed:
            headers["content-length"] = str(len(body))
        await self._start(200, _STREAM if self._streamed else _JSON, headers)
        await self._body(body, more=False)

    async def tell(self, document: bytes) -> None:
        """A document that is not the answer of a call."""
        await self._start(200, _JSON, {"content-length": str(len(document))})
        await self._body(document, more=False)

    async def fail(self, problem: Problem) -> None:
        """Why there is no answer; in a stream that has begun, its last event."""
        if self._begun:
            last = b"" if self._complete else self._wire.error_event(problem)
            await self._body(last, more=False, failed_with=None if self._complete else problem.status)
            return
        body = dumps(problem.as_json(self._wire.family))
        headers = {**self._ids(), **problem.headers(_now_ms()), "content-length": str(len(body))}
        await self._start(problem.status, _JSON, headers)
        await self._body(body, more=False)

    @property
    def _streamed(self) -> bool:
        return self._request is not None and self._request.streamed

    def _own_writer(self) -> Writer:
        """The writer of this attempt; an answer has a call's id and the provider's name for the model."""
        assert self._request is not None
        assert self._deployment is not None
        if self._writer is None:
            answer_id = "".join(c if c.isalnum() else "-" for c in self._call_key.removeprefix("http:"))
            model, created = self._deployment.model, _now_ms() // 1000
            self._writer = self._wire.writer(self._request, answer_id, model, created)
        return self._writer

    def _ids(self) -> dict[str, str]:
        key = self._call_key
        return {"x-curb-call-id": key, self._wire.request_id: key} if key else {}

    def _headers(self, deployment: str, cache: str) -> dict[str, str]:
        """What is known when an answer begins."""
        headers = {**self._ids(), "x-curb-deployment": deployment, "x-curb-cache": cache}
        if (left := self._left) is not None:
            amount = decimal_usd(left.amount_nano_usd)
            headers["x-curb-budget-left"] = f"{amount}; {left.scope} per {left.period}"
        if left_out := self._left_out():
            headers["x-curb-left-out"] = ", ".join(left_out)
        return headers

    def _left_out(self) -> tuple[str, ...]:
        """What the translation at hand does without."""
        request, deployment = self._request, self._deployment
        if self._as_it_is or request is None or deployment is None:
            return ()
        if deployment.max_tokens_field == "max_tokens":
            return request.left_out
        sampling = (name for name in _SAMPLING if request.document.get(name) is not None)
        return (*request.left_out, *sampling)

    async def _write(self, data: bytes) -> None:
        if not self._begun:
            name = self._deployment.name if self._deployment else ""
            await self._start(200, _STREAM, self._headers(name, "none"))
        if self._keep:
            self._kept.append(data)
        await self._body(data, more=True)

    async def _start(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        self._begun = True
        pairs = {"content-type": content_type, **headers}
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in pairs.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _body(self, data: bytes, *, more: bool, failed_with: int | None = None) -> None:
        said = {} if failed_with is None else {FAILED_WITH: failed_with}
        await self._send({"type": "http.response.body", "body": data, "more_body": more, **said})


def _source(completion: Completion) -> str:
    """Where an answer came from."""
    if completion.replayed:
        return "replayed"
    if not completion.cached:
        return "none"
    return "similar" if completion.similar else "hit"


def _told_at_once(writer: Writer, message: Message, finish_reason: str, usage: Usage | None) -> bytes:
    """A whole answer as the stream that was asked for."""
    return writer.deltas(list(_deltas_of(message))) + writer.end(finish_reason, usage)


def _deltas_of(message: Message) -> Iterator[Delta]:
    tools = 0
    for part in message.parts:
        match part:
            case Text(text=text):
                yield TextDelta(text)
            case Reasoning(text=text):
                yield ReasoningDelta(text)
            case ToolUse(id=identity, name=name, arguments=arguments):
                yield ToolBegun(tools, identity, name)
                yield ToolDelta(tools, arguments)
                tools += 1


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
