"""OpenAI's Responses API: its requests as chat messages, its events and documents.

Reasoning is counted and not shown, as there.
"""

import json
from collections.abc import Iterator
from typing import Any

from gateway.providers.simulator.asked import Asked, InvalidRequest, Json, read_openai
from gateway.providers.simulator.generation import Generation, Piece, Segment
from gateway.providers.simulator.invoice import Row

_KNOWN = frozenset(
    [
        "model",
        "input",
        "instructions",
        "tools",
        "max_output_tokens",
        "stream",
        "temperature",
        "stream_options",
    ]
)
_LEAST_OUTPUT = 16


def read_responses(body: Json) -> Asked:
    """Read a request to /v1/responses. Raises InvalidRequest."""
    limit = body.get("max_output_tokens")
    if isinstance(limit, int) and limit < _LEAST_OUTPUT:
        raise InvalidRequest(f"max_output_tokens: expected a value >= {_LEAST_OUTPUT}, but got {limit}")
    chat: dict[str, Any] = {
        "model": body.get("model"),
        "messages": list(_messages(body)),
        "tools": [_tool(tool) for tool in body.get("tools") or ()],
        "stream": bool(body.get("stream")),
        "stream_options": {"include_usage": True},
        **({"max_completion_tokens": limit} if limit is not None else {}),
        **{name: value for name, value in body.items() if name not in _KNOWN},
    }
    return read_openai(chat)


def _messages(body: Json) -> Iterator[dict[str, Any]]:
    if body.get("instructions"):
        yield {"role": "developer", "content": body["instructions"]}
    given = body.get("input")
    if isinstance(given, str):
        yield {"role": "user", "content": given}
        return
    if not isinstance(given, list) or not given:
        raise InvalidRequest("input: a string or a list of items is required")
    calls: list[dict[str, Any]] = []
    for item in given:
        kind = item.get("type", "message")
        if kind == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            calls.append({"id": item["call_id"], "type": "function", "function": function})
            continue
        if calls:
            yield {"role": "assistant", "content": None, "tool_calls": calls}
            calls = []
        if kind == "function_call_output":
            yield {"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]}
        elif kind == "message":
            yield {"role": item["role"], "content": _content(item["content"])}
        elif kind != "reasoning":
            raise InvalidRequest(f"input: items of type {kind!r} are not known")
    if calls:
        yield {"role": "assistant", "content": None, "tool_calls": calls}


def _content(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [
        {"type": "text", "text": part["text"]}
        if part["type"] in ("input_text", "output_text")
        else {"type": "image_url", "image_url": {"url": part.get("image_url", "")}}
        for part in content
    ]


def _tool(tool: Json) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise InvalidRequest(f"tools: {tool.get('type')!r} is no function")
    return {"type": "function", "function": {name: tool[name] for name in tool if name != "type"}}


class ResponsesWire:
    """Writes one answer."""

    starts_early = True

    def __init__(self, generation: Generation, row: Row) -> None:
        self._generation = generation
        self._row = row
        passed = generation.asked.passed
        self._base: dict[str, Any] = {
            "id": row.id.replace("req_", "resp_"),
            "object": "response",
            "created_at": row.at_ms // 1000,
            "model": row.model,
            "error": None,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            **({"simulator": passed} if passed else {}),
        }
        self._number = -1
        self._done: list[dict[str, Any]] = []
        self._open: tuple[Segment, list[str]] | None = None

    def start(self) -> bytes:
        body = {**self._base, "status": "in_progress", "output": [], "incomplete_details": None}
        return self._event("response.created", response=body) + self._event(
            "response.in_progress", response=body
        )

    def piece(self, piece: Piece) -> bytes:
        segment = piece.segment
        if segment.kind == "reasoning":
            return b""
        out = b""
        if self._open is None or self._open[0] is not segment:
            out = self._close() + self._begin(segment)
        assert self._open is not None
        self._open[1].append(piece.text)
        place = {"item_id": self._id(), "output_index": len(self._done), "delta": piece.text}
        if segment.kind == "text":
            return out + self._event("response.output_text.delta", **place, content_index=0, logprobs=[])
        return out + self._event("response.function_call_arguments.delta", **place)

    def end(self, *, refused: bool) -> bytes:
        self._refused = refused
        return self._close()

    def usage(self) -> bytes:
        body = self._response(self._done)
        return self._event(f"response.{body['status']}", response=body)

    def error(self) -> bytes:
        said = {"code": "server_error", "message": "The server had an error", "param": None}
        return self._event("error", **said, error={"type": "server_error", **said})

    def whole(self, pieces: list[Piece], *, refused: bool) -> dict[str, Any]:
        self._refused = refused
        for piece in pieces:
            self.piece(piece)
        self._close()
        return self._response(self._done)

    def _begin(self, segment: Segment) -> bytes:
        self._open = (segment, [])
        index = len(self._done)
        if segment.kind == "call":
            item = {**self._item(), "arguments": "", "status": "in_progress"}
            return self._event("response.output_item.added", output_index=index, item=item)
        item = {**self._item(), "content": [], "status": "in_progress"}
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return self._event("response.output_item.added", output_index=index, item=item) + self._event(
            "response.content_part.added", item_id=self._id(), output_index=index, content_index=0, part=part
        )

    def _close(self) -> bytes:
        """The item at hand is done."""
        if self._open is None:
            return b""
        item, index = self._item(), len(self._done)
        place = {"item_id": self._id(), "output_index": index}
        said = "".join(self._open[1])
        if self._open[0].kind == "call":
            out = self._event(
                "response.function_call_arguments.done", **place, name=item["name"], arguments=said
            )
        else:
            out = self._event(
                "response.output_text.done", **place, content_index=0, text=said, logprobs=[]
            ) + self._event("response.content_part.done", **place, content_index=0, part=item["content"][0])
        self._done.append(item)
        self._open = None
        return out + self._event("response.output_item.done", output_index=index, item=item)

    def _item(self) -> dict[str, Any]:
        assert self._open is not None
        segment, said = self._open[0], "".join(self._open[1])
        if segment.kind == "call":
            return {"id": self._id(), "type": "function_call", "call_id": segment.call_id,
                    "name": segment.call_name, "arguments": said, "status": "completed"}  # fmt: skip
        part = {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
        return {"id": self._id(), "type": "message", "role": "assistant", "content": [part],
                "status": "completed"}  # fmt: skip

    def _id(self) -> str:
        assert self._open is not None
        prefix = "fc" if self._open[0].kind == "call" else "msg"
        return f"{prefix}_{self._row.id.removeprefix('req_')}_{len(self._done)}"

    def _response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        reason = "content_filter" if self._refused else self._generation.finish(0)
        why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(reason)
        return {
            **self._base,
            "status": "incomplete" if why else "completed",
            "incomplete_details": {"reason": why} if why else None,
            "output": output,
            "usage": self._reported(),
        }

    _refused = False

    def _reported(self) -> dict[str, Any] | None:
        tokens, manner = self._row.tokens, self._generation.manner
        if manner.usage == "none":
            return None
        output = tokens.output // 2 if manner.usage == "wrong" else tokens.output
        prompt = tokens.input + tokens.cache_read + tokens.cache_write
        return {
            "input_tokens": -1 if manner.usage == "bad" else prompt,
            "input_tokens_details": {"cached_tokens": tokens.cache_read},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": min(tokens.reasoning, output)},
            "total_tokens": prompt + output,
        }

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        body = {"type": kind, "sequence_number": self._number, **fields}
        told = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        return f"event: {kind}\ndata: {told}\n\n".encode()
