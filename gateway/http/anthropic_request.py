"""Requests to /v1/messages: what is checked before they pass, and their neutral form.

Within the family a request passes with fields that nobody here knows. Only what would make it dearer
than its tokens, or what has no upper bound, is refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.calls import (
    Image,
    Message,
    ModelRequest,
    Part,
    Text,
    ToolChoice,
    ToolResult,
    ToolSpec,
    ToolUse,
    WireRequest,
)
from gateway.http.fields import (
    BadRequest,
    Hints,
    Json,
    flag,
    known_only,
    mapping,
    maybe_text,
    number,
    objects,
    only,
    refuse_priced,
    text,
    untranslatable,
    whole,
    words,
)
from gateway.providers.wire_json import dumps

OTHER = "OpenAI's format"
_NO_BOUND = "what it brings along has no upper bound here"
_PRICED = {
    "container": "code that the provider runs is billed apart",
    "mcp_servers": _NO_BOUND,
    "thread": _NO_BOUND,
    "compaction": "it is a request of another kind",
    "fallbacks": "which model answers is decided here",
    "fallback_credit_token": "it changes prices",
    "billing_policy": "who pays is decided here",
}
_TRANSLATED = (
    *("model", "messages", "system", "max_tokens", "stream", "temperature", "top_p", "stop_sequences"),
    *("tools", "tool_choice", "metadata"),
)
_HINTS = ("service_tier", "cache_control")
_BOUNDED = (
    *("text", "image", "tool_use", "tool_result", "thinking", "redacted_thinking", "document"),
    "search_result",
)
_KEPT_HEADERS = ("anthropic-version", "anthropic-beta")


class AnthropicRequest:
    """One request. left_out: the hints that its neutral form does without."""

    def __init__(self, document: Json, headers: Mapping[str, str] | None = None) -> None:
        refuse_priced(document, _PRICED)
        only(document, "service_tier", ("auto", "standard_only"), "other tiers have prices of their own")
        only(document, "speed", ("standard",), "other speeds have prices of their own")
        only(document, "inference_geo", ("global",), "other places have prices of their own")
        _check_context_management(document)
        _check_tools(document)
        _check_cache("", document)
        self.document = document
        self.streamed = flag(document, "stream")
        self.limit = whole(document, "max_tokens")
        self.left_out: tuple[str, ...] = ()
        self.headers = {name: value for name, value in (headers or {}).items() if name in _KEPT_HEADERS}
        metadata = document.get("metadata")
        user = mapping(metadata, "metadata").get("user_id") if metadata is not None else None
        self.end_user = user if isinstance(user, str) else ""

    def wire(self) -> WireRequest:
        """The request as the gateway takes it."""
        images = [size for place, block in self._blocks() for size in _images(place, block)]
        return WireRequest(
            family="anthropic",
            document=self.document,
            neutral=self.neutral,
            streamed=self.streamed,
            max_output_tokens=self.limit,
            temperature=number(self.document, "temperature"),
            images=len(images),
            image_bytes=sum(images),
            headers=self.headers,
        )

    def _messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        messages = self.document.get("messages")
        if not isinstance(messages, list) or not messages:
            raise BadRequest("must be a list, and not an empty one", "messages")
        return objects(messages, "messages")

    def _blocks(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every content block, those of the system prompt too."""
        yield from _content("system", self.document.get("system"))
        for path, message in self._messages():
            yield from _content(f"{path}.content", message.get("content"))

    def neutral(self) -> ModelRequest:
        """The request in no family's words. Raises Untranslatable."""
        document, hints = self.document, Hints()
        for name, said in document.items():
            if name in _HINTS and said is not None:
                hints.add(name)
            elif name not in _TRANSLATED and said not in (None, {"type": "disabled"}, [], {}):
                raise untranslatable(name, OTHER)
        known_only(document.get("metadata") or {}, ("user_id",), "metadata", OTHER)
        messages = tuple(_message(path, message, hints) for path, message in self._messages())
        if messages[-1].role == "assistant":
            raise untranslatable(
                "messages", OTHER, "the last one is the assistant's, and cannot be continued"
            )
        request = ModelRequest(
            system=_system(document, hints),
            messages=messages,
            tools=tuple(_tool(path, tool, hints) for path, tool in objects(document.get("tools"), "tools")),
            tool_choice=_choice(document),
            max_output_tokens=self.limit,
            temperature=number(document, "temperature"),
            top_p=number(document, "top_p"),
            stop=_stop(document),
            end_user=self.end_user,
        )
        self.left_out = hints.names
        return request


