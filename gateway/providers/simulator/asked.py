"""Requests of both wire formats, checked as strictly as the real ones, as one value."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

Json = Mapping[str, Any]
Wire = Literal["openai", "anthropic"]
_OPENAI_FIELDS = frozenset(
    [
        "model",
        "messages",
        "tools",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "n",
        "temperature",
        "stop",
    ]
)
_ANTHROPIC_FIELDS = frozenset(
    ["model", "messages", "system", "tools", "max_tokens", "stream", "temperature", "stop_sequences"]
)
_MAX_BREAKPOINTS = 4
_IMAGE_TOKENS = 1024


class InvalidRequest(ValueError):
    """What the real API would answer 400 to; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    schema: Json


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the model made earlier."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool call came to."""

    id: str
    content: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. text: its text parts; calls are the assistant's, results answer them."""

    role: str
    text: str
    calls: tuple[Call, ...] = ()
    results: tuple[Result, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the prompt in the order in which it is cached; breakpoint: cache_control is set."""

    canonical: bytes
    tokens: int
    breakpoint: bool = False


@dataclass(frozen=True)
class Asked:
    """A request: what the scripts look at (turns, tools) and what is counted (blocks).

    passed: the fields that change nothing here; the answer says that they came, under `simulator`.
    """

    wire: Wire
    model: str
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...]
    blocks: tuple[Block, ...]
    max_tokens: int | None
    stream: bool
    include_usage: bool
    n: int
    passed: Json = field(default_factory=dict)

    @property
    def prompt_tokens(self) -> int:
        return sum(block.tokens for block in self.blocks)

    @property
    def step(self) -> int:
        """How many answers the model has given in this conversation."""
        return sum(turn.role == "assistant" for turn in self.turns)

    @property
    def history(self) -> Iterator[tuple[Call, Result]]:
        """Every tool call of the conversation with its result, oldest first."""
        results = {result.id: result for turn in self.turns for result in turn.results}
        return ((call, results[call.id]) for turn in self.turns for call in turn.calls if call.id in results)

    @cached_property
    def seed(self) -> str:
        """The same for the same request, whenever and how often it is sent."""
        digest = hashlib.blake2b(self.model.encode(), digest_size=16)
        for block in self.blocks:
            digest.update(block.canonical)
        return digest.hexdigest()


def read_openai(body: Json) -> Asked:
    """Read a chat-completions request. Raises InvalidRequest."""
    messages = _messages(body)
    turns = tuple(map(_openai_turn, messages))
    _check_pairs_openai(turns)
    tools = tuple(
        Tool(function["name"], function.get("description", ""), function.get("parameters") or {})
        for function in (_field(tool, "function", dict) for tool in body.get("tools") or ())
    )
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    options = body.get("stream_options") or {}
    return Asked(
        wire="openai",
        model=_field(body, "model", str),
        turns=turns,
        tools=tools,
        blocks=tuple(map(_block, [*(body.get("tools") or ()), *messages])),
        max_tokens=None if limit is None else _positive(limit, "max_tokens"),
        stream=bool(body.get("stream")),
        include_usage=bool(options.get("include_usage")),
        n=_positive(body.get("n") or 1, "n"),
        passed=_others(body, _OPENAI_FIELDS),
    )


def read_anthropic(body: Json) -> Asked:
    """Read a messages request. Raises InvalidRequest."""
    messages = _messages(body)
    turns = tuple(map(_anthropic_turn, messages))
    _check_pairs_anthropic(turns)
    system = body.get("system") or ()
    spread = [{"type": "text", "text": system}] if isinstance(system, str) else list(system)
    blocks = tuple(_block(item) for item in [*(body.get("tools") or ()), *spread, *_contents(messages)])
    if sum(block.breakpoint for block in blocks) > _MAX_BREAKPOINTS:
        raise InvalidRequest("A maximum of 4 blocks with cache_control may be provided.")
    if not 0 <= body.get("temperature", 1) <= 1:
        raise InvalidRequest("temperature: Input should be between 0 and 1")
    return Asked(
        wire="anthropic",
        model=_field(body, "model", str),
        turns=turns,
        tools=tuple(
            Tool(tool["name"], tool.get("description", ""), _field(tool, "input_schema", dict))
            for tool in body.get("tools") or ()
        ),
        blocks=blocks,
        max_tokens=_positive(_field(body, "max_tokens", int), "max_tokens"),
        stream=bool(body.get("stream")),
        include_usage=True,
        n=1,
        passed=_others(body, _ANTHROPIC_FIELDS),
    )


def count(text: str) -> int:
    """Tokens of a text: four characters each. Never more than its UTF-8 bytes."""
    return -(-len(text) // 4)


def _others(body: Json, known: frozenset[str]) -> Json:
    return {name: value for name, value in body.items() if name not in known}


def _messages(body: Json) -> Sequence[Json]:
    messages = _field(body, "messages", list)
    if not messages:
        raise InvalidRequest("messages: at least one message is required")
    if not all(isinstance(message, dict) for message in messages):
        raise InvalidRequest("messages: each is an object")
    return list(messages)


def _field(body: Json, name: str, kind: type[Any]) -> Any:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidRequest(f"{name}: Field required, a {kind.__name__}")
    return value


def _positive(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidRequest(f"{name}: {value!r} is not at least 1")
    return value


def _block(item: Json) -> Block:
    """Count and fingerprint a stretch of the prompt, as if it carried no cache_control."""
    marked = "cache_control" in item
    plain = {name: value for name, value in item.items() if name != "cache_control"} if marked else item
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    tokens = min(len(text), _IMAGE_TOKENS) if '"type":"image' in text else count(text)
    return Block(text.encode(), tokens, marked)


def _openai_turn(message: Json) -> Turn:
    role = _field(message, "role", str)
    content = message.get("content")
    text = content if isinstance(content, str) else _text(content or ())
    if role == "tool":
        return Turn(role, "", results=(Result(_field(message, "tool_call_id", str), text),))
    if role not in ("system", "developer", "user", "assistant"):
        raise InvalidRequest(f"Invalid value: {role!r} is no role")
    calls = tuple(
        Call(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls") or ()
    )
    if role == "assistant" and content is None and not calls:
        raise InvalidRequest("an assistant message has content or tool_calls")
    return Turn(role, text, calls)


def _check_pairs_openai(turns: Sequence[Turn]) -> None:
    """Every tool call is answered right after it, and nothing else is."""
    open_ids: set[str] = set()
    for turn in turns:
        if turn.role == "tool":
            identity = turn.results[0].id
            if identity not in open_ids:
                raise InvalidRequest("messages with role 'tool' must be a response to 'tool_calls'")
            open_ids.remove(identity)
            continue
        if open_ids:
            break
        open_ids = {call.id for call in turn.calls}
    if open_ids:
        raise InvalidRequest(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. These had no response: {', '.join(sorted(open_ids))}"
        )


def _contents(messages: Sequence[Json]) -> Iterator[Json]:
    """The content blocks of all messages; a message's role counts with its first."""
    for message in messages:
        content = message["content"]
        spread = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for index, block in enumerate(spread):
            yield {**block, "role": message["role"]} if index == 0 else block


def _anthropic_turn(message: Json) -> Turn:
    role = _field(message, "role", str)
    if role not in ("user", "assistant"):
        raise InvalidRequest(f"messages: Unexpected role {role!r}")
    content = message.get("content")
    if not content or not isinstance(content, str | list):
        raise InvalidRequest("messages: content must be non-empty")
    if isinstance(content, str):
        return Turn(role, content)
    if any(block["type"] == "text" and not block["text"].strip() for block in content):
        raise InvalidRequest("messages: text content blocks must contain non-whitespace text")
    calls = (block for block in content if block["type"] == "tool_use")
    results = (block for block in content if block["type"] == "tool_result")
    return Turn(
        role,
        _text(content),
        tuple(
            Call(call["id"], call["name"], json.dumps(_field(call, "input", dict), sort_keys=True))
            for call in calls
        ),
        tuple(_anthropic_result(result) for result in results),
    )


def _anthropic_result(block: Json) -> Result:
    content = block.get("content") or ""
    text = content if isinstance(content, str) else _text(content)
    return Result(_field(block, "tool_use_id", str), text, bool(block.get("is_error")))


def _check_pairs_anthropic(turns: Sequence[Turn]) -> None:
    if turns[0].role != "user":
        raise InvalidRequest("messages: first message must use the user role")
    open_ids: set[str] = set()
    for turn in turns:
        answered = {result.id for result in turn.results}
        if open_ids - answered:
            missing = ", ".join(sorted(open_ids - answered))
            raise InvalidRequest(f"tool_use ids were found without tool_result blocks: {missing}")
        if answered - open_ids:
            raise InvalidRequest("unexpected tool_use_id found in tool_result blocks")
        open_ids = {call.id for call in turn.calls}
    if open_ids:
        raise InvalidRequest("tool_use ids were found without tool_result blocks")


def _text(content: Sequence[Json]) -> str:
    return "".join(block.get("text", "") for block in content if block.get("type") == "text")
