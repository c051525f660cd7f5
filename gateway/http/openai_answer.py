"""Answers of other families in OpenAI's words: documents and streams of /v1/chat/completions."""

from collections.abc import Sequence
from typing import Any

from gateway.calls import Message, Reasoning
from gateway.listening import Delta, ReasoningDelta, TextDelta, ToolBegun, ToolDelta
from gateway.policy.usage import Usage
from gateway.providers.wire_json import dumps

DONE = b"data: [DONE]\n\n"
_FINISH = frozenset({"stop", "length", "tool_calls", "content_filter"})


class OpenAIWriter:
    """Writes one answer. answer_id, model: what it says of itself. created: Unix seconds."""

    def __init__(self, answer_id: str, model: str, created: int, *, include_usage: bool) -> None:
        self._base = {"id": f"chatcmpl-{answer_id}", "created": created, "model": model}
        self._include_usage = include_usage
        self._begun = False

    def whole(self, message: Message, finish_reason: str, usage: Usage | None) -> dict[str, Any]:
        """The answer as one document."""
        said: dict[str, Any] = {"role": "assistant", "content": message.text or None, "refusal": None}
        reasoning = "".join(part.text for part in message.parts if isinstance(part, Reasoning))
        if reasoning:
            said["reasoning_content"] = reasoning
        calls = [
            {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": use.arguments}}
            for use in message.tool_uses
        ]
        if calls:
            said["tool_calls"] = calls
        choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": _finish(finish_reason)}
        document = {**self._base, "object": "chat.completion", "choices": [choice]}
        return document if usage is None else {**document, "usage": _usage(usage)}

    def deltas(self, deltas: Sequence[Delta]) -> bytes:
        """Chunks of a stream for what was added to the answer."""
        return self._opening() + b"".join(self._chunk(_delta(delta)) for delta in deltas)

    def end(self, finish_reason: str, usage: Usage | None) -> bytes:
        """The last chunks: why it ended, what was used if that was asked for, and the end."""
        out = self._opening() + self._chunk({}, _finish(finish_reason))
        if self._include_usage and usage is not None:
            out += self._event({"choices": [], "usage": _usage(usage)})
        return out + DONE

    def _opening(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return self._chunk({"role": "assistant", "content": ""})

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def _event(self, body: dict[str, Any]) -> bytes:
        return b"data: " + dumps({**self._base, "object": "chat.completion.chunk", **body}) + b"\n\n"


def _delta(delta: Delta) -> dict[str, Any]:
    match delta:
        case TextDelta(text):
            return {"content": text}
        case ReasoningDelta(text):
            return {"reasoning_content": text}
        case ToolBegun(position, identity, name):
            function = {"name": name, "arguments": ""}
            return {
                "tool_calls": [{"index": position, "id": identity, "type": "function", "function": function}]
            }
        case ToolDelta(position, arguments):
            return {"tool_calls": [{"index": position, "function": {"arguments": arguments}}]}


def _finish(reason: str) -> str:
    return reason if reason in _FINISH else "stop"


def _usage(usage: Usage) -> dict[str, Any]:
    """Their prompt tokens include cached ones."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