def _content(path: str, content: object) -> Iterator[tuple[str, dict[str, Any]]]:
    if content is not None and not isinstance(content, str):
        yield from objects(content, path)


def _check_context_management(document: Json) -> None:
    """Clearing old content makes a prompt cheaper; anything else may sample more than once."""
    management = document.get("context_management")
    if management is None:
        return
    for path, edit in objects(
        mapping(management, "context_management").get("edits"), "context_management.edits"
    ):
        if not str(edit.get("type", "")).startswith("clear_"):
            raise BadRequest(f"{_NO_BOUND}; leave it out", f"{path}.type", code="not_priced")


def _check_tools(document: Json) -> None:
    """Only tools that the client describes itself: a provider's own bring prompts or prices along."""
    for path, tool in objects(document.get("tools"), "tools"):
        only(
            tool,
            "type",
            ("custom",),
            "tools that the provider describes have no upper bound here",
            path=f"{path}.",
        )
        _check_cache(f"{path}.", tool)


def _check_cache(path: str, carrier: Json) -> None:
    """A cache that lasts an hour is written at twice the price."""
    control = carrier.get("cache_control")
    if control is not None:
        why = "longer caches have prices of their own"
        only(mapping(control, f"{path}cache_control"), "ttl", ("5m",), why, path=f"{path}cache_control.")


def _images(path: str, block: Json) -> Iterator[int]:
    """For each image in a block the bytes of its data. Refuses blocks that have no upper bound."""
    _check_cache(f"{path}.", block)
    kind = block.get("type")
    if kind not in _BOUNDED:
        raise BadRequest("there is no upper bound here for such a block", f"{path}.type", code="not_priced")
    if kind == "image":
        source = mapping(block.get("source"), f"{path}.source")
        data = source.get("data")
        yield len(data) if source.get("type") == "base64" and isinstance(data, str) else 0
    if kind == "document":
        source = mapping(block.get("source"), f"{path}.source")
        why = "pages have no upper bound here"
        only(source, "type", ("text", "content"), why, path=f"{path}.source.")
        yield from _nested(f"{path}.source.content", source.get("content"))
    if kind in ("tool_result", "search_result"):
        yield from _nested(f"{path}.content", block.get("content"))


def _nested(path: str, content: object) -> Iterator[int]:
    for place, block in _content(path, content):
        yield from _images(place, block)


def _system(document: Json, hints: Hints) -> str:
    system = document.get("system")
    if system is None or isinstance(system, str):
        return system or ""
    return "\n\n".join(_text(place, block, hints) for place, block in objects(system, "system"))


def _text(path: str, block: Json, hints: Hints) -> str:
    if block.get("type") != "text":
        raise untranslatable(f"{path}.type", OTHER)
    _left_out(block, hints)
    known_only(block, ("type", "text", "cache_control", "citations"), path, OTHER)
    return words(block, path)


def _left_out(block: Json, hints: Hints) -> None:
    for name in ("cache_control", "citations"):
        if block.get(name):
            hints.add(name)


