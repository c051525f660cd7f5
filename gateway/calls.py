"""The values that travel through the gateway: requests, callers, answers.

Neutral between provider families; gateway.providers translates to and from the wire.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.config import Api, CacheUse, FamilyName
from gateway.listening import Listener
from gateway.policy.money import NanoUsd
from gateway.policy.refusals import Refusal
from gateway.policy.usage import Usage


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(_Value):
    type: Literal["text"] = "text"
    text: str


class Image(_Value):
    """An image by value (base64) or by URL; exactly one of the two is set."""

    type: Literal["image"] = "image"
    media_type: str = "image/png"
    data: str = ""
    url: str = ""


class ToolUse(_Value):
    """The model asks for a tool. `arguments` is the JSON text exactly as the model wrote it."""

    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    arguments: str


class ToolResult(_Value):
    type: Literal["tool_result"] = "tool_result"
    tool_use_id: str
    name: str = ""
    content: str
    is_error: bool = False


class Reasoning(_Value):
    """A provider's reasoning block, kept so that it can be sent back (Anthropic's signature)."""

    type: Literal["reasoning"] = "reasoning"
    text: str
    signature: str = ""


Part = Annotated[Text | Image | ToolUse | ToolResult | Reasoning, Field(discriminator="type")]


class Message(_Value):
    """One item of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tool_uses(self) -> tuple[ToolUse, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolUse))


class ToolSpec(_Value):
    """A tool as the model sees it; input_schema is a JSON Schema object."""

    name: str
    description: str = ""
    input_schema: dict[str, object] = Field(
        default_factory=lambda: dict[str, object](type="object", properties={})
    )


class ToolChoice(_Value):
    """Which tools the model may or must use; `tool` names the one. parallel: several at once (None: as
    the provider likes)."""

    mode: Literal["auto", "none", "required", "tool"] = "auto"
    name: str = ""
    parallel: bool | None = None


class ModelRequest(_Value):
    """What is asked of a model, whichever provider answers. end_user: whom the provider may hold to
    account, by whatever name the client has for them."""

    system: str = ""
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    end_user: str = ""


