"""Requests to /v1/chat/completions: what is checked before they pass, and their neutral form.

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
    MOST_ANSWERS,
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

OTHER = "Anthropic's format"
_OWN_ROUTE = "which model answers, and how often it is asked, is decided here"
_PRICED = {
    "audio": "audio has prices of its own",
    "prediction": "predicted tokens are billed beyond the output limit",
    "web_search_options": "searches are billed apart",
    "search_parameters": "searches are billed apart",
    "plugins": "plugins are billed apart",
    "prompt_cache_options": "cache writes asked for have prices of their own",
    "best_of": "it makes more answers than are asked for",
    "cached_content": "what it brings along has no upper bound here",
    "previous_response_id": "what it brings along has no upper bound here",
    "conversation": "what it brings along has no upper bound here",
    "prompt": "what it brings along has no upper bound here",
    "models": _OWN_ROUTE,
    "route": _OWN_ROUTE,
    "provider": _OWN_ROUTE,
    "fallbacks": _OWN_ROUTE,
    "context_window_fallbacks": _OWN_ROUTE,
    "model_list": _OWN_ROUTE,
    "api_base": _OWN_ROUTE,
    "base_url": _OWN_ROUTE,
    "api_key": _OWN_ROUTE,
    "num_retries": _OWN_ROUTE,
}
# Bounded where it stands in the request itself; who unpacks what is nested would do that instead.
_BOUNDED_OUTSIDE = dict.fromkeys(
    ("max_tokens", "max_completion_tokens", "n", "messages", "model", "modalities", "service_tier", "tools"),
    "it counts in the request itself only",
)
_TRANSLATED = (
    *("model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options", "n"),
    *("temperature", "top_p", "stop", "tools", "tool_choice", "parallel_tool_calls", "user"),
)
# Said to the provider for its own sake; an answer of another family is none the worse without.
_HINTS = (
    "metadata",
    "store",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
)
_NOTHING_ASKED: Mapping[str, tuple[object, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "functions": ([],),
}


class OpenAIRequest:
    """One request. left_out: the hints that its neutral form does without."""

    def __init__(self, document: Json, headers: Mapping[str, str] | None = None) -> None:
        del headers  # this family has none that its documents go with
        refuse_priced(document, _PRICED)
        only(document, "service_tier", ("auto", "default"), "other tiers have prices of their own")
        only(document, "modalities", (["text"], []), "other kinds of output have prices of their own")
        _check_tools(document)
        _check_nested(document)
        self.document = document
        self.streamed = flag(document, "stream")
        options = document.get("stream_options")
        told = mapping(options, "stream_options") if options is not None else {}
        self.include_usage = told.get("include_usage") is True
        self.limit = whole(document, "max_completion_tokens") or whole(document, "max_tokens")
        self.left_out: tuple[str, ...] = ()
        self.end_user = document["user"] if isinstance(document.get("user"), str) else ""

    def wire(self) -> WireRequest:
        """The request as the gateway takes it."""
        images = [size for path, message in self._messages() for size in _images(path, message)]
        return WireRequest(
            family="openai",
            document=self.document,
            neutral=self.neutral,
            streamed=self.streamed,
            max_output_tokens=self.limit,
            temperature=number(self.document, "temperature"),
            n=whole(self.document, "n", most=MOST_ANSWERS) or 1,
            images=len(images),
            image_bytes=sum(images),
        )

    def _messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        messages = self.document.get("messages")
        if not isinstance(messages, list) or not messages:
            raise BadRequest("must be a list, and not an empty one", "messages")
        return objects(messages, "messages")

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
            raise untranslatable("temperature", OTHER, "it goes from 0 to 1 there")
        messages = tuple(_message(path, message, hints) for path, message in self._messages())
        request = ModelRequest(
            messages=messages,
            tools=tuple(_tool(path, tool) for path, tool in objects(document.get("tools"), "tools")),
            tool_choice=_choice(document),
            max_output_tokens=self.limit,
            temperature=temperature,
            top_p=number(document, "top_p"),
            stop=_stop(document),
            n=whole(document, "n", most=MOST_ANSWERS) or 1,
            end_user=self.end_user,
        )
        self.left_out = hints.names
        return request


def _check_tools(document: Json) -> None:
    """Only tools that the client carries out: a provider's own are billed apart."""
    for path, tool in objects(document.get("tools"), "tools"):
        only(
            tool,
            "type",
            ("function", "custom"),
            "tools that the provider runs are billed apart",
            path=f"{path}.",
        )


def _check_nested(document: Json) -> None:
    """What clients put into the body for one provider alone (`extra_body`) is looked at as the rest is."""
    for name in ("extra_body", "google"):
        if isinstance(inner := document.get(name), dict):
            try:
                refuse_priced(inner, {**_PRICED, **_BOUNDED_OUTSIDE})
                _check_nested(inner)
            except BadRequest as error:
                raise BadRequest(error.reason, f"{name}.{error.field}", code=error.code) from None


