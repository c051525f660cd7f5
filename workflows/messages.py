"""Inputs, signals, updates, queries and results of workflows: what people and programs send to runs."""

from typing import Literal

from pydantic import Field

from activities.messages import Parent, RunPlan, TopUp, TopUpDone, Wire
from gateway.agents import Agent

Status = Literal["completed", "failed", "killed", "stopped", "expired"]


class RunState(Wire):
    """What a run carries over continue-as-new; with the plan, messages are answered from the first moment."""

    step: int = 0
    tool_calls: int = 0
    max_steps_extension: int = 0
    cost_nano_usd: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    provider_failures: int = 0
    last_item: int = -1
    limit_nano_usd: int = 0  # of the run's own budget, once it was topped up
    paused_by_hand: str = ""
    started_at: float = 0.0
    runs: int = 1  # links of the chain so far
    plan: RunPlan | None = None


class RunInput(Wire):
    """Start a run. The only required field is `agent`; a person can type this into the Temporal UI.

    task: what to do, in words; programs store it first and pass conversation_id instead, so that
    it stays out of history. budget_usd: dollars as text. traceparent: the trace of whoever starts it (W3C
    Trace Context). continue_after_steps: continue as new at least that often (0: when Temporal suggests
    it).
    """

    agent: str
    task: str = ""
    conversation_id: str = ""
    spec: Agent | None = None
    budget_usd: str = ""
    max_steps: int | None = Field(default=None, gt=0)
    mode: Literal["", "live", "shadow"] = ""
    user: str = ""
    team: str = ""
    session: str = ""
    application: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    traceparent: str = ""
    parent: Parent | None = None
    continue_after_steps: int = Field(default=0, ge=0)
    state: RunState | None = None


class RunStatus(Wire):
    """The answer to the query `status`. Dollars as decimal text."""

    run_id: str
    agent: str
    status: str
    step: int
    max_steps: int
    cost_usd: str
    budget_usd: str
    waiting_for: dict[str, str]
    mode: str


class RunResult(Wire):
    """How a run ended. The final answer is item `answer_item` of the conversation (-1: none)."""

    run_id: str
    status: Status
    reason: str
    steps: int
    cost_nano_usd: int
    in_doubt_nano_usd: int
    prompt_tokens: int
    output_tokens: int
    conversation_id: str
    answer_item: int = -1


class Answer(Wire):
    """A person's answer: their words, or a reference to where the CLI stored them."""

    text: str = ""
    ref: str = ""
    question: str = ""  # the tool call it answers; '' for the only open one


class Deny(Wire):
    call: str
    reason: str = ""


__all__ = [
    "Answer",
    "Deny",
    "Parent",
    "RunInput",
    "RunResult",
    "RunState",
    "RunStatus",
    "Status",
    "TopUp",
    "TopUpDone",
]
