"""The APIs of the two families: how requests of each are read and its answers written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.calls import Message, WireRequest
from gateway.config import FamilyName
from gateway.http.anthropic_answer import AnthropicWriter
from gateway.http.anthropic_request import AnthropicRequest
from gateway.http.embeddings_request import EmbeddingsRequest
from gateway.http.openai_answer import OpenAIWriter
from gateway.http.openai_request import OpenAIRequest
from gateway.http.problems import Problem
from gateway.http.responses_answer import ResponsesWriter
from gateway.http.responses_request import ResponsesRequest
from gateway.listening import Delta
from gateway.policy.usage import Usage
from gateway.providers.wire_json import dumps, loads

_RESPONSE_ENDS = ("response.completed", "response.incomplete", "response.failed")


class ClientRequest(Protocol):
    """A request as its family's reader leaves it. left_out: hints that a translation did without."""

    document: Mapping[str, Any]
    streamed: bool
    end_user: str
    left_out: tuple[str, ...]

    def wire(self) -> WireRequest: ...


class Writer(Protocol):
    """Writes an answer of another family in the client's words."""

    def whole(self, message: Message, finish_reason: str, usage: Usage | None) -> dict[str, Any]: ...
    def deltas(self, deltas: Sequence[Delta]) -> bytes: ...
    def end(self, finish_reason: str, usage: Usage | None) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Wire:
    """One API of one family.

    writer: for a request, the answer's id, the model and the time (Unix seconds). surplus: whether a
    block of a provider's stream came only because curb asked for it. ends: whether nothing follows
    it. failed: whether it is an error. error_event: a problem in the middle of a stream.
    """

    family: FamilyName
    path: str
    request_id: str
    read: Callable[[Mapping[str, Any], Mapping[str, str]], ClientRequest]
    writer: Callable[[ClientRequest, str, str, int], Writer]
    surplus: Callable[[ClientRequest, str], bool]
    ends: Callable[[str], bool]
    failed: Callable[[str], bool]
    error_event: Callable[[Problem], bytes]


def _openai_writer(request: ClientRequest, answer_id: str, model: str, created: int) -> Writer:
    asked = isinstance(request, OpenAIRequest) and request.include_usage
    return OpenAIWriter(answer_id, model, created, include_usage=asked)


def _usage_alone(request: ClientRequest, data: str) -> bool:
    """The chunk after the last of an answer's, which has usage and no choices."""
    if not isinstance(request, OpenAIRequest) or request.include_usage or '"usage"' not in data:
        return False
    chunk = _object(data)
    return bool(chunk.get("usage")) and chunk.get("choices") == []


def _openai_error(data: str) -> bool:
    return '"error"' in data and bool(_object(data).get("error"))


def _anthropic_error(data: str) -> bool:
    return '"error"' in data and _object(data).get("type") == "error"


def _responses_error(problem: Problem) -> bytes:
    """Their error event says it without an object around it, as documented, and with one, as it is read."""
    error = problem.as_json("openai").get("error", {})
    said = {"code": problem.code, "message": problem.message, "param": problem.param or None}
    body = {"type": "error", "sequence_number": 0, **said, "error": error}
    return b"event: error\ndata: " + dumps(body) + b"\n\n"


def _chat_error(problem: Problem) -> bytes:
    return b"data: " + dumps(problem.as_json("openai")) + b"\n\n"


def _messages_error(problem: Problem) -> bytes:
    return b"event: error\ndata: " + dumps(problem.as_json("anthropic")) + b"\n\n"


def _responses_end(data: str) -> bool:
    return '"response.' in data and _object(data).get("type") in _RESPONSE_ENDS


def _responses_failed(data: str) -> bool:
    return '"error"' in data and _object(data).get("type") in ("error", "response.failed")


def _object(data: str) -> dict[str, Any]:
    try:
        value = loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


OPENAI = Wire(
    family="openai",
    path="/v1/chat/completions",
    request_id="x-request-id",
    read=OpenAIRequest,
    writer=_openai_writer,
    surplus=_usage_alone,
    ends=lambda data: data.strip() == "[DONE]",
    failed=_openai_error,
    error_event=_chat_error,
)
RESPONSES = Wire(
    family="openai",
    path="/v1/responses",
    request_id="x-request-id",
    read=ResponsesRequest,
    writer=lambda request, answer_id, model, created: ResponsesWriter(
        request.document, answer_id, model, created
    ),
    surplus=lambda request, data: False,
    ends=_responses_end,
    failed=_responses_failed,
    error_event=_responses_error,
)
EMBEDDINGS = Wire(
    family="openai",
    path="/v1/embeddings",
    request_id="x-request-id",
    read=EmbeddingsRequest,
    writer=_openai_writer,
    surplus=lambda request, data: False,
    ends=lambda data: False,
    failed=lambda data: False,
    error_event=_chat_error,
)
ANTHROPIC = Wire(
    family="anthropic",
    path="/v1/messages",
    request_id="request-id",
    read=AnthropicRequest,
    writer=lambda request, answer_id, model, created: AnthropicWriter(answer_id, model),
    surplus=lambda request, data: False,
    ends=lambda data: '"message_stop"' in data and _object(data).get("type") == "message_stop",
    failed=_anthropic_error,
    error_event=_messages_error,
)