class Untranslatable(ValueError):
    """A request in one family's format has what another family has no counterpart for; names the field."""


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A client's own JSON document, in the format of one family.

    A deployment of that family gets the document as it is, but for what curb must set; another
    family gets `neutral()`, which raises Untranslatable. api: which of the family's it is for; one that
    makes embeddings has an answer of no tokens.
    streamed: whether the client reads a stream. images: how many there are, image_bytes: how much
    of the document is their data. headers: go with the document, to its own family only.
    """

    family: FamilyName
    document: Mapping[str, Any]
    neutral: Callable[[], ModelRequest]
    streamed: bool
    max_output_tokens: int | None = None
    temperature: float | None = None
    n: int = 1
    images: int = 0
    image_bytes: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    api: Api = "chat"


Request = ModelRequest | WireRequest


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: everything a budget, the ledger or a report may want to know.

    ancestors: run ids from the parent upwards; each of their run budgets is charged too. trace_id,
    span_id: the trace that the call belongs to and the span above it (gateway.traces.ids). rate_tier,
    address: of callers of the front door, by which their rates are limited.
    """

    agent: str
    run_id: str = ""
    ancestors: tuple[str, ...] = ()
    step: int = 0
    team: str = ""
    user: str = ""
    key_id: str = ""
    session: str = ""
    endpoint: str = ""
    application: str = ""
    feature: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    trace_id: str = ""
    span_id: str = ""
    prompt_version: str = ""
    mode: Literal["live", "shadow"] = "live"
    rate_tier: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One logical model call.

    key: the call key of DESIGN 1. request: the request, or how to load it once the replay check
    has found no answer. tier: quick, balanced, frontier or max, or the name of one deployment.
    run_budget_nano_usd: the run's launch budget (None: no run budget); those of the runs above it
    and the agent's own daily budget likewise: they hold where the authority knows no limit of just
    that scope. conversation_id: where the answer is stored ('' outside of a run). answered: whether
    there may be an answer under the key, where the caller learns it on the way (None: look).
    cost_aware: choose a cheaper tier by what is left of the agent's day. recheck: an earlier ask of
    the same step was refused and is on record. retried: there may be attempts of this call already,
    perhaps so old that only Postgres knows them.

    What clients of the front door bring besides: listener hears the answer while it comes. keep: store
    the answer under the key, so that asking again is free; with digest, a fingerprint of what was
    asked. silence_seconds: how long a provider's stream may say nothing (None: as long as the attempt
    may take). cache: whether the answer may be one that was bought before.
    """

    key: str
    caller: Caller
    request: Request | Callable[[], Awaitable[ModelRequest]]
    tier: str
    run_budget_nano_usd: int | None = None
    ancestor_budgets_nano_usd: dict[str, int] = field(default_factory=dict)
    agent_daily_budget_nano_usd: int | None = None
    conversation_id: str = ""
    answered: Callable[[], Awaitable[bool]] | None = None
    cost_aware: bool = False
    recheck: bool = False
    retried: bool = False
    timeout_seconds: float = 60.0
    total_timeout_seconds: float = 180.0
    max_attempts: int = 3
    downgrade: bool = True
    listener: Listener | None = None
    keep: bool = True
    digest: str = ""
    silence_seconds: float | None = None
    cache: CacheUse = "off"

    @property
    def heard(self) -> bool:
        """Whether the client has had a byte of an answer: then no other attempt may answer."""
        return self.listener is not None and self.listener.begun

    async def load_request(self) -> Request:
        """The request itself, loaded now where it was given as a loader."""
        return self.request if isinstance(self.request, Request) else await self.request()


class Settlement(_Value):
    """How one attempt ended, complete enough to be booked again by anybody, any time later.

    state: `settled` (cost is final), `released` (never sent), `in_doubt` (sent, outcome
    unknown: counted at its bound; estimate is what had been received by then).
    basis says where the cost comes from: usage, error_answer, estimate, invoice, not_sent, or
    observed: told by an application that called the provider by itself; cache: nobody was asked, and it
    saved what the answer cost when it was bought; batch: usage of all requests of a batch together.
    """

    attempt_id: str
    state: Literal["settled", "released", "in_doubt"]
    cost_nano_usd: int = 0
    estimate_nano_usd: int = 0
    saved_nano_usd: int = 0
    basis: Literal[
        "usage", "error_answer", "estimate", "invoice", "not_sent", "observed", "cache", "batch", "unknown"
    ] = "unknown"
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    price_id: str = ""
    provider_request_id: str = ""
    provider_usage: dict[str, object] = Field(default_factory=dict)
    status: str = ""  # success, error, killed, refused, timeout
    error_type: str = ""
    error_message: str = ""
    finish_reason: str = ""
    first_token_ms: int | None = None  # Unix milliseconds
    done_ms: int | None = None

    @property
    def usage(self) -> Usage:
        return Usage(
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.reasoning_tokens,
        )


class StoredAnswer(_Value):
    """An answer as it is kept under its call key, with the settlement of the attempt that gave it.

    rendered, digest: for clients of the front door, what they got and a fingerprint of what they asked.
    """

    call_key: str
    message: Message
    finish_reason: str
    deployment: str
    settlement: Settlement
    item: int = -1  # its number in the conversation; -1 outside of one
    rendered: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a call came to. settled: its cost is known. cached: bought before, by whomever, which saved its
    price; similar: not for the very same request."""

    message: Message
    finish_reason: str
    deployment: str
    attempt_id: str
    usage: Usage
    cost_nano_usd: NanoUsd
    item: int = -1
    replayed: bool = False
    cached: bool = False
    similar: bool = False
    saved_nano_usd: int = 0
    settled: bool = True
    rendered: str = ""
    digest: str = ""
    left: "BudgetLeft | None" = None


@dataclass(frozen=True, slots=True)
class BudgetLeft:
    """What is left of the hard budget that has least left."""

    scope: str
    period: str
    amount_nano_usd: int


Outcome = Completion | Refusal
