"""Requests to /v1/responses: what is checked before they pass, and their neutral form.

As with chat completions: fields that nobody here knows pass to a provider that has this API; what would
be dearer than its tokens, or has no upper bound, is refused. Whoever answers without having this API
gets the neutral form.
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
    maybe_flag,
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

OTHER = "a provider without the Responses API"
_ELSEWHERE = "what it brings along has no upper bound here; send the items themselves"
_PRICED = {
    "previous_response_id": _ELSEWHERE,
    "conversation": _ELSEWHERE,
    "prompt": _ELSEWHERE,
    "background": "an answer that nobody waits for cannot be booked; use a batch, or wait for it",
    "prompt_cache_options": "cache writes asked for have prices of their own",
    "context_management": "what it makes is billed beyond the output limit",
}
_TRANSLATED = (
    *("model", "input", "instructions", "max_output_tokens", "stream", "stream_options", "user"),
    *("temperature", "top_p", "tools", "tool_choice", "parallel_tool_calls"),
)
_HINTS = (
    *("metadata", "store", "include", "service_tier", "safety_identifier"),
    *("prompt_cache_key", "prompt_cache_retention"),
)
_NOTHING_ASKED: Mapping[str, tuple[object, ...]] = {
    "truncation": ("disabled",),
    "text": ({}, {"format": {"type": "text"}}),
    "top_logprobs": (0,),
    "reasoning": ({},),
    "background": (False,),
}
_OWN_TOOLS = ("function", "custom")
# Items whose tokens are at most their bytes, or those of the images in them.
_BOUNDED = (
    *("message", "reasoning", "function_call", "function_call_output"),
    *("custom_tool_call", "custom_tool_call_output"),
)
_TEXTS = ("input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text")


class ResponsesRequest:
    """One request. left_out: the hints that its neutral form does without."""

    def __init__(self, document: Json, headers: Mapping[str, str] | None = None) -> None:
        del headers  # none that its document goes with
        refuse_priced(document, _PRICED)
        only(document, "service_tier", ("auto", "default"), "other tiers have prices of their own")
        for path, tool in objects(document.get("tools"), "tools"):
            why = "tools that the provider runs are billed apart"
            only(tool, "type", _OWN_TOOLS, why, path=f"{path}.")
        self.document = document
        self.streamed = flag(document, "stream")
        self.limit = whole(document, "max_output_tokens")
        self.left_out: tuple[str, ...] = ()
        self.end_user = document["user"] if isinstance(document.get("user"), str) else ""

    def wire(self) -> WireRequest:
        """The request as the gateway takes it."""
        images = [size for path, item in self._items() for size in _images(path, item)]
        return WireRequest(
            family="openai",
            document=self.document,
            neutral=self.neutral,
            streamed=self.streamed,
            max_output_tokens=self.limit,
            temperature=number(self.document, "temperature"),
            images=len(images),
            image_bytes=sum(images),
            api="responses",
        )

    def _items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        given = self.document.get("input")
        if isinstance(given, str) and given:
            return iter([("input", {"type": "message", "role": "user", "content": given})])
        if not isinstance(given, list) or not given:
            raise BadRequest("must be a text or a list of items, and not an empty one", "input")
        return objects(given, "input")

    def neutral(self) -> ModelRequest:
        """The request in no family's words. Raises Untranslatable."""
        document, hints = self.document, Hints()
        for name, said in document.items():
            if name in _HINTS and said is not None:
                hints.add(name)
            elif name not in _TRANSLATED and said is not None and said not in _NOTHING_ASKED.get(name, ()):
                raise untranslatable(name, OTHER)
        temperature = number(document, "temperature")
        if temperature is not None and not 0 <= temperature <= 1:
            raise untranslatable("temperature", OTHER, "not everybody who may answer takes more than 1")
        messages: list[Message] = []
        for path, item in self._items():
            _append(messages, path, item, hints)
        instructions = document.get("instructions")
        if instructions is not None and not isinstance(instructions, str):
            raise untranslatable("instructions", OTHER, "send a text")
        request = ModelRequest(
            system=instructions or "",
            messages=tuple(messages),
            tools=tuple(_tool(path, tool) for path, tool in objects(document.get("tools"), "tools")),
            tool_choice=_choice(document),
            max_output_tokens=self.limit,
            temperature=temperature,
            top_p=number(document, "top_p"),
            end_user=self.end_user,
        )
        self.left_out = hints.names
        return request


def _images(path: str, item: Json) -> Iterator[int]:
    """For each image of an item the bytes of its data. Refuses what has no upper bound."""
    kind = item.get("type") or ("message" if "role" in item else None)
    if kind not in _BOUNDED:
        why = "only messages, reasoning, and calls of your own tools have an upper bound here"
        raise BadRequest(why, f"{path}.type", code="not_priced")
    for field in ("content", "output"):
        content = item.get(field)
        if isinstance(content, list):
            for place, part in objects(content, f"{path}.{field}"):
                yield from _part_images(place, part)


