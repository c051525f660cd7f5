"""Anthropic messages. base_url ends where `/v1/messages` begins: https://api.anthropic.com."""

import json
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
from gateway.providers.errors import ErrorKind, ProviderError, from_stream
from gateway.providers.exchange import Hearing, asked, exchange, now_ms
from gateway.providers.http import Http
from gateway.providers.sse import SseEvent
from gateway.providers.usage import anthropic_usage
from gateway.providers.wire_json import dumps, loads

VERSION = "2023-06-01"
_CACHED = {"type": "ephemeral"}
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicMessages:
    """The Anthropic messages family; see gateway.providers.base.Family."""

    name: FamilyName = "anthropic"
    api: Api = "chat"

    def encode(self, request: ModelRequest, deployment: Deployment, max_output_tokens: int) -> bytes:
        """Cache breakpoints: the end of tools and system, and, where the conversation will go on,
        the end of its last message, which the next step reads back."""
        if request.n > 1:
            raise ProviderError(
                ErrorKind.INVALID_REQUEST,
                f"{deployment.name} gives one answer per request; n is {request.n}",
                sent=False,
                fallback=True,
            )
        body: dict[str, Any] = {"model": deployment.model, "max_tokens": max_output_tokens, "stream": True}
        body |= _prefix(request)
        body["messages"] = _messages(request)
        goes_on = bool(request.tools) or any(item.role == "assistant" for item in request.messages)
        if goes_on and body["messages"]:
            _break_after(body["messages"][-1]["content"])
        if request.tools and request.tool_choice is not None:
            body["tool_choice"] = _choice(request.tool_choice)
        if request.temperature is not None:
            body["temperature"] = min(request.temperature, 1.0)
        if request.top_p is not None:
            body["top_p"] = request.top_p
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        if request.end_user:
            body["metadata"] = {"user_id": request.end_user}
        return dumps(body)

    def pass_on(self, request: WireRequest, deployment: Deployment, max_output_tokens: int) -> bytes:
        return dumps({**request.document, "model": deployment.model, "max_tokens": max_output_tokens})

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
        version = {} if "anthropic-version" in (hearing.headers or {}) else {"anthropic-version": VERSION}
        started = time.monotonic()

        async def send(key: str) -> ProviderAnswer:
            return await exchange(
                http,
                provider,
                "/v1/messages",
                body,
                {**version, **({"x-api-key": key} if key else {})},
                MessageReader(provider.name, progress, hearing.deltas),
                attempt_id=attempt_id,
                timeout_seconds=timeout_seconds - (time.monotonic() - started),
                before_send=before_send,
                progress=progress,
                hearing=hearing,
            )

        return await http.keys.using(provider, progress, send)


async def count_tokens(
    http: Http, provider: Provider, deployment: Deployment, request: WireRequest, *, timeout_seconds: float
) -> bytes:
    """Have the provider count a request's tokens; its answer as it came. Raises ProviderError."""
    body = dumps({**request.document, "model": deployment.model})
    version = {} if "anthropic-version" in request.headers else {"anthropic-version": VERSION}
    progress = Progress()

    async def send(key: str) -> bytes:
        headers = {**version, **request.headers, **({"x-api-key": key} if key else {})}
        return await asked(
            http, provider, "/v1/messages/count_tokens", body, headers, timeout_seconds=timeout_seconds
        )

    return await http.keys.using(provider, progress, send)


@dataclass(slots=True)
class _Block:
    """position: of a tool's, among the answer's tool calls."""

    start: Mapping[str, Any]
    position: int = 0
    pieces: list[str] = field(default_factory=list)
    signature: str = ""


