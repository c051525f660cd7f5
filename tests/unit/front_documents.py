"""Requests of every API as Hypothesis makes them: good ones, nearly good ones, and any JSON."""

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Document = dict[str, Any]

# Texts that neither family refuses, and that JSON can carry.
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
names = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
arguments = st.dictionaries(names, st.one_of(words, st.integers(-99, 99), st.booleans()), max_size=3)
media = st.sampled_from(["image/png", "image/jpeg"])
pixels = st.binary(min_size=1, max_size=6).map(lambda data: base64.b64encode(data).decode())
addresses = names.map("https://example.org/{}.png".format)
schemas = names.map(lambda name: {"type": "object", "properties": {name: {"type": "string"}}})


def written(value: Any) -> str:
    """Arguments as every family writes them."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def some(draw: st.DrawFn, optional: dict[str, st.SearchStrategy[Any]]) -> Document:
    """Some of these fields."""
    return {name: draw(values) for name, values in optional.items() if draw(st.booleans())}


def call_ids(draw: st.DrawFn) -> list[str]:
    """One to three ids that no other turn has, or hardly."""
    number = draw(st.integers(0, 10**6))
    return [f"call_{number}_{index}" for index in range(draw(st.integers(1, 3)))]


unsaid = st.sampled_from([None, False])
sampling = {"temperature": st.sampled_from([0.0, 0.5, 1.0]), "top_p": st.just(0.5)}


# /v1/chat/completions

data_urls = st.builds("data:{};base64,{}".format, media, pixels)
chat_texts = words.map(lambda text: {"type": "text", "text": text})
chat_images = (addresses | data_urls).map(lambda url: {"type": "image_url", "image_url": {"url": url}})
chat_contents = words | st.lists(chat_texts | chat_images, min_size=1, max_size=3)


@st.composite
def chat_turns(draw: st.DrawFn) -> list[Document]:
    """An assistant's message that asks for tools, and their results."""
    ids = call_ids(draw)
    calls = [
        {
            "id": i,
            "type": "function",
            "function": {"name": draw(names), "arguments": written(draw(arguments))},
        }
        for i in ids
    ]
    told = words | st.lists(chat_texts, min_size=1, max_size=2)
    results = [{"role": "tool", "tool_call_id": i, "content": draw(told)} for i in ids]
    return [{"role": "assistant", "content": draw(st.none() | words), "tool_calls": calls}, *results]


@st.composite
def chats(draw: st.DrawFn) -> Document:
    """A request to /v1/chat/completions that Anthropic has words for."""
    said = words.map(lambda text: [{"role": "assistant", "content": text, "refusal": None}])
    messages: list[Document] = [{"role": "user", "content": draw(chat_contents)}]
    for _ in range(draw(st.integers(0, 3))):
        messages += draw(chat_turns() | said)
        messages.append({"role": "user", "content": draw(chat_contents)})
    if draw(st.booleans()):
        messages.insert(0, {"role": draw(st.sampled_from(["system", "developer"])), "content": draw(words)})
    document: Document = {"model": "m", "messages": messages, "max_tokens": draw(st.integers(1, 999))}
    if draw(st.booleans()):
        function = {"name": draw(names), "description": draw(words), "parameters": draw(schemas)}
        named = {"type": "function", "function": {"name": function["name"]}}
        document["tools"] = [{"type": "function", "function": {**function, "strict": draw(unsaid)}}]
        document["tool_choice"] = draw(st.sampled_from(["auto", "required", named]))
        document["parallel_tool_calls"] = draw(st.sampled_from([None, False]))
    return document | some(
        draw, {**sampling, "stop": words | st.lists(words, max_size=3), "user": names, "n": st.just(1)}
    )


# /v1/messages

message_texts = words.map(lambda text: {"type": "text", "text": text})
sources = st.one_of(
    st.builds(lambda kind, data: {"type": "base64", "media_type": kind, "data": data}, media, pixels),
    addresses.map(lambda url: {"type": "url", "url": url}),
)
message_images = sources.map(lambda source: {"type": "image", "source": source})
message_contents = words | st.lists(message_texts | message_images, min_size=1, max_size=3)


