"""OpenAI chat completions: OpenAI, Groq, Together, Gemini's compatible endpoint, LiteLLM, vLLM.

base_url ends where `/chat/completions` begins, for example https://api.openai.com/v1.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.calls import (
    Image,
    Message,
    ModelRequest,
    Part,
    Reasoning,
    Text,
    ToolChoice,
    ToolResult,
    ToolUse,
    WireRequest,
)
from gateway.config import Api, Deployment, FamilyName, Provider
from gateway.listening import Delta, ReasoningDelta, TextDelta, ToolBegun, ToolDelta
from gateway.providers.answers import Progress, ProviderAnswer
from gateway.providers.errors import from_stream
from gateway.providers.exchange import Hearing, Reader, exchange, now_ms
from gateway.providers.http import Http
from gateway.providers.sse import SseEvent
from gateway.providers.usage import openai_usage
from gateway.providers.wire_json import dumps, loads

_LIMITS = ("max_tokens", "max_completion_tokens")
_FINISH = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class OpenAIChat:
    """The OpenAI chat-completions family; see gateway.providers.base.Family."""

    name: FamilyName = "openai"
    api: Api = "chat"

    def encode(self, request: ModelRequest, deployment: Deployment, max_output_tokens: int) -> bytes:
        """Temperature and top_p are left out for models that count reasoning (max_completion_tokens):
        they refuse any but their own, and a fallback to one must not fail for it."""
        body: dict[str, Any] = {
            "model": deployment.model,
            "messages": [*_system(request), *_messages(request)],
            deployment.max_tokens_field: max_output_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.tools:
            body["tools"] = [_tool(tool.name, tool.description, tool.input_schema) for tool in request.tools]
            body |= _choice(request.tool_choice)
        if deployment.max_tokens_field == "max_tokens":
            sampling = {"temperature": request.temperature, "top_p": request.top_p}
            body |= {name: value for name, value in sampling.items() if value is not None}
        if request.stop:
            body["stop"] = list(request.stop)
        if request.n > 1:
            body["n"] = request.n
        if request.end_user:
            body["user"] = request.end_user
        return dumps(body)

    def pass_on(self, request: WireRequest, deployment: Deployment, max_output_tokens: int) -> bytes:
        """A stream's usage is always asked for: without it nobody could say what it cost."""
        body = {name: value for name, value in request.document.items() if name not in _LIMITS}
        body |= {"model": deployment.model, deployment.max_tokens_field: max_output_tokens}
        if request.streamed:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        return dumps(body)

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
        hearing = hearing if hearing is not None else Hearing()
        return await sent(
            http,
            provider,
            "/chat/completions",
            body,
            lambda: ChatReader(provider.name, attempt_id, progress, hearing.deltas),
            attempt_id=attempt_id,
            timeout_seconds=timeout_seconds,
            before_send=before_send,
            progress=progress,
            hearing=hearing,
        )


async def sent(
    http: Http,
    provider: Provider,
    path: str,
    body: bytes,
    reader: Callable[[], Reader],
    *,
    attempt_id: str,
    timeout_seconds: float,
    before_send: Callable[[], None],
    progress: Progress,
    hearing: Hearing,
) -> ProviderAnswer:
    """One attempt at any of OpenAI's APIs, with one of the provider's keys. See Family.send."""
    started = time.monotonic()

    async def send(key: str) -> ProviderAnswer:
        return await exchange(
            http,
            provider,
            path,
            body,
            {"authorization": f"Bearer {key}"} if key else {},
            reader(),
            attempt_id=attempt_id,
            timeout_seconds=timeout_seconds - (time.monotonic() - started),
            before_send=before_send,
            progress=progress,
            hearing=hearing,
        )

    return await http.keys.using(provider, progress, send)


@dataclass(slots=True)
class _ToolCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Choice:
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: dict[object, _ToolCall] = field(default_factory=dict)
    finish: str = ""