class MessageReader:
    """Puts an answer together from Anthropic's message events."""

    def __init__(self, provider: str, progress: Progress, deltas: list[Delta] | None = None) -> None:
        self._provider = provider
        self._progress = progress
        self.deltas = deltas
        self._blocks: dict[int, _Block] = {}
        self._stop_reason = ""
        self._final_usage = False
        self.ended = False

    @property
    def finished(self) -> bool:
        return self.ended

    def feed(self, event: SseEvent) -> None:
        """Unknown events are passed over, as the protocol demands."""
        body = loads(event.data)
        match body["type"]:
            case "message_start":
                self._start(body["message"])
            case "content_block_start":
                self._blocks[body["index"]] = self._begin(body["content_block"])
            case "content_block_delta":
                self._delta(self._blocks[body["index"]], body["delta"])
            case "message_delta":
                self._stop_reason = str(body["delta"].get("stop_reason") or self._stop_reason)
                self._usage(body.get("usage"), final=True)
            case "message_stop":
                self.ended = True
            case "error":
                raise from_stream(self._provider, body["error"], self._progress.partial())

    def whole(self, document: Mapping[str, Any]) -> None:
        """Read an answer that was not streamed, although streaming was asked for."""
        if document.get("type") == "error":
            raise from_stream(self._provider, document["error"], self._progress.partial())
        self._start(document)
        for index, content in enumerate(document["content"]):
            self._blocks[index] = block = self._begin(content)
            if content["type"] == "tool_use":
                block.pieces.append(self._seen(json.dumps(content["input"], ensure_ascii=False)))
        self._stop_reason = str(document["stop_reason"])
        self._usage(document.get("usage"), final=True)
        self.ended = True

    def answer(self, done_ms: int) -> ProviderAnswer:
        progress = self._progress
        parts = (self._part(block) for _, block in sorted(self._blocks.items()))
        return ProviderAnswer(
            message=Message(role="assistant", parts=tuple(part for part in parts if part is not None)),
            finish_reason=_FINISH.get(self._stop_reason, "other"),
            usage=anthropic_usage(progress.provider_usage) if self._final_usage else None,
            provider_usage=progress.provider_usage,
            provider_request_id=progress.provider_request_id,
            first_token_ms=progress.first_token_ms,
            done_ms=done_ms,
        )

    def _start(self, message: Mapping[str, Any]) -> None:
        self._progress.provider_request_id = self._progress.provider_request_id or str(message["id"])
        self._usage(message.get("usage"), final=False)

    def _begin(self, block: Mapping[str, Any]) -> _Block:
        tools = sum(known.start["type"] == "tool_use" for known in self._blocks.values())
        begun = _Block(block, tools)
        begun.pieces.append(self._seen(block.get("text") or block.get("thinking") or ""))
        begun.signature = str(block.get("signature") or "")
        if block["type"] == "tool_use":
            self._add(ToolBegun(tools, str(block["id"]), self._seen(block["name"])))
        elif block.get("text"):
            self._add(TextDelta(block["text"]))
        return begun

    def _delta(self, block: _Block, delta: Mapping[str, Any]) -> None:
        match delta["type"]:
            case "text_delta":
                block.pieces.append(self._seen(delta["text"]))
                self._add(TextDelta(delta["text"]))
            case "thinking_delta":
                block.pieces.append(self._seen(delta["thinking"]))
                self._add(ReasoningDelta(delta["thinking"]))
            case "input_json_delta":
                block.pieces.append(self._seen(delta["partial_json"]))
                self._add(ToolDelta(block.position, delta["partial_json"]))
            case "signature_delta":
                block.signature += str(delta["signature"])

    def _add(self, delta: Delta) -> None:
        if self.deltas is not None:
            self.deltas.append(delta)

    def _usage(self, reported: Mapping[str, Any] | None, *, final: bool) -> None:
        """Counts are cumulative; what the end does not repeat stands as it was at the start."""
        if reported is None:
            return
        known = {name: value for name, value in reported.items() if value is not None}
        self._progress.provider_usage = {**self._progress.provider_usage, **known}
        self._progress.usage = anthropic_usage(self._progress.provider_usage)
        self._final_usage = self._final_usage or (final and "output_tokens" in known)

    def _seen(self, text: str) -> str:
        if not isinstance(text, str):
            raise TypeError("a piece of the answer is no text")
        if text and self._progress.first_token_ms is None:
            self._progress.first_token_ms = now_ms()
        self._progress.text_characters += len(text)
        return text

    def _part(self, block: _Block) -> Part | None:
        text = "".join(block.pieces)
        match block.start["type"]:
            case "text":
                return Text(text=text) if text else None
            case "tool_use":
                return ToolUse(id=block.start["id"], name=block.start["name"], arguments=text or "{}")
            case "thinking":
                return Reasoning(text=text, signature=block.signature)
            case "redacted_thinking":
                return Reasoning(text="", signature=str(block.start["data"]))
        return None