@st.composite
def message_turns(draw: st.DrawFn) -> list[Document]:
    """An assistant's message that asks for tools, and the user's that has their results."""
    ids = call_ids(draw)
    before = draw(st.lists(message_texts, max_size=1))
    uses = [{"type": "tool_use", "id": i, "name": draw(names), "input": draw(arguments)} for i in ids]
    told = words | st.lists(message_texts, max_size=2)
    results = [
        {"type": "tool_result", "tool_use_id": i, "content": draw(told), "is_error": draw(unsaid)}
        for i in ids
    ]
    after = draw(st.lists(message_texts | message_images, max_size=2))
    return [
        {"role": "assistant", "content": [*before, *uses]},
        {"role": "user", "content": [*results, *after]},
    ]


@st.composite
def messages(draw: st.DrawFn) -> Document:
    """A request to /v1/messages that OpenAI has words for."""
    said: list[Document] = [{"role": "user", "content": draw(message_contents)}]
    for _ in range(draw(st.integers(0, 3))):
        spoken = [{"role": "assistant", "content": draw(words)}, {"role": "user", "content": draw(words)}]
        said += draw(message_turns() | st.just(spoken))
    document: Document = {"model": "m", "messages": said, "max_tokens": draw(st.integers(1, 999))}
    if draw(st.booleans()):
        tool = {"name": draw(names), "description": draw(words), "input_schema": draw(schemas)}
        kinds: list[Document] = [{"type": "auto"}, {"type": "any"}, {"type": "tool", "name": tool["name"]}]
        alone = {"disable_parallel_tool_use": draw(st.none() | st.booleans())}
        document |= {"tools": [tool], "tool_choice": {**draw(st.sampled_from(kinds)), **alone}}
    more = {
        "system": words | st.lists(message_texts, min_size=1, max_size=2),
        "stop_sequences": st.lists(words, max_size=3),
        "metadata": names.map(lambda name: {"user_id": name}),
    }
    return document | some(draw, {**sampling, **more})


# /v1/responses

item_texts = words.map(lambda text: {"type": "input_text", "text": text})
item_images = (addresses | data_urls).map(lambda url: {"type": "input_image", "image_url": url})
item_contents = words | st.lists(item_texts | item_images, min_size=1, max_size=3)
output_texts = words.map(lambda text: {"type": "output_text", "text": text})


@st.composite
def item_turns(draw: st.DrawFn) -> list[Document]:
    """What a model said and asked for, and the results."""
    ids = call_ids(draw)
    spoken = draw(st.lists(output_texts, max_size=1))
    before: list[Document] = [{"type": "message", "role": "assistant", "content": spoken}] if spoken else []
    calls: list[Document] = [
        {"type": "function_call", "call_id": i, "name": draw(names), "arguments": written(draw(arguments))}
        for i in ids
    ]
    told = words | st.lists(item_texts, min_size=1, max_size=2)
    outputs = [
        {"type": "function_call_output", "call_id": i, "output": draw(told), "status": "completed"}
        for i in ids
    ]
    return [*before, *calls, *outputs]


@st.composite
def responses(draw: st.DrawFn) -> Document:
    """A request to /v1/responses that chat completions have words for."""
    items: list[Document] = [{"role": "user", "content": draw(item_contents)}]
    for _ in range(draw(st.integers(0, 3))):
        items += draw(item_turns())
        items.append({"type": "message", "role": "user", "content": draw(item_contents)})
    document: Document = {
        "model": "m",
        "input": draw(words | st.just(items)),
        "max_output_tokens": draw(st.integers(1, 999)),
    }
    if draw(st.booleans()):
        tool = {"name": draw(names), "description": draw(words), "parameters": draw(schemas)}
        document["tools"] = [{"type": "function", **tool, "strict": draw(unsaid)}]
        named = {"type": "function", "name": tool["name"]}
        document["tool_choice"] = draw(st.sampled_from(["auto", "required", named]))
        document["parallel_tool_calls"] = draw(st.sampled_from([None, False]))
    return document | some(draw, {**sampling, "instructions": words, "user": names})


