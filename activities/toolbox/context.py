"""What a tool may know about the call it serves."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import httpx

from gateway.agents import Agent

Heartbeat = Callable[..., object]


def _no_heartbeat(*details: object) -> None:
    del details


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the caller of a tool knows: the run, the step, and how to say "still alive"."""

    run_id: str = ""
    step: int = 0
    heartbeat: Heartbeat = _no_heartbeat


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Given to a tool that has a parameter annotated with it; the model does not see it.

    idempotency_key: the same at every attempt of one tool call; hand it to whatever you call.
    root: Agent.root, absolute. http: a pooled client of this process (async tools only).
    heartbeat: call it in long work; safe from a tool's thread too.
    cancelled: set when the call was cut or timed out, for sync tools, which only stop when
    they look.
    """

    run_id: str
    step: int
    idempotency_key: str
    agent: Agent
    root: Path
    http: httpx.AsyncClient
    heartbeat: Heartbeat = _no_heartbeat
    cancelled: Event = field(default_factory=Event)
