"""Spans as values, before they are put into anybody's format."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Value = str | bool | int | float | Sequence[str]


@dataclass(frozen=True, slots=True)
class Span:
    """One span. Times are Unix nanoseconds. attributes: of OpenTelemetry's conventions and curb's own.
    langfuse: what Langfuse reads besides. error: '' where all went well."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    langfuse: Mapping[str, Value] = field(default_factory=dict)
    outgoing: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """One score of a trace. id: computed, so that a score that is sent again replaces itself."""

    id: str
    trace_id: str
    name: str
    value: float | str
    kind: Literal["NUMERIC", "CATEGORICAL"] = "NUMERIC"
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What one subject comes to."""

    spans: tuple[Span, ...] = ()
    scores: tuple[Score, ...] = ()


def nanoseconds(at: datetime | None, otherwise: datetime) -> int:
    """Unix nanoseconds."""
    return int((at or otherwise).timestamp() * 1_000_000) * 1_000


def given(attributes: Mapping[str, Value | None]) -> dict[str, Value]:
    """Those that say something."""
    return {name: value for name, value in attributes.items() if value not in (None, "", ())}


def as_json(value: object) -> str:
    """Compact JSON, as Langfuse reads structured attributes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
