"""OpenAI's Responses API: requests pass on as they are, streamed or not.

Who answers such a request in another way gets it translated; see gateway.http.responses_request.
https://platform.openai.com/docs/api-reference/responses
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.calls import Message, ModelRequest, Part, Reasoning, Text, ToolUse, WireRequest
from gateway.config import Api, Deployment, FamilyName, Provider
from gateway.listening import Delta
from gateway.providers.answers import Progress, ProviderAnswer
from gateway.providers.errors import ErrorKind, ProviderError, from_stream
from gateway.providers.exchange import Hearing, now_ms
from gateway.providers.http import Http
from gateway.providers.openai import sent
from gateway.providers.sse import SseEvent
from gateway.providers.usage import responses_usage
from gateway.providers.wire_json import dumps, loads

_ENDS = ("response.completed", "response.incomplete")
# Events that carry what was made, as text under `delta`.
_PIECES = (
    "response.output_text.delta",
    "response.refusal.delta",
    "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta",
    "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta",
)


class OpenAIResponses:
    """See gateway.providers.base.Family."""

    name: FamilyName = "openai"
    api: Api = "responses"

    def encode(self, request: ModelRequest, deployment: Deployment, max_output_tokens: int) -> bytes:
        """Neutral requests go to the chat API: whoever speaks this one speaks that, too."""
        raise ProviderError(
            ErrorKind.INVALID_REQUEST, f"{deployment.name} is asked by chat completions", sent=False
        )

    def pass_on(self, request: WireRequest, deployment: Deployment, max_output_tokens: int) -> bytes:
        return dumps({**request.document, "model": deployment.model, "max_output_tokens": max_output_tokens})

    async def send(
        self,
        http: Http,
        provider: Provider,
        deployment: Deployment,
        body: bytes,
        *,
        attempt_id: str,
        timeout_seconds: float,
        before_send: Callable[[], None],
        progress: Progress | None = None,
        hearing: Hearing | None = None,
    ) -> ProviderAnswer:
        progress = progress if progress is not None else Progress()
        return await sent(
            http,
            provider,
            "/responses",
            body,
            lambda: ResponseReader(provider.name, progress),
            attempt_id=attempt_id,
            timeout_seconds=timeout_seconds,
            before_send=before_send,
            progress=progress,
            hearing=hearing if hearing is not None else Hearing(),
        )


class ResponseReader:
    """Reads a response, of which the last event has the whole; see gateway.providers.exchange.Reader."""

    deltas: list[Delta] | None = None

    def __init__(self, provider: str, progress: Progress) -> None:
        self._provider = provider
        self._progress = progress
        self._document: Mapping[str, Any] | None = None

    @property
    def finished(self) -> bool:
        return self._document is not None

    @property
    def ended(self) -> bool:
        return self._document is not None

    def feed(self, event: SseEvent) -> None:
        if event.data.strip() == "[DONE]":
            return
        said = loads(event.data)
        kind = said["type"]
        if kind in _PIECES:
            self._seen(said["delta"])
        elif kind in _ENDS:
            self.whole(said["response"])
        elif kind == "response.failed":
            self._note(said["response"])
            raise from_stream(self._provider, said["response"].get("error"), self._progress.partial())
        elif kind == "error":
            raise from_stream(self._provider, said.get("error") or said, self._progress.partial())
        elif kind == "response.created":
            self._note(said["response"])

    def whole(self, document: Mapping[str, Any]) -> None:
        """Read a whole response."""
        self._note(document)
        if document.get("error") or document.get("status") == "failed":
            raise from_stream(self._provider, document.get("error"), self._progress.partial())
        if document["status"] not in ("completed", "incomplete"):
            raise ValueError(f"a response that is {str(document['status'])[:40]} is none yet")
        list(_parts(document))
        self._document = document

    def answer(self, done_ms: int) -> ProviderAnswer:
        assert self._document is not None
        progress = self._progress
        message = Message(role="assistant", parts=tuple(_parts(self._document)))
        return ProviderAnswer(
            message=message,
            finish_reason=_finish(self._document, message),
            usage=progress.usage,
            provider_usage=progress.provider_usage,
            provider_request_id=progress.provider_request_id,
            first_token_ms=progress.first_token_ms,
            done_ms=done_ms,
        )

    def _note(self, document: Mapping[str, Any]) -> None:
        progress = self._progress
        progress.provider_request_id = progress.provider_request_id or str(document.get("id") or "")
        if usage := document.get("usage"):
            progress.provider_usage = dict(usage)
            progress.usage = responses_usage(usage)

    def _seen(self, piece: str) -> None:
        if not isinstance(piece, str):
            raise TypeError("a piece of the answer is no text")
        if piece and self._progress.first_token_ms is None:
            self._progress.first_token_ms = now_ms()
        self._progress.text_characters += len(piece)


def _parts(document: Mapping[str, Any]) -> Iterator[Part]:
    """What is in an answer, as far as it has neutral words."""
    for item in document["output"]:
        match item["type"]:
            case "message":
                for part in item["content"]:
                    yield Text(text=part.get("text") or part.get("refusal") or "")
            case "reasoning":
                words = "".join(part["text"] for part in item.get("summary") or ())
                yield Reasoning(text=words)
            case "function_call":
                yield ToolUse(id=item["call_id"], name=item["name"], arguments=item["arguments"] or "{}")


def _finish(document: Mapping[str, Any], message: Message) -> str:
    if document["status"] == "incomplete":
        reason = (document.get("incomplete_details") or {}).get("reason")
        return {"max_output_tokens": "length", "content_filter": "content_filter"}.get(str(reason), "other")
    return "tool_calls" if message.tool_uses else "stop"