def _prefix(request: ModelRequest) -> dict[str, Any]:
    """Tools and system, with a cache breakpoint at the end of whichever comes last."""
    prefix: dict[str, Any] = {}
    leading = "\n\n".join(filter(None, [request.system, *(item.text for item in _leading(request))]))
    if request.tools:
        prefix["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
            for tool in request.tools
        ]
    if leading:
        prefix["system"] = [{"type": "text", "text": leading}]
    _break_after(prefix.get("system") or prefix.get("tools") or [])
    return prefix


def _choice(choice: ToolChoice) -> dict[str, Any]:
    wire: dict[str, Any] = {"type": {"required": "any"}.get(choice.mode, choice.mode)}
    if choice.mode == "tool":
        wire["name"] = choice.name
    if choice.parallel is False and choice.mode != "none":
        wire["disable_parallel_tool_use"] = True
    return wire


def _break_after(blocks: list[dict[str, Any]]) -> None:
    """Set a cache breakpoint on the last block that can carry one (thinking cannot)."""
    for block in reversed(blocks):
        if block.get("type") not in ("thinking", "redacted_thinking"):
            block["cache_control"] = _CACHED
            return


def _leading(request: ModelRequest) -> Iterator[Message]:
    """System messages at the head of the conversation: they belong to the system prompt."""
    for message in request.messages:
        if message.role != "system":
            return
        yield message


def _messages(request: ModelRequest) -> list[dict[str, Any]]:
    """Merge neighbours of one role: tool results must all stand in the one message that follows."""
    merged: list[dict[str, Any]] = []
    for message in request.messages[len(list(_leading(request))) :]:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [block for part in message.parts if (block := _block(part)) is not None]
        if not blocks:
            continue
        if merged and merged[-1]["role"] == role:
            merged[-1]["content"].extend(blocks)
        else:
            merged.append({"role": role, "content": blocks})
    return merged


def _block(part: Part) -> dict[str, Any] | None:
    """One content block; None for what this wire refuses (empty text, reasoning of others)."""
    match part:
        case Text(text=text):
            return {"type": "text", "text": text} if text.strip() else None
        case Image():
            return {"type": "image", "source": _source(part)}
        case ToolUse(id=identity, name=name, arguments=arguments):
            return {"type": "tool_use", "id": identity, "name": name, "input": _input(arguments)}
        case ToolResult():
            return _result(part)
        case Reasoning(text="", signature=data) if data:
            return {"type": "redacted_thinking", "data": data}
        case Reasoning(text=text, signature=signature) if signature:
            return {"type": "thinking", "thinking": text, "signature": signature}
    return None


def _source(image: Image) -> dict[str, Any]:
    if image.url:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": image.media_type, "data": image.data}


def _input(arguments: str) -> dict[str, Any]:
    """Arguments as an object; what the model wrote wrongly is shown to it as it was."""
    try:
        value = json.loads(arguments)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def _result(result: ToolResult) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": result.tool_use_id}
    if result.content:
        block["content"] = result.content
    if result.is_error:
        block["is_error"] = True
    return block
