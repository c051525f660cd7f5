"""Answers of other APIs in the words of OpenAI's Responses API: documents and streams.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.calls import Message, Reasoning, Text, ToolUse
from gateway.http.fields import Json
from gateway.listening import Delta, ReasoningDelta, TextDelta, ToolBegun, ToolDelta
from gateway.policy.usage import Usage
from gateway.providers.wire_json import dumps

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
# What was asked stands in the answer, too.
_REPEATED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}


@dataclass
class _Item:
    """One item of the output while it is told. head: what it has beside its text."""

    kind: Literal["message", "reasoning", "function_call"]
    head: dict[str, Any]
    pieces: list[str] = field(default_factory=list)

    def told(self, status: str) -> dict[str, Any]:
        """The item as it stands in an answer."""
        said = "".join(self.pieces)
        if self.kind == "message":
            return {**self.head, "status": status, "content": [_text_part(said)]}
        if self.kind == "reasoning":
            return {**self.head, "summary": [{"type": "summary_text", "text": said}]}
        return {**self.head, "status": status, "arguments": said}

    def begun(self) -> dict[str, Any]:
        """The item before anything is in it."""
        empty: dict[str, Any] = {"message": {"content": []}, "reasoning": {"summary": []}}.get(
            self.kind, {"arguments": ""}
        )
        return {**self.head, "status": "in_progress", **empty}


class ResponsesWriter:
    """Writes one answer. asked: the request's document. created: Unix seconds."""

    def __init__(self, asked: Json, answer_id: str, model: str, created: int) -> None:
        self._id = answer_id
        self._base = {
            "id": f"resp_{answer_id}",
            "object": "response",
            "created_at": created,
            "model": model,
            **{
                name: otherwise if asked.get(name) is None else asked[name]
                for name, otherwise in _REPEATED.items()
            },
        }
        self._items: list[_Item] = []
        self._tools: dict[int, _Item] = {}
        self._number = -1

    def whole(self, message: Message, finish_reason: str, usage: Usage | None) -> dict[str, Any]:
        """The answer as one document."""
        self._items = []
        for part in message.parts:
            match part:
                case Text(text=said):
                    self._open("message").pieces.append(said)
                case Reasoning(text=said):
                    self._open("reasoning").pieces.append(said)
                case ToolUse(id=identity, name=name, arguments=arguments):
                    self._open("function_call", call_id=identity, name=name).pieces.append(arguments)
        return self._ended(finish_reason, usage)

    def deltas(self, deltas: Sequence[Delta]) -> bytes:
        """Events of a stream for what was added to the answer."""
        return b"".join([*self._opening(), *(event for delta in deltas for event in self._delta(delta))])

    def end(self, finish_reason: str, usage: Usage | None) -> bytes:
        """The last events: the last item is done, and the answer is."""
        events = [*self._opening(), *self._closed()]
        document = self._ended(finish_reason, usage)
        events.append(self._event(f"response.{document['status']}", response=document))
        return b"".join(events)

    def _opening(self) -> Iterator[bytes]:
        if self._number < 0:
            document = {**self._base, "status": "in_progress", "output": [], "usage": None}
            yield self._event("response.created", response=document)
            yield self._event("response.in_progress", response=document)

    def _delta(self, delta: Delta) -> Iterator[bytes]:
        match delta:
            case TextDelta(said):
                yield from self._into("message")
                yield self._piece("response.output_text.delta", said, content_index=0, logprobs=[])
            case ReasoningDelta(said):
                yield from self._into("reasoning")
                yield self._piece("response.reasoning_summary_text.delta", said, summary_index=0)
            case ToolBegun(position, identity, name):
                yield from self._closed()
                self._tools[position] = self._open("function_call", call_id=identity, name=name)
                yield self._added()
            case ToolDelta(position, arguments):
                item = self._tools[position]
                item.pieces.append(arguments)
                yield self._event(
                    "response.function_call_arguments.delta",
                    item_id=item.head["id"],
                    output_index=self._items.index(item),
                    delta=arguments,
                )

    def _into(self, kind: Literal["message", "reasoning"]) -> Iterator[bytes]:
        """Begin an item of this kind unless one is open."""
        if self._items and self._items[-1].kind == kind:
            return
        yield from self._closed()
        self._open(kind)
        yield self._added()
        yield self._part_event("added", "")

    def _piece(self, event: str, said: str, **where: Any) -> bytes:
        item = self._items[-1]
        item.pieces.append(said)
        place = {"item_id": item.head["id"], "output_index": len(self._items) - 1}
        return self._event(event, **place, **where, delta=said)

    def _added(self) -> bytes:
        return self._event(
            "response.output_item.added", output_index=len(self._items) - 1, item=self._items[-1].begun()
        )

    def _closed(self) -> Iterator[bytes]:
        """Whatever is open is done. Calls of tools are all done when something else begins, or the end."""
        if not self._items:
            return
        item, said = self._items[-1], "".join(self._items[-1].pieces)
        place = {"item_id": item.head["id"], "output_index": len(self._items) - 1}
        match item.kind:
            case "message":
                yield self._event(
                    "response.output_text.done", **place, content_index=0, text=said, logprobs=[]
                )
                yield self._part_event("done", said)
            case "reasoning":
                yield self._event("response.reasoning_summary_text.done", **place, summary_index=0, text=said)
                yield self._part_event("done", said)
            case "function_call":
                yield self._event(
                    "response.function_call_arguments.done",
                    **place,
                    name=item.head["name"],
                    arguments=said,
                )
        yield self._event(
            "response.output_item.done", output_index=len(self._items) - 1, item=item.told("completed")
        )

    def _part_event(self, what: str, said: str) -> bytes:
        item = self._items[-1]
        place = {"item_id": item.head["id"], "output_index": len(self._items) - 1}
        if item.kind == "message":
            part: dict[str, Any] = _text_part(said)
            return self._event(f"response.content_part.{what}", **place, content_index=0, part=part)
        part = {"type": "summary_text", "text": said}
        return self._event(f"response.reasoning_summary_part.{what}", **place, summary_index=0, part=part)

    def _open(self, kind: Literal["message", "reasoning", "function_call"], **head: Any) -> _Item:
        prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc"}[kind]
        own = {"id": f"{prefix}_{self._id}_{len(self._items)}", "type": kind, **head}
        if kind == "message":
            own["role"] = "assistant"
        item = _Item(kind, own)
        self._items.append(item)
        return item

    def _ended(self, finish_reason: str, usage: Usage | None) -> dict[str, Any]:
        why = _INCOMPLETE.get(finish_reason)
        status = "incomplete" if why else "completed"
        return {
            **self._base,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": why} if why else None,
            "output": [item.told(status) for item in self._items],
            "usage": None if usage is None else _usage(usage),
        }

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        body = {"type": kind, "sequence_number": self._number, **fields}
        return b"event: " + kind.encode() + b"\ndata: " + dumps(body) + b"\n\n"


def _text_part(said: str) -> dict[str, Any]:
    return {"type": "output_text", "text": said, "annotations": [], "logprobs": []}


def _usage(usage: Usage) -> dict[str, Any]:
    """Their input tokens include cached ones."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
    }
