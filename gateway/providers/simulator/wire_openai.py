"""OpenAI's side of the wire: chat.completion and chat.completion.chunk, errors, usage.

Groq's and Gemini's differences are imitated for their models: Groq repeats usage in x_groq, Gemini
leaves reasoning out of completion_tokens and has it in total_tokens only.
"""

import json
import time
from typing import Any

from gateway.providers.simulator.generation import Generation, Piece
from gateway.providers.simulator.invoice import Row

_TYPES = {400: "invalid_request_error", 401: "invalid_request_error", 404: "invalid_request_error"}


class OpenAIWire:
    """Writes one answer."""

    starts_early = False

    def __init__(self, generation: Generation, row: Row) -> None:
        self._generation = generation
        self._row = row
        self._base = {
            "id": row.id.replace("req_", "chatcmpl-"),
            "created": row.at_ms // 1000,
            "model": row.model,
            **({"simulator": generation.asked.passed} if generation.asked.passed else {}),
        }
        self._begun: set[int] = set()
        self._call_index = -1

    def start(self) -> bytes:
        return b""

    def piece(self, piece: Piece) -> bytes:
        choice = piece.segment.choice
        opening = b""
        if choice not in self._begun:
            self._begun.add(choice)
            self._call_index = -1
            opening = self._chunk({"role": "assistant", "content": ""}, choice)
        return opening + self._delta(piece, choice)

    def _delta(self, piece: Piece, choice: int) -> bytes:
        segment = piece.segment
        if segment.kind == "reasoning":  # counted, not shown
            return b""
        if segment.kind == "text":
            return self._chunk({"content": piece.text}, choice)
        call: dict[str, Any] = {"function": {"arguments": piece.text}}
        if piece.first:
            self._call_index += 1
            function = {"name": segment.call_name, "arguments": piece.text}
            call = {"id": segment.call_id, "type": "function", "function": function}
        return self._chunk({"tool_calls": [{"index": self._call_index, **call}]}, choice)

    def end(self, *, refused: bool) -> bytes:
        """The last chunk of each choice: why it ended."""
        chunks = []
        for choice in range(self._generation.asked.n):
            reason = "content_filter" if refused else self._generation.finish(choice)
            chunks.append(self._chunk({}, choice, reason))
        return b"".join(chunks)

    def usage(self) -> bytes:
        """Usage as far as it was asked for, and the end of the stream."""
        reported = self._reported()
        out = b""
        if reported is not None and self._generation.asked.include_usage:
            extra = {"x_groq": {"id": self._row.id, "usage": reported}} if self._groq else {}
            body = {
                **self._base,
                "object": "chat.completion.chunk",
                "choices": [],
                "usage": reported,
                **extra,
            }
            out = _event(body)
        return out + b"data: [DONE]\n\n"

    def error(self) -> bytes:
        return _event({"error": {"message": "The server had an error", "type": "server_error", "code": None}})

    def whole(self, pieces: list[Piece], *, refused: bool) -> dict[str, Any]:
        choices = [self._whole_choice(choice, pieces, refused) for choice in range(self._generation.asked.n)]
        document = {**self._base, "object": "chat.completion", "choices": choices}
        reported = self._reported()
        return document if reported is None else {**document, "usage": reported}

    def _whole_choice(self, choice: int, pieces: list[Piece], refused: bool) -> dict[str, Any]:
        mine = [piece for piece in pieces if piece.segment.choice == choice]
        text = "".join(piece.text for piece in mine if piece.segment.kind == "text")
        arguments: dict[str, str] = {}
        for piece in mine:
            if piece.segment.kind == "call":
                arguments[piece.segment.call_id] = arguments.get(piece.segment.call_id, "") + piece.text
        names = {piece.segment.call_id: piece.segment.call_name for piece in mine}
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        if arguments:
            message["tool_calls"] = [
                {"id": id, "type": "function", "function": {"name": names[id], "arguments": written}}
                for id, written in arguments.items()
            ]
        reason = "content_filter" if refused else self._generation.finish(choice)
        return {"index": choice, "message": message, "finish_reason": reason}

    def _chunk(self, delta: dict[str, Any], choice: int, finish: str | None = None) -> bytes:
        choices = [{"index": choice, "delta": delta, "finish_reason": finish}]
        return _event({**self._base, "object": "chat.completion.chunk", "choices": choices})

    @property
    def _groq(self) -> bool:
        return self._row.price_model.startswith("llama-3.1")

    def _reported(self) -> dict[str, Any] | None:
        tokens, manner = self._row.tokens, self._generation.manner
        if manner.usage == "none":
            return None
        output = tokens.output // 2 if manner.usage == "wrong" else tokens.output
        prompt = tokens.input + tokens.cache_read + tokens.cache_write
        usage: dict[str, Any] = {
            "prompt_tokens": -1 if manner.usage == "bad" else prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": tokens.cache_read},
        }
        if "gemini" in self._row.price_model:
            return usage | {"completion_tokens": output - min(tokens.reasoning, output)}
        reasoning = {"reasoning_tokens": min(tokens.reasoning, output)}
        return usage | {"completion_tokens_details": reasoning}


def error_body(status: int, code: str, message: str) -> dict[str, Any]:
    """An error answer as OpenAI words it."""
    kind = "rate_limit_error" if status == 429 else _TYPES.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code or None}}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def model_list(names: tuple[str, ...]) -> dict[str, Any]:
    """GET /v1/models."""
    created = int(time.time())
    models = [{"id": name, "object": "model", "created": created, "owned_by": "simulator"} for name in names]
    return {"object": "list", "data": models}
