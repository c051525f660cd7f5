"""Ids of traces and spans, computed from what they tell of: a span that is sent twice is the same span.

Formats: W3C Trace Context, level 1 (32 and 16 hexadecimal digits, not all zero).
"""

import hashlib
import re
from dataclasses import dataclass, replace

from gateway.calls import Caller

TRACEPARENT = "traceparent"
_HEADER = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_SAMPLE_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a trace something belongs: the trace, and the span above; '' for none."""

    trace_id: str = ""
    span_id: str = ""


def placed(caller: Caller, call_key: str) -> Caller:
    """The same caller with a trace: its own, else that of its run (of the one at the top), else the call's;
    below its step where nothing else is above it."""
    top = caller.ancestors[-1] if caller.ancestors else caller.run_id
    trace_id = caller.trace_id or trace_of(top or call_key)
    span_id = caller.span_id or (step_span(caller.run_id, caller.step) if caller.step else "")
    return replace(caller, trace_id=trace_id, span_id=span_id)


def trace_of(name: str) -> str:
    """The trace of a run (the one at the top) or of a call that belongs to none."""
    return _digest("trace", name, 16)


def run_span(run_id: str) -> str:
    """The span of a whole run."""
    return _digest("run", run_id, 8)


def step_span(run_id: str, step: int) -> str:
    """The span of one step of a run."""
    return _digest("step", f"{run_id}/{step}", 8)


def attempt_span(attempt_id: str) -> str:
    """The span of one attempt at a provider."""
    return _digest("attempt", attempt_id, 8)


def tool_span(run_id: str, step: int, digest: str) -> str:
    """The span of one tool call. digest: gateway.digests.digest. A run that it hands over to is called so."""
    return delegated_span(f"{run_id}.{step}.{digest[:8]}")


def delegated_span(child_run_id: str) -> str:
    """The span of the tool call that a run was delegated by."""
    return _digest("tool", child_run_id, 8)


def read_traceparent(header: str) -> Place:
    """What a `traceparent` header says; an empty Place for what is none."""
    written = header.strip().lower()
    found = _HEADER.fullmatch(written)
    if found is None or written.startswith("ff") or not int(found[1], 16) or not int(found[2], 16):
        return Place()
    return Place(found[1], found[2])


def write_traceparent(place: Place) -> str:
    """The header that says so: always sampled, since what is kept is decided where it is told."""
    return f"00-{place.trace_id}-{place.span_id}-01"


def is_sampled(trace_id: str, ratio: float) -> bool:
    """Whether this trace is among the share that is kept: the same answer for all of its spans."""
    return int(trace_id[:_SAMPLE_DIGITS], 16) < ratio * float(1 << 4 * _SAMPLE_DIGITS)


def _digest(kind: str, name: str, size: int) -> str:
    found = hashlib.blake2b(f"curb/{kind}/{name}".encode(), digest_size=size).hexdigest()
    return found if int(found, 16) else found[:-1] + "1"
