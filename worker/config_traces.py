"""`traces:` in curb.yaml: how much of what happens is told to Langfuse and collectors."""

from dataclasses import dataclass

from pydantic import Field

from gateway.traces.export import TracePolicy
from worker.config_values import Ratio, Seconds, Section


@dataclass(frozen=True, slots=True)
class TracesPlan:
    """policy: what is told. every_seconds: how often it is looked for something to tell."""

    policy: TracePolicy = TracePolicy()
    every_seconds: float = 5.0
    environment: str = ""


class TracesSection(Section):
    """Where they go is in the environment (worker.settings). sample: which share of the traces. content:
    prompts and answers too. environment: what Langfuse sorts by."""

    sample: Ratio = 1.0
    content: bool = False
    every: Seconds = 5.0
    environment: str = Field(default="", pattern=r"^[a-z0-9_-]{0,40}$")


def traces_plan(section: TracesSection) -> TracesPlan:
    """What the section comes to."""
    return TracesPlan(
        TracePolicy(section.sample, section.content), max(section.every, 0.1), section.environment
    )