def _images(path: str, message: Json) -> Iterator[int]:
    """For each image of a message the bytes of its data. Refuses parts that have no upper bound."""
    if message.get("audio"):
        raise BadRequest("audio has prices of its own; leave it out", f"{path}.audio", code="not_priced")
    content = message.get("content")
    if not isinstance(content, list):
        return
    for place, part in objects(content, f"{path}.content"):
        if part.get("prompt_cache_breakpoint"):
            field = f"{place}.prompt_cache_breakpoint"
            raise BadRequest(f"{_PRICED['prompt_cache_options']}; leave it out", field, code="not_priced")
        if part.get("type") == "image_url":
            yield _data_bytes(place, part)
        elif part.get("type") not in ("text", "refusal"):
            raise BadRequest(
                "only text and images have an upper bound here", f"{place}.type", code="not_priced"
            )


def _data_bytes(path: str, part: Json) -> int:
    url = text(mapping(part.get("image_url"), f"{path}.image_url"), "url", path=f"{path}.image_url.")
    return len(url) if url.startswith("data:image/") else 0


def _message(path: str, message: Json, hints: Hints) -> Message:
    role = text(message, "role", path=f"{path}.")
    if message.get("name") and role != "tool":
        hints.add("messages.name")
    if role == "tool":
        known_only(message, ("role", "content", "tool_call_id", "name"), path, OTHER)
        return Message(role="tool", parts=(_result(path, message),))
    if role == "assistant":
        known_only(message, ("role", "content", "tool_calls", "name"), path, OTHER)
        calls = tuple(
            _use(place, call) for place, call in objects(message.get("tool_calls"), f"{path}.tool_calls")
        )
        return Message(role="assistant", parts=(*_parts(path, message, hints), *calls))
    if role not in ("user", "system", "developer"):
        raise untranslatable(f"{path}.role", OTHER)
    known_only(message, ("role", "content", "name"), path, OTHER)
    return Message(role="user" if role == "user" else "system", parts=_parts(path, message, hints))


def _parts(path: str, message: Json, hints: Hints) -> tuple[Part, ...]:
    content = message.get("content")
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(text=content),) if content else ()
    return tuple(_part(place, part, hints) for place, part in objects(content, f"{path}.content"))


def _part(path: str, part: Json, hints: Hints) -> Part:
    if part.get("type") == "text":
        known_only(part, ("type", "text"), path, OTHER)
        return Text(text=words(part, path))
    if part.get("type") != "image_url":
        raise untranslatable(f"{path}.type", OTHER)
    image = mapping(part.get("image_url"), f"{path}.image_url")
    if image.get("detail"):
        hints.add("messages.content.image_url.detail")
    url = text(image, "url", path=f"{path}.image_url.")
    if not url.startswith("data:"):
        return Image(url=url)
    head, _, data = url.removeprefix("data:").partition(",")
    media_type, _, encoding = head.partition(";")
    if encoding != "base64" or not data:
        raise untranslatable(f"{path}.image_url.url", OTHER, "data URLs must be base64")
    return Image(media_type=media_type, data=data)


def _result(path: str, message: Json) -> ToolResult:
    content = message.get("content")
    if isinstance(content, list):
        pieces = []
        for place, part in objects(content, f"{path}.content"):
            if part.get("type") != "text":
                raise untranslatable(f"{place}.type", OTHER)
            pieces.append(words(part, place))
        content = "".join(pieces)
    if not isinstance(content, str):
        raise BadRequest("must be a text, or a list of texts", f"{path}.content")
    return ToolResult(tool_use_id=text(message, "tool_call_id", path=f"{path}."), content=content)


def _use(path: str, call: Json) -> ToolUse:
    if call.get("type", "function") != "function":
        raise untranslatable(f"{path}.type", OTHER)
    function = mapping(call.get("function"), f"{path}.function")
    return ToolUse(
        id=text(call, "id", path=f"{path}."),
        name=text(function, "name", path=f"{path}.function."),
        arguments=maybe_text(function, "arguments", path=f"{path}.function.") or "{}",
    )


def _tool(path: str, tool: Json) -> ToolSpec:
    if tool.get("type", "function") != "function":
        raise untranslatable(f"{path}.type", OTHER)
    known_only(tool, ("type", "function"), path, OTHER)
    function = mapping(tool.get("function"), f"{path}.function")
    strict = function.get("strict")
    known_only(
        {**function, "strict": strict or None},
        ("name", "description", "parameters"),
        f"{path}.function",
        OTHER,
    )
    schema = function.get("parameters")
    return ToolSpec(
        name=text(function, "name", path=f"{path}.function."),
        description=maybe_text(function, "description", path=f"{path}.function."),
        input_schema=mapping(schema, f"{path}.function.parameters") if schema else {"type": "object"},
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
    function = mapping(named.get("function"), "tool_choice.function")
    return ToolChoice(
        mode="tool", name=text(function, "name", path="tool_choice.function."), parallel=parallel
    )


def _stop(document: Json) -> tuple[str, ...]:
    stop = document.get("stop")
    if stop is None:
        return ()
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(each, str) for each in stops):
        raise BadRequest("must be a text, or a list of texts", "stop")
    return tuple(stops)
