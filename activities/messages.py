"""The small values that go to and come from activities, and so into workflow history.

They carry references and numbers, never prompts, arguments or answers (I12). The exception is
`OpenRun.task`: what a person typed into the Temporal UI is in history already.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.agents import Agent
from gateway.policy.refusals import Refusal, RefusalKind

OnBudget = Literal["fail", "pause", "ask"]


class Wire(BaseModel):
    """Base of all messages: frozen; unknown fields are refused, so that a typo in the UI is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Parent(Wire):
    """The runs above a child run, nearest first, with their launch budgets, and what each of them
    does when its budget is exhausted: a child then does the same.
    """

    run_ids: tuple[str, ...]
    budgets_nano_usd: dict[str, int] = Field(default_factory=dict)
    on_budget: dict[str, OnBudget] = Field(default_factory=dict)


class OpenRun(Wire):
    """What is known when a run starts. budget_usd: dollars as text, '' for the agent's own.

    workflow_id: of the workflow that makes the run's calls, where it is not the run id. traceparent: of
    whoever launched it (W3C Trace Context).
    """

    run_id: str
    workflow_id: str = ""
    traceparent: str = ""
    temporal_run_id: str
    agent: str
    spec: Agent | None = None
    task: str = ""
    conversation_id: str = ""
    budget_usd: str = ""
    max_steps: int | None = None
    mode: Literal["", "live", "shadow"] = ""
    user: str = ""
    team: str = ""
    session: str = ""
    application: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    parent: Parent | None = None


class ToolPlan(Wire):
    """How the workflow treats one tool."""

    kind: Literal["tool", "ask_human", "delegate"] = "tool"
    retryable: bool = False
    requires_approval: bool = False
    agent: str = ""


class RunPlan(Wire):
    """The run's snapshot as far as the workflow needs it; the whole is in Postgres (I11)."""

    conversation_id: str
    agent: str
    team: str
    user: str
    mode: Literal["live", "shadow"]
    max_steps: int
    max_tool_calls: int
    budget_nano_usd: int | None
    on_budget: OnBudget
    on_switch: Literal["wait", "stop"]
    max_wait_seconds: float
    deadline_seconds: float
    call_timeout_seconds: float
    total_timeout_seconds: float
    lost_after_seconds: float = 20.0
    depth: int
    parent: Parent | None
    tools: dict[str, ToolPlan]
    search_attributes: bool


class ModelCall(Wire):
    """Ask for one step. recheck: an earlier ask of this step was refused."""

    run_id: str
    step: int
    recheck: bool = False
    inline: bool = False  # return the answer's text too (workflows of the user's own)


class ToolRef(Wire):
    """A tool call by reference: which item of the conversation asks for it, under which id."""

    item: int
    id: str
    name: str
    digest: str


class Refused(Wire):
    """A refusal as workflows see it. Amounts in nano-dollars."""

    kind: RefusalKind
    scope: str = ""
    period: str = ""
    retry_at_ms: int | None = None
    text: str = ""

    @classmethod
    def of(cls, refusal: Refusal) -> "Refused":
        return cls(
            kind=refusal.kind,
            scope=refusal.scope,
            period=refusal.period,
            retry_at_ms=refusal.retry_at_ms,
            text=str(refusal)[:500],
        )


class CallResult(Wire):
    """What a step came to: an answer by reference, a refusal, or a failure that no retry mends."""

    item: int = -1
    finish_reason: str = ""
    tool_calls: tuple[ToolRef, ...] = ()
    prompt_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    deployment: str = ""
    replayed: bool = False
    stop_rule: str = ""
    stop_detail: str = ""
    attempts: int = 0
    refused: Refused | None = None
    error: str = ""
    text: str = ""


class ToolTask(Wire):
    """Run one tool call of a step."""

    run_id: str
    step: int
    call: ToolRef


class ToolDone(Wire):
    """A tool's result is in the conversation."""

    item: int
    is_error: bool = False
    shadowed: bool = False


class ToolAnswer(Wire):
    """Put a result into the conversation without running anything.

    text: a fixed sentence or what a person typed; ref: `conversation:item` of a text stored before.
    """

    run_id: str
    call: ToolRef
    text: str = ""
    ref: str = ""
    is_error: bool = False


class ChildTask(Wire):
    """Prepare a delegated task: its text becomes the first item of a new conversation."""

    run_id: str
    call: ToolRef
    agent: str
    child_run_id: str


class Words(Wire):
    """What a workflow of the user's own says to the model; in history only if that workflow puts it there."""

    run_id: str
    key: str
    text: str


class Escalation(Wire):
    """A question to people. kind: budget, approval or question."""

    run_id: str
    kind: Literal["budget", "approval", "question"]
    key: str
    detail: str = ""
    call: ToolRef | None = None


class TopUp(Wire):
    """Raise a budget. scope '' is the run itself; else for example `agent:coder` with period day."""

    usd: str
    scope: str = ""
    period: Literal["run", "day", "month"] = "day"


class TopUpTask(Wire):
    run_id: str
    top_up_id: str
    top_up: TopUp


class TopUpDone(Wire):
    """The limit that now holds, in dollars as text."""

    scope: str
    limit_usd: str
    note: str = ""


class EndRun(Wire):
    """The run is over."""

    run_id: str
    status: Literal["completed", "failed", "killed", "stopped", "expired"]
    reason: str
    steps: int
    item: int


class RunTotals(Wire):
    """What the run cost by the books when it ended; in doubt is counted apart."""

    cost_nano_usd: int
    in_doubt_nano_usd: int