def _message(path: str, message: Json, hints: Hints) -> Message:
    role = text(message, "role", path=f"{path}.")
    known_only(message, ("role", "content"), path, OTHER)
    if role not in ("user", "assistant"):
        raise untranslatable(f"{path}.role", OTHER)
    content = message.get("content")
    if isinstance(content, str):
        parts: tuple[Part, ...] = (Text(text=content),)
    else:
        blocks = objects(content, f"{path}.content")
        parts = tuple(part for place, block in blocks for part in _part(place, block, hints))
    return Message(role="assistant" if role == "assistant" else "user", parts=parts)


def _part(path: str, block: Json, hints: Hints) -> Iterator[Part]:
    match block.get("type"):
        case "text":
            yield Text(text=_text(path, block, hints))
        case "image":
            _left_out(block, hints)
            yield _image(path, block)
        case "tool_use":
            _left_out(block, hints)
            arguments = mapping(block.get("input"), f"{path}.input")
            yield ToolUse(
                id=text(block, "id", path=f"{path}."),
                name=text(block, "name", path=f"{path}."),
                arguments=dumps(arguments).decode(),
            )
        case "tool_result":
            yield _result(path, block, hints)
        case "thinking" | "redacted_thinking":
            hints.add("messages.thinking")  # of a model that does not answer now, and needs no other's
        case _:
            raise untranslatable(f"{path}.type", OTHER)


def _image(path: str, block: Json) -> Image:
    known_only(block, ("type", "source", "cache_control"), path, OTHER)
    source = mapping(block.get("source"), f"{path}.source")
    match source.get("type"):
        case "base64":
            data = text(source, "data", path=f"{path}.source.")
            return Image(media_type=text(source, "media_type", path=f"{path}.source."), data=data)
        case "url":
            return Image(url=text(source, "url", path=f"{path}.source."))
    raise untranslatable(f"{path}.source.type", OTHER)


def _result(path: str, block: Json, hints: Hints) -> ToolResult:
    known_only(block, ("type", "tool_use_id", "content", "is_error", "cache_control"), path, OTHER)
    _left_out(block, hints)
    if block.get("is_error"):
        hints.add("tool_result.is_error")
    content = block.get("content")
    if content is None or isinstance(content, str):
        said = content or ""
    else:
        said = "".join(_text(place, each, hints) for place, each in objects(content, f"{path}.content"))
    return ToolResult(
        tool_use_id=text(block, "tool_use_id", path=f"{path}."),
        content=said,
        is_error=flag(block, "is_error", path=f"{path}."),
    )


def _tool(path: str, tool: Json, hints: Hints) -> ToolSpec:
    _left_out(tool, hints)
    strict = tool.get("strict")
    known = ("type", "name", "description", "input_schema", "cache_control")
    known_only({**tool, "strict": strict or None}, known, path, OTHER)
    return ToolSpec(
        name=text(tool, "name", path=f"{path}."),
        description=maybe_text(tool, "description", path=f"{path}."),
        input_schema=mapping(tool.get("input_schema"), f"{path}.input_schema"),
    )


def _choice(document: Json) -> ToolChoice | None:
    chosen = document.get("tool_choice")
    if chosen is None:
        return None
    choice = mapping(chosen, "tool_choice")
    known_only(choice, ("type", "name", "disable_parallel_tool_use"), "tool_choice", OTHER)
    parallel = False if flag(choice, "disable_parallel_tool_use", path="tool_choice.") else None
    match choice.get("type"):
        case "auto" | "none" as mode:
            return ToolChoice(mode=mode, parallel=parallel)
        case "any":
            return ToolChoice(mode="required", parallel=parallel)
        case "tool":
            return ToolChoice(mode="tool", name=text(choice, "name", path="tool_choice."), parallel=parallel)
    raise untranslatable("tool_choice.type", OTHER)


def _stop(document: Json) -> tuple[str, ...]:
    stops = document.get("stop_sequences")
    if stops is None:
        return ()
    if not isinstance(stops, list) or not all(isinstance(each, str) for each in stops):
        raise BadRequest("must be a list of texts", "stop_sequences")
    return tuple(stops)