# /v1/embeddings

tokens = st.lists(st.integers(0, 10**5), min_size=1, max_size=3)
embeddings = st.builds(
    lambda given, more: {"model": "m", "input": given, **more},
    words | tokens | st.lists(words, min_size=1, max_size=3) | st.lists(tokens, min_size=1, max_size=3),
    st.fixed_dictionaries({}, optional={"dimensions": st.integers(1, 999), "user": names}),
)


# Fields that may be null, which is as good as absent
NULL: dict[str, tuple[str, ...]] = {
    "chat completions": (
        *("max_completion_tokens", "stream", "stream_options", "temperature", "top_p", "stop", "tools", "n"),
        *("tool_choice", "parallel_tool_calls", "user", "metadata", "service_tier", "response_format"),
    ),
    "messages": (
        *("stream", "temperature", "top_p", "stop_sequences", "tools", "tool_choice", "system", "metadata"),
        *("thinking", "service_tier", "cache_control", "context_management"),
    ),
    "responses": (
        *("stream", "temperature", "top_p", "instructions", "tools", "tool_choice", "parallel_tool_calls"),
        *("user", "metadata", "reasoning", "text", "previous_response_id", "truncation", "service_tier"),
    ),
}


# What is no request, or nearly one

FIELDS = (
    *("model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options", "n", "user"),
    *("temperature", "top_p", "stop", "tools", "tool_choice", "parallel_tool_calls", "system", "metadata"),
    *("stop_sequences", "thinking", "service_tier", "cache_control", "context_management", "functions"),
    *("response_format", "modalities", "role", "content", "type", "text", "image_url", "source", "url"),
    *("tool_calls", "tool_call_id", "function", "arguments", "name", "description", "parameters", "strict"),
    *("input", "instructions", "max_output_tokens", "call_id", "output", "reasoning", "detail", "file_id"),
    *("input_schema", "is_error", "disable_parallel_tool_use", "data", "media_type", "ttl", "edits"),
    *("extra_body", "google", "cached_content", "dimensions", "encoding_format", "brand_new", "refusal"),
)
TYPES = (
    *("text", "image_url", "function", "custom", "image", "tool_use", "tool_result", "thinking", "document"),
    *("input_text", "output_text", "input_image", "message", "function_call", "function_call_output"),
    *("reasoning", "base64", "url", "auto", "any", "tool", "none", "refusal", "user", "assistant", "system"),
)
fields = st.sampled_from(FIELDS)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2) | st.sampled_from([2**53, 10**30]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.sampled_from(TYPES),
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=4),
    max_leaves=5,
)
entries = st.lists(st.dictionaries(fields, values, max_size=4), max_size=2)
strange = st.dictionaries(fields, values | entries, max_size=6)
Place = tuple[dict[str, Any] | list[Any], Any]


def places(value: Any) -> Iterator[Place]:
    """Every place in a document: its container, and its name or number there."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@st.composite
def changed(draw: st.DrawFn, documents: st.SearchStrategy[Document]) -> Document:
    """A good document in which one to three things are something else, are gone, are new, or come twice."""
    document = copy.deepcopy(draw(documents))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(document))
        if not found:
            break
        container, key = found[draw(st.integers(0, len(found) - 1))]
        match draw(st.sampled_from(["other", "wrapped", "gone", "new"])):
            case "other":
                container[key] = draw(values)
            case "wrapped":
                container[key] = [container[key]]
            case "gone":
                del container[key]
            case _ if isinstance(container, dict):
                container[draw(fields)] = draw(values)
            case _:
                container.insert(key, draw(values))
    return document