class ChatReader:
    """Puts an answer together from chat.completion.chunk events."""

    def __init__(
        self, provider: str, attempt_id: str, progress: Progress, deltas: list[Delta] | None = None
    ) -> None:
        self._provider = provider
        self._attempt_id = attempt_id
        self._progress = progress
        self.deltas = deltas
        self._choices: dict[int, _Choice] = {}
        self.ended = False

    @property
    def finished(self) -> bool:
        """Every choice said why it ended; servers that leave out [DONE] are taken at that word."""
        return bool(self._choices) and all(choice.finish for choice in self._choices.values())

    def feed(self, event: SseEvent) -> None:
        if event.data.strip() == "[DONE]":
            self.ended = True
            return
        chunk = loads(event.data)
        if chunk.get("error"):
            raise from_stream(self._provider, chunk["error"], self._progress.partial())
        self._note(chunk)
        for choice in chunk.get("choices") or ():
            self._delta(choice, choice.get("delta") or {})

    def whole(self, document: Mapping[str, Any]) -> None:
        """Read an answer that was not streamed, although streaming was asked for."""
        if document.get("error"):
            raise from_stream(self._provider, document["error"], self._progress.partial())
        self._note(document)
        for choice in document["choices"]:
            self._delta(choice, choice["message"])

    def answer(self, done_ms: int) -> ProviderAnswer:
        messages = [self._message(index, choice) for index, choice in sorted(self._choices.items())]
        first = self._choices[min(self._choices)]
        reported = self._progress.provider_usage
        return ProviderAnswer(
            message=messages[0],
            finish_reason=_finish(first),
            usage=openai_usage(reported) if reported else None,
            provider_usage=reported,
            provider_request_id=self._progress.provider_request_id,
            first_token_ms=self._progress.first_token_ms,
            done_ms=done_ms,
            alternatives=tuple(messages[1:]),
        )

    def _note(self, chunk: Mapping[str, Any]) -> None:
        """Keep the request's id and the usage, wherever this provider puts it (Groq: x_groq)."""
        progress = self._progress
        progress.provider_request_id = progress.provider_request_id or str(chunk.get("id") or "")
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
        if usage:
            progress.provider_usage = dict(usage)
            progress.usage = openai_usage(usage)

    def _delta(self, choice: Mapping[str, Any], delta: Mapping[str, Any]) -> None:
        index = int(choice.get("index") or 0)
        state = self._choices.setdefault(index, _Choice())
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if reasoning:
            state.reasoning.append(self._seen(reasoning))
            self._add(index, ReasoningDelta(reasoning))
        if delta.get("content"):
            state.text.append(self._seen(delta["content"]))
            self._add(index, TextDelta(delta["content"]))
        for position, call in enumerate(delta.get("tool_calls") or ()):
            self._tool_call(index, state, call, position)
        state.finish = str(choice.get("finish_reason") or state.finish)

    def _tool_call(self, choice: int, state: _Choice, call: Mapping[str, Any], position: int) -> None:
        """Add to the call of this index; without one (Gemini), a new name is a new call."""
        function = call.get("function") or {}
        index: object = call.get("index")
        if index is None:
            begun = bool(function.get("name")) or not state.calls
            index = ("unnumbered", len(state.calls), position) if begun else list(state.calls)[-1]
        slot = state.calls.setdefault(index, _ToolCall())
        slot.id = slot.id or str(call.get("id") or "")
        begins = not slot.name
        slot.name = slot.name or self._seen(str(function.get("name") or ""))
        place = list(state.calls).index(index)
        if begins and slot.name:
            self._add(choice, ToolBegun(place, self._identity(choice, place, slot), slot.name))
        if function.get("arguments"):
            slot.arguments.append(self._seen(function["arguments"]))
            self._add(choice, ToolDelta(place, function["arguments"]))

    def _add(self, choice: int, delta: Delta) -> None:
        if self.deltas is not None and choice == 0:
            self.deltas.append(delta)

    def _seen(self, text: str) -> str:
        if not isinstance(text, str):
            raise TypeError("a piece of the answer is no text")
        if text and self._progress.first_token_ms is None:
            self._progress.first_token_ms = now_ms()
        self._progress.text_characters += len(text)
        return text

    def _message(self, index: int, choice: _Choice) -> Message:
        parts: list[Part] = []
        if choice.reasoning:
            parts.append(Reasoning(text="".join(choice.reasoning)))
        if choice.text:
            parts.append(Text(text="".join(choice.text)))
        for position, call in enumerate(choice.calls.values()):
            identity = self._identity(index, position, call)
            parts.append(ToolUse(id=identity, name=call.name, arguments="".join(call.arguments) or "{}"))
        return Message(role="assistant", parts=tuple(parts))

    def _identity(self, choice: int, position: int, call: _ToolCall) -> str:
        """The call's id; one made up where the provider (Gemini) gives none."""
        made_up = hashlib.blake2b(f"{self._attempt_id}/{choice}/{position}".encode(), digest_size=12)
        return call.id or f"call_{made_up.hexdigest()}"


def _finish(choice: _Choice) -> str:
    """Gemini says `stop` even where it asks for tools."""
    finish = _FINISH.get(choice.finish, "other")
    return "tool_calls" if choice.calls and finish == "stop" else finish


def _system(request: ModelRequest) -> Iterator[dict[str, Any]]:
    if request.system:
        yield {"role": "system", "content": request.system}


def _messages(request: ModelRequest) -> Iterator[dict[str, Any]]:
    for message in request.messages:
        yield from _message(message)


def _message(message: Message) -> Iterator[dict[str, Any]]:
    """One message of ours is several on this wire where it holds tool results."""
    for part in message.parts:
        if isinstance(part, ToolResult):
            yield {"role": "tool", "tool_call_id": part.tool_use_id, "content": part.content}
    if message.role == "assistant":
        yield _assistant(message)
    elif message.role == "system":
        yield {"role": "system", "content": message.text}
    elif any(isinstance(part, Text | Image) for part in message.parts):
        yield {"role": "user", "content": _content(message)}


def _assistant(message: Message) -> dict[str, Any]:
    """Reasoning is not sent back: this wire has no place for it."""
    wire: dict[str, Any] = {"role": "assistant", "content": message.text or None}
    calls = [
        {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": use.arguments}}
        for use in message.tool_uses
    ]
    if calls:
        wire["tool_calls"] = calls
    elif not message.text:
        wire["content"] = ""
    return wire


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not any(isinstance(part, Image) for part in message.parts):
        return message.text
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            url = part.url or f"data:{part.media_type};base64,{part.data}"
            content.append({"type": "image_url", "image_url": {"url": url}})
    return content


def _choice(choice: ToolChoice | None) -> dict[str, Any]:
    if choice is None:
        return {}
    named = {"type": "function", "function": {"name": choice.name}}
    wire: dict[str, Any] = {"tool_choice": named if choice.mode == "tool" else choice.mode}
    return wire if choice.parallel is None else wire | {"parallel_tool_calls": choice.parallel}


def _tool(name: str, description: str, schema: Mapping[str, object]) -> dict[str, Any]:
    function = {"name": name, "description": description, "parameters": schema}
    return {"type": "function", "function": function}
