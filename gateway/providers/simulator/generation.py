"""The tokens of an answer, one after the other, billed as they are produced."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.providers.simulator.asked import Asked, count
from gateway.providers.simulator.behaviours import HALF, Behaviour
from gateway.providers.simulator.invoice import Row
from gateway.providers.simulator.scripts import Plan, arguments_json, plan
from gateway.providers.simulator.texts import TOKEN_CHARACTERS, babble
from gateway.providers.simulator.traces import Trace

_PIECES_PER_SEGMENT = 8  # where tokens take no time, they come in at most so many pieces
_LEAST_PIECE_MS = 5.0  # where they do, a piece takes at least so long


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one answer: reasoning, text, or one tool call with its JSON arguments."""

    choice: int
    kind: Literal["reasoning", "text", "call"]
    text: str
    call_id: str = ""
    call_name: str = ""

    @property
    def tokens(self) -> int:
        return count(self.text) + count(self.call_name)


@dataclass(frozen=True, slots=True)
class Piece:
    """What is sent at once. first, last: of its segment (last is not set where max_tokens cut it)."""

    segment: Segment
    text: str
    tokens: int
    first: bool
    last: bool


@dataclass(frozen=True, slots=True)
class Manner:
    """How the wire behaves in this request. Token positions count from the answer's start."""

    first_token_ms: float = 0.0
    token_ms: float = 0.0
    hang_at: int | None = None
    cut_at: int | None = None
    error_at: int | None = None
    garbage_at: int | None = None
    refuse_at: int | None = None
    cut_final: bool = False
    usage: Literal["right", "none", "bad", "wrong"] = "right"

    @property
    def stop_at(self) -> int | None:
        """After how many tokens the model produces nothing more."""
        stops = (self.hang_at, self.cut_at, self.error_at, self.garbage_at, self.refuse_at)
        return min((stop for stop in stops if stop is not None), default=None)


class Meter(Protocol):
    """Counts what is produced; the invoice is one."""

    def produced(self, row: Row, output: int, reasoning: int) -> None: ...


class Generation:
    """One request being answered; `finish` is a choice's reason to end: stop, length or tool_calls."""

    def __init__(self, asked: Asked, segments: tuple[Segment, ...], manner: Manner) -> None:
        self.asked = asked
        self.segments = segments
        self.manner = manner
        self._truncated: set[int] = set()

    async def pieces(self, meter: Meter, row: Row) -> AsyncIterator[Piece]:
        """Produce the answer at its pace, up to max_tokens and the manner's stop.

        Each piece is on the meter before it is yielded. Hangs for ever where the manner says so.
        """
        await _pause(self.manner.first_token_ms)
        left = self.manner.stop_at
        for piece in self._all_pieces():
            if left is not None and piece.tokens > left:
                piece = _shortened(piece, left)
            await _pause(piece.tokens * self.manner.token_ms)
            if piece.tokens:
                meter.produced(row, piece.tokens, piece.tokens if piece.segment.kind == "reasoning" else 0)
                yield piece
            left = left - piece.tokens if left is not None else None
            if left == 0:
                break
        if self.manner.hang_at is not None:
            await asyncio.Event().wait()

    def finish(self, choice: int) -> str:
        if choice in self._truncated:
            return "length"
        calls = any(each.kind == "call" and each.choice == choice for each in self.segments)
        return "tool_calls" if calls else "stop"

    def _all_pieces(self) -> Iterator[Piece]:
        """Every piece within max_tokens, which counts for each choice apart."""
        for choice in range(self.asked.n):
            left = self.asked.max_tokens
            for segment in (each for each in self.segments if each.choice == choice):
                for piece in _split(segment, self.manner.token_ms):
                    if left is not None and piece.tokens > left:
                        self._truncated.add(choice)
                        piece = _shortened(piece, left)
                    if piece.tokens:
                        yield piece
                    left = left - piece.tokens if left is not None else None
                    if choice in self._truncated:
                        break
                if choice in self._truncated:
                    break


def prepare(
    asked: Asked, behaviour: Behaviour, skipped: frozenset[str], trace: Trace | None, token_ms: float
) -> Generation:
    """Work out the whole answer. skipped: manners with `-once` that have already happened."""
    planned = plan(asked, behaviour.script)
    if trace is not None:
        pace = trace.of(asked.seed)
        planned = Plan(babble(pace.tokens, asked.seed), planned.reasoning, planned.calls)
        token_ms = token_ms or pace.token_ms
    segments = tuple(each for choice in range(asked.n) for each in _segments(asked, planned, choice))
    total = sum(segment.tokens for segment in segments)
    return Generation(asked, segments, _manner(behaviour, skipped, _capped(asked, total), token_ms))


def _segments(asked: Asked, planned: Plan, choice: int) -> Iterator[Segment]:
    if planned.reasoning:
        yield Segment(choice, "reasoning", planned.reasoning)
    if planned.text:
        yield Segment(choice, "text", planned.text)
    for position, (name, arguments) in enumerate(planned.calls):
        unique = hashlib.blake2b(f"{asked.seed}/{asked.step}/{choice}/{position}".encode(), digest_size=12)
        prefix = "toolu_" if asked.wire == "anthropic" else "call_"
        yield Segment(choice, "call", arguments_json(arguments), prefix + unique.hexdigest(), name)


def _capped(asked: Asked, total: int) -> int:
    return total if asked.max_tokens is None else min(total, asked.max_tokens * asked.n)


def _manner(behaviour: Behaviour, skipped: frozenset[str], total: int, token_ms: float) -> Manner:
    def at(name: str) -> int | None:
        number = None if name in skipped else behaviour.number(name)
        return max(total // 2, 1) if number == HALF else number

    def has(name: str) -> bool:
        return name not in skipped and behaviour.manner(name) is not None

    return Manner(
        first_token_ms=at("slow-first") or 0,
        token_ms=at("slow-stream") or token_ms,
        hang_at=at("hang"),
        cut_at=at("cut"),
        error_at=at("error"),
        garbage_at=max(total // 2, 1) if has("bad-json") else None,
        refuse_at=at("refuse-late"),
        cut_final=has("cut-final"),
        usage="none"
        if has("no-usage")
        else "bad"
        if has("bad-usage")
        else "wrong"
        if has("wrong-usage")
        else "right",
    )


def _split(segment: Segment, token_ms: float) -> Iterator[Piece]:
    """Cut a segment into pieces of whole tokens; the tokens of a tool's name belong to the first."""
    total, name_tokens = count(segment.text), count(segment.call_name)
    each = _tokens_at_once(total, token_ms)
    starts = range(0, total, each)
    for start in starts:
        tokens = min(each, total - start)
        text = segment.text[start * TOKEN_CHARACTERS : (start + tokens) * TOKEN_CHARACTERS]
        first, last = start == 0, start + each >= total
        yield Piece(segment, text, tokens + (name_tokens if first else 0), first, last)


def _tokens_at_once(total: int, token_ms: float) -> int:
    if token_ms > 0:
        return max(1, round(_LEAST_PIECE_MS / token_ms))
    return max(1, -(-total // _PIECES_PER_SEGMENT))


def _shortened(piece: Piece, tokens: int) -> Piece:
    """The same piece with only so many tokens; a tool's name is spoken before its arguments."""
    named = min(count(piece.segment.call_name), tokens) if piece.first else 0
    text = piece.text[: (tokens - named) * TOKEN_CHARACTERS]
    return Piece(piece.segment, text, tokens, piece.first, last=False)


async def _pause(milliseconds: float) -> None:
    if milliseconds > 0:
        await asyncio.sleep(milliseconds / 1000)
