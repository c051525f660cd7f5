"""Answers of other families in Anthropic's words: documents and streams of /v1/messages.

What other models think aloud carries no signature, and Anthropic takes no thinking back without one:
it is not shown, so that a conversation can go on with any model.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.calls import Message, Text, ToolUse
from gateway.listening import Delta, ReasoningDelta, TextDelta, ToolBegun, ToolDelta
from gateway.policy.usage import Usage
from gateway.providers.wire_json import dumps

_STOP = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


class AnthropicWriter:
    """Writes one answer. answer_id, model: what it says of itself."""

    def __init__(self, answer_id: str, model: str) -> None:
        self._base = {"id": f"msg_{answer_id}", "type": "message", "role": "assistant", "model": model}
        self._begun = False
        self._index = -1
        self._open: object = None  # "text", or the position of the tool call whose block is open
        self._tools: dict[int, int] = {}

    def whole(self, message: Message, finish_reason: str, usage: Usage | None) -> dict[str, Any]:
        """The answer as one document."""
        return {
            **self._base,
            "content": list(_content(message)),
            "stop_reason": _STOP.get(finish_reason, "end_turn"),
            "stop_sequence": None,
            "usage": _usage(usage),
        }

    def deltas(self, deltas: Sequence[Delta]) -> bytes:
        """Events of a stream for what was added to the answer."""
        return self._opening() + b"".join(self._delta(delta) for delta in deltas)

    def end(self, finish_reason: str, usage: Usage | None) -> bytes:
        """The last events: why it ended, and what was used."""
        delta = {"stop_reason": _STOP.get(finish_reason, "end_turn"), "stop_sequence": None}
        out = self._opening() + self._close()
        out += _event("message_delta", {"delta": delta, "usage": _usage(usage)})
        return out + _event("message_stop", {})

    def _opening(self) -> bytes:
        """What the provider counts comes at the end; until then the counts are zero."""
        if self._begun:
            return b""
        self._begun = True
        nothing: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
        message = {**self._base, **nothing, "usage": _usage(None)}
        return _event("message_start", {"message": message})

    def _delta(self, delta: Delta) -> bytes:
        match delta:
            case TextDelta(text):
                begin = b"" if self._open == "text" else self._begin("text", {"type": "text", "text": ""})
                return begin + self._piece(self._index, {"type": "text_delta", "text": text})
            case ReasoningDelta():
                return b""
            case ToolBegun(position, identity, name):
                block = {"type": "tool_use", "id": identity, "name": name, "input": {}}
                begun = self._begin(position, block)
                self._tools[position] = self._index
                return begun
            case ToolDelta(position, arguments):
                index = self._tools.get(position, self._index)
                return self._piece(index, {"type": "input_json_delta", "partial_json": arguments})

    def _begin(self, what: object, block: dict[str, Any]) -> bytes:
        closed = self._close()
        self._index += 1
        self._open = what
        return closed + _event("content_block_start", {"index": self._index, "content_block": block})

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return _event("content_block_stop", {"index": self._index})

    def _piece(self, index: int, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", {"index": index, "delta": delta})


def _content(message: Message) -> Iterator[dict[str, Any]]:
    for part in message.parts:
        match part:
            case Text(text=text):
                yield {"type": "text", "text": text}
            case ToolUse(id=identity, name=name, arguments=arguments):
                yield {"type": "tool_use", "id": identity, "name": name, "input": _input(arguments)}


def _input(arguments: str) -> dict[str, Any]:
    """Arguments as an object; what the model wrote wrongly is shown as it was."""
    try:
        value = json.loads(arguments)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def _usage(usage: Usage | None) -> dict[str, int]:
    counted = usage or Usage()
    return {
        "input_tokens": counted.input_tokens,
        "output_tokens": counted.output_tokens,
        "cache_read_input_tokens": counted.cache_read_tokens,
        "cache_creation_input_tokens": counted.cache_write_tokens,
    }


def _event(name: str, body: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + dumps({"type": name, **body}) + b"\n\n"
