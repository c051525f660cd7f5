"""Anthropic's side of the wire: message events, whole messages, errors, usage."""

import hashlib
import json
from typing import Any

from gateway.providers.simulator.generation import Generation, Piece, Segment
from gateway.providers.simulator.invoice import Row

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_DELTAS = {
    "reasoning": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
    "call": ("input_json_delta", "partial_json"),
}


class AnthropicWire:
    """Writes one answer."""

    starts_early = True

    def __init__(self, generation: Generation, row: Row) -> None:
        self._generation = generation
        self._row = row
        self._index = -1
        self._open: Segment | None = None

    def start(self) -> bytes:
        message = {
            **self._message([]),
            "stop_reason": None,
            "usage": {**self._prompt_usage(), "output_tokens": 1},
        }
        return _event("message_start", {"message": message}) + _event("ping", {})

    def piece(self, piece: Piece) -> bytes:
        opening = b""
        if piece.segment is not self._open:
            opening = self._close_block() + self._open_block(piece.segment)
        kind, field = _DELTAS[piece.segment.kind]
        delta = {"index": self._index, "delta": {"type": kind, field: piece.text}}
        return opening + _event("content_block_delta", delta)

    def end(self, *, refused: bool) -> bytes:
        """Close the last block; why the message ended comes with the usage."""
        self._refused = refused
        return self._close_block()

    def usage(self) -> bytes:
        delta = {"stop_reason": self._stop_reason(self._refused), "stop_sequence": None}
        reported = self._reported()
        body = {"delta": delta} if reported is None else {"delta": delta, "usage": reported}
        return _event("message_delta", body) + _event("message_stop", {})

    def error(self) -> bytes:
        return _event("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})

    def whole(self, pieces: list[Piece], *, refused: bool) -> dict[str, Any]:
        written: dict[int, str] = {}
        segments = {id(piece.segment): piece.segment for piece in pieces}
        for piece in pieces:
            written[id(piece.segment)] = written.get(id(piece.segment), "") + piece.text
        content = [_content(segment, written[key]) for key, segment in segments.items()]
        message = {**self._message(content), "stop_reason": self._stop_reason(refused)}
        reported = self._reported()
        return message if reported is None else {**message, "usage": reported}

    def _message(self, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._row.id.replace("req_", "msg_"),
            "type": "message",
            "role": "assistant",
            "model": self._row.model,
            "content": content,
            "stop_sequence": None,
            **({"simulator": self._generation.asked.passed} if self._generation.asked.passed else {}),
        }

    def _open_block(self, segment: Segment) -> bytes:
        self._index += 1
        self._open = segment
        empty: dict[str, Any] = {"type": "text", "text": ""}
        if segment.kind == "reasoning":
            empty = {"type": "thinking", "thinking": "", "signature": ""}
        if segment.kind == "call":
            empty = {"type": "tool_use", "id": segment.call_id, "name": segment.call_name, "input": {}}
        return _event("content_block_start", {"index": self._index, "content_block": empty})

    def _close_block(self) -> bytes:
        segment, self._open = self._open, None
        if segment is None:
            return b""
        signed = b""
        if segment.kind == "reasoning":
            delta = {"type": "signature_delta", "signature": _signature(segment.text)}
            signed = _event("content_block_delta", {"index": self._index, "delta": delta})
        return signed + _event("content_block_stop", {"index": self._index})

    def _stop_reason(self, refused: bool) -> str:
        return "refusal" if refused else _STOP_REASONS[self._generation.finish(0)]

    def _prompt_usage(self) -> dict[str, int]:
        tokens = self._row.tokens
        return {
            "input_tokens": -1 if self._generation.manner.usage == "bad" else tokens.input,
            "cache_creation_input_tokens": tokens.cache_write,
            "cache_read_input_tokens": tokens.cache_read,
        }

    def _reported(self) -> dict[str, int] | None:
        usage, output = self._generation.manner.usage, self._row.tokens.output
        if usage == "none":
            return None
        return {**self._prompt_usage(), "output_tokens": output // 2 if usage == "wrong" else output}


def error_body(status: int, code: str, message: str) -> dict[str, Any]:
    """An error answer as Anthropic words it."""
    del code
    return {"type": "error", "error": {"type": _TYPES.get(status, "api_error"), "message": message}}


def model_list(names: tuple[str, ...]) -> dict[str, Any]:
    """GET /v1/models, all on one page."""
    mine = [name for name in names if name.startswith("claude")]
    models = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"}
        for name in mine
    ]
    return {"data": models, "has_more": False, "first_id": mine[0], "last_id": mine[-1]}


def _content(segment: Segment, text: str) -> dict[str, Any]:
    if segment.kind == "reasoning":
        return {"type": "thinking", "thinking": text, "signature": _signature(segment.text)}
    if segment.kind == "text":
        return {"type": "text", "text": text}
    try:
        arguments = json.loads(text)
    except ValueError:  # max_tokens cut it
        arguments = {}
    return {"type": "tool_use", "id": segment.call_id, "name": segment.call_name, "input": arguments}


def _signature(thinking: str) -> str:
    return hashlib.blake2b(thinking.encode(), digest_size=24).hexdigest()


def _event(name: str, body: dict[str, Any]) -> bytes:
    data = json.dumps({"type": name, **body}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {data}\n\n".encode()