def _part_images(path: str, part: Json) -> Iterator[int]:
    if part.get("type") == "input_image":
        url = part.get("image_url")
        yield len(url) if isinstance(url, str) and url.startswith("data:image/") else 0
    elif part.get("type") not in _TEXTS:
        why = "only text and images have an upper bound here"
        raise BadRequest(why, f"{path}.type", code="not_priced")


def _append(messages: list[Message], path: str, item: Json, hints: Hints) -> None:
    """Put one item where it belongs: calls of tools to the answer before them."""
    match item.get("type") or "message":
        case "message":
            _join(messages, _message(path, item, hints))
        case "function_call":
            known_only(item, ("type", "id", "call_id", "name", "arguments", "status"), path, OTHER)
            use = ToolUse(
                id=text(item, "call_id", path=f"{path}."),
                name=text(item, "name", path=f"{path}."),
                arguments=maybe_text(item, "arguments", path=f"{path}.") or "{}",
            )
            _join(messages, Message(role="assistant", parts=(use,)))
        case "function_call_output":
            known_only(item, ("type", "id", "call_id", "output", "status"), path, OTHER)
            result = ToolResult(
                tool_use_id=text(item, "call_id", path=f"{path}."), content=_output(path, item)
            )
            messages.append(Message(role="tool", parts=(result,)))
        case "reasoning":  # the thoughts of another model are of no use to this one
            hints.add("input.reasoning")
        case _:
            raise untranslatable(f"{path}.type", OTHER)


def _join(messages: list[Message], message: Message) -> None:
    """What a model said in one go is one message, in however many items it is told."""
    if messages and message.role == messages[-1].role == "assistant":
        message = Message(role="assistant", parts=(*messages.pop().parts, *message.parts))
    messages.append(message)


def _message(path: str, item: Json, hints: Hints) -> Message:
    known_only(item, ("type", "role", "content", "id", "status", "phase"), path, OTHER)
    role = text(item, "role", path=f"{path}.")
    if role == "assistant":
        return Message(role="assistant", parts=_parts(path, item, hints))
    if role not in ("user", "system", "developer"):
        raise untranslatable(f"{path}.role", OTHER)
    return Message(role="user" if role == "user" else "system", parts=_parts(path, item, hints))


def _parts(path: str, item: Json, hints: Hints) -> tuple[Part, ...]:
    content = item.get("content")
    if isinstance(content, str):
        return (Text(text=content),) if content else ()
    return tuple(_part(place, part, hints) for place, part in objects(content, f"{path}.content"))


def _part(path: str, part: Json, hints: Hints) -> Part:
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text"):
        return Text(text=words(part, path))
    if kind == "refusal":
        return Text(text=maybe_text(part, "refusal", path=f"{path}."))
    if kind != "input_image":
        raise untranslatable(f"{path}.type", OTHER)
    if part.get("detail"):
        hints.add("input.content.detail")
    return _image(path, part)


def _image(path: str, part: Json) -> Image:
    if part.get("file_id"):
        raise untranslatable(f"{path}.file_id", OTHER, "send the image or its address")
    url = text(part, "image_url", path=f"{path}.")
    if not url.startswith("data:"):
        return Image(url=url)
    head, _, data = url.removeprefix("data:").partition(",")
    media_type, _, encoding = head.partition(";")
    if encoding != "base64" or not data:
        raise untranslatable(f"{path}.image_url", OTHER, "data URLs must be base64")
    return Image(media_type=media_type, data=data)


def _output(path: str, item: Json) -> str:
    output = item.get("output")
    if isinstance(output, str):
        return output
    pieces = []
    for place, part in objects(output, f"{path}.output"):
        if part.get("type") != "input_text":
            raise untranslatable(f"{place}.type", OTHER)
        pieces.append(words(part, place))
    return "".join(pieces)


def _tool(path: str, tool: Json) -> ToolSpec:
    if tool.get("type", "function") != "function":
        raise untranslatable(f"{path}.type", OTHER)
    strict = tool.get("strict")
    known_only({**tool, "strict": strict or None}, ("type", "name", "description", "parameters"), path, OTHER)
    schema = tool.get("parameters")
    return ToolSpec(
        name=text(tool, "name", path=f"{path}."),
        description=maybe_text(tool, "description", path=f"{path}."),
        input_schema=mapping(schema, f"{path}.parameters") if schema else {"type": "object"},
    )


def _choice(document: Json) -> ToolChoice | None:
    chosen = document.get("tool_choice")
    parallel = maybe_flag(document, "parallel_tool_calls")
    if chosen is None and parallel is None:
        return None
    if chosen is None or chosen in ("auto", "none", "required"):
        return ToolChoice(mode=chosen or "auto", parallel=parallel)
    named = mapping(chosen, "tool_choice")
    if named.get("type") != "function":
        raise untranslatable("tool_choice.type", OTHER)
    return ToolChoice(mode="tool", name=text(named, "name", path="tool_choice."), parallel=parallel)
