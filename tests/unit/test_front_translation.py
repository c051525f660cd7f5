"""Requests and answers from one family's words into the other's and back, and the blocks of a stream."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls import Message, ModelRequest, Part, Text, ToolUse, Untranslatable
from gateway.config import Deployment
from gateway.errors import CurbError
from gateway.http.anthropic_answer import AnthropicWriter
from gateway.http.anthropic_request import AnthropicRequest
from gateway.http.fields import BadRequest, read_document
from gateway.http.openai_answer import OpenAIWriter
from gateway.http.openai_request import OpenAIRequest
from gateway.listening import Delta, TextDelta, ToolBegun, ToolDelta
from gateway.policy.usage import Usage
from gateway.providers.answers import Progress, ProviderAnswer
from gateway.providers.anthropic import AnthropicMessages, MessageReader
from gateway.providers.openai import ChatReader, OpenAIChat
from gateway.providers.sse import SseParser

GPT = Deployment("openai/gpt", "openai", "gpt")
CLAUDE = Deployment("anthropic/claude", "anthropic", "claude")

# Texts that neither family refuses, and that JSON can carry.
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
names = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
arguments = st.dictionaries(names, st.one_of(words, st.integers(-99, 99), st.booleans()), max_size=3)


@st.composite
def tool_turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    """An assistant's message that asks for tools, and their results, in OpenAI's words."""
    ids = [f"call_{draw(st.integers(0, 10**6))}_{index}" for index in range(draw(st.integers(1, 3)))]
    calls = [
        {"id": i, "type": "function",
         "function": {"name": draw(names), "arguments": json.dumps(draw(arguments), ensure_ascii=False,
                                                                    separators=(",", ":"))}}
        for i in ids
    ]  # fmt: skip
    results = [{"role": "tool", "tool_call_id": i, "content": draw(words)} for i in ids]
    return [{"role": "assistant", "content": draw(st.none() | words), "tool_calls": calls}, *results]


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    """A request to /v1/chat/completions that Anthropic has words for."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": draw(words)}]
    for _ in range(draw(st.integers(0, 3))):
        messages += draw(
            st.one_of(tool_turns(), words.map(lambda text: [{"role": "assistant", "content": text}]))
        )
        messages.append({"role": "user", "content": draw(words)})
    document: dict[str, Any] = {"model": "m", "messages": messages, "max_tokens": draw(st.integers(1, 999))}
    if draw(st.booleans()):
        messages.insert(0, {"role": "system", "content": draw(words)})
    if draw(st.booleans()):
        schema = {"type": "object", "properties": {draw(names): {"type": "string"}}}
        function = {"name": draw(names), "description": draw(words), "parameters": schema}
        document["tools"] = [{"type": "function", "function": function}]
        document["tool_choice"] = draw(st.sampled_from(["auto", "none", "required"]))
    for name, value in (("temperature", st.sampled_from([0.0, 0.5, 1.0])), ("top_p", st.just(0.5))):
        if draw(st.booleans()):
            document[name] = draw(value)
    if draw(st.booleans()):
        document["stop"] = [draw(words)]
    return document


def essence(request: ModelRequest) -> dict[str, Any]:
    """What a model gets to see, however it is cut into messages."""
    said: list[tuple[str, Part]] = []
    for message in request.messages:
        role = "assistant" if message.role == "assistant" else "user"
        said += [
            (role, part) for part in message.parts if not isinstance(part, Text) or message.role != "system"
        ]
    system = request.system + "".join(m.text for m in request.messages if m.role == "system")
    fields = request.model_dump(exclude={"messages", "system", "n"})
    return {**fields, "said": said, "system": system}


@given(conversations())
def test_a_request_survives_the_way_to_anthropic_and_back(document: dict[str, Any]) -> None:
    neutral = OpenAIRequest(document).wire().neutral()

    sent = json.loads(AnthropicMessages().encode(neutral, CLAUDE, document["max_tokens"]))
    back = AnthropicRequest(without_marks(sent)).wire().neutral()

    assert essence(back) == essence(neutral)


@given(conversations())
def test_a_request_survives_the_way_to_openai_and_back(document: dict[str, Any]) -> None:
    neutral = OpenAIRequest(document).wire().neutral()

    sent = json.loads(OpenAIChat().encode(neutral, GPT, document["max_tokens"]))

    assert essence(OpenAIRequest(sent).wire().neutral()) == essence(neutral)


def without_marks(value: Any) -> Any:
    """A document without the cache breakpoints that curb sets."""
    if isinstance(value, dict):
        return {name: without_marks(inner) for name, inner in value.items() if name != "cache_control"}
    return [without_marks(inner) for inner in value] if isinstance(value, list) else value


# Answers

parts = st.one_of(
    words.map(lambda text: Text(text=text)),
    st.builds(
        ToolUse,
        id=st.integers(0, 10**9).map("call_{}".format),
        name=names,
        arguments=arguments.map(lambda given: json.dumps(given, ensure_ascii=False, separators=(",", ":"))),
    ),
)


@st.composite
def answers(draw: st.DrawFn) -> Message:
    """Text first, then tools, as models answer."""
    text = draw(st.none() | words)
    tools = draw(st.lists(parts.filter(lambda part: isinstance(part, ToolUse)), max_size=3))
    told = (Text(text=text),) if text else ()
    return Message(role="assistant", parts=(*told, *tools) or (Text(text="x"),))


reasons = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
usages = st.builds(Usage, *[st.integers(0, 10**6)] * 3)


@st.composite
def deltas_of(draw: st.DrawFn, message: Message) -> list[Delta]:
    """The message in pieces of any size."""
    deltas: list[Delta] = []
    position = 0
    for part in message.parts:
        if isinstance(part, Text):
            deltas += [TextDelta(piece) for piece in draw(pieces(part.text))]
        elif isinstance(part, ToolUse):
            deltas.append(ToolBegun(position, part.id, part.name))
            deltas += [ToolDelta(position, piece) for piece in draw(pieces(part.arguments))]
            position += 1
    return deltas


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.sets(st.integers(1, max(len(text) - 1, 1)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def read(reader: ChatReader | MessageReader, stream: bytes) -> ProviderAnswer:
    for event in SseParser().feed(stream):
        reader.feed(event)
    assert reader.finished
    assert reader.ended
    return reader.answer(0)


@given(st.data(), answers(), reasons, usages)
def test_a_stream_in_openais_words_reads_as_the_answer(
    data: st.DataObject, message: Message, reason: str, usage: Usage
) -> None:
    writer = OpenAIWriter("id", "model", 0, include_usage=True)
    stream = writer.deltas(data.draw(deltas_of(message))) + writer.end(reason, usage)

    answer = read(ChatReader("p", "a#1", Progress()), stream)

    assert answer.message == message
    assert answer.usage == usage
    # Asking for tools is what a model with tool calls does, whatever else it says.
    assert answer.finish_reason == ("tool_calls" if message.tool_uses and reason == "stop" else reason)


@given(st.data(), answers(), reasons, usages)
def test_a_stream_in_anthropics_words_reads_as_the_answer(
    data: st.DataObject, message: Message, reason: str, usage: Usage
) -> None:
    writer = AnthropicWriter("id", "model")
    stream = writer.deltas(data.draw(deltas_of(message))) + writer.end(reason, usage)

    answer = read(MessageReader("p", Progress()), stream)

    assert answer.message == message
    assert answer.usage == usage
    assert answer.finish_reason == reason


@given(answers(), reasons, usages)
def test_a_document_in_either_familys_words_reads_as_the_answer(
    message: Message, reason: str, usage: Usage
) -> None:
    chat = OpenAIWriter("id", "model", 0, include_usage=False).whole(message, reason, usage)
    messages = AnthropicWriter("id", "model").whole(message, reason, usage)
    chat_reader, message_reader = ChatReader("p", "a#1", Progress()), MessageReader("p", Progress())
    chat_reader.whole(chat)
    message_reader.whole(messages)

    assert chat_reader.answer(0).message == message
    assert chat_reader.answer(0).usage == usage
    assert spaced(message_reader.answer(0).message) == spaced(message)
    assert message_reader.answer(0).usage == usage


def spaced(message: Message) -> list[Any]:
    """The parts, arguments as values: their spaces are nobody's business."""
    return [
        (part.id, part.name, json.loads(part.arguments)) if isinstance(part, ToolUse) else part
        for part in message.parts
    ]


@given(st.data(), answers(), reasons)
def test_deltas_that_a_reader_hears_are_the_answer_in_either_direction(
    data: st.DataObject, message: Message, reason: str
) -> None:
    source = AnthropicWriter("id", "model")
    stream = source.deltas(data.draw(deltas_of(message))) + source.end(reason, Usage(1, 1))
    heard: list[Delta] = []
    read(MessageReader("p", Progress(), heard), stream)
    target = OpenAIWriter("id", "model", 0, include_usage=True)

    answer = read(ChatReader("p", "a#1", Progress()), target.deltas(heard) + target.end(reason, Usage(1, 1)))

    assert answer.message == message


# Streams, block by block


some_blocks = st.sampled_from([": ping", "data: {}", "event: x\ndata: a\ndata: b", "id: 7\ndata: c"])


@given(st.lists(some_blocks, max_size=6), st.sampled_from(["\n", "\r\n"]), st.data())
def test_blocks_are_what_came_however_it_was_cut(
    blocks: list[str], newline: str, data: st.DataObject
) -> None:
    stream = "".join(f"{block}\n\n" for block in blocks)
    wire = stream.replace("\n", newline).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=5)))
    chunks = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    parser, plain = SseParser(raw=True), SseParser()

    events = [event for chunk in chunks for event in parser.feed(chunk)]

    assert b"".join(event.raw for event in events) == stream.encode()
    told = [event for chunk in chunks for event in plain.feed(chunk)]
    assert [(event.event, event.data) for event in events if event.data] == [(e.event, e.data) for e in told]


# What is no request

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from([
    *("model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options", "n"),
    *("temperature", "top_p", "stop", "tools", "tool_choice", "parallel_tool_calls", "user", "system"),
    *("stop_sequences", "metadata", "thinking", "service_tier", "cache_control", "context_management"),
    *("response_format", "modalities", "role", "content", "type", "text", "image_url", "source"),
    "tool_calls",
])  # fmt: skip
objects = st.dictionaries(fields, json_values, max_size=6)
strange = st.builds(
    lambda base, messages: {"messages": messages, **base},
    objects,
    st.lists(
        st.dictionaries(fields, json_values | st.lists(objects, max_size=2), max_size=4),
        min_size=1,
        max_size=3,
    ),
)


@given(strange)
@pytest.mark.parametrize("family", [OpenAIRequest, AnthropicRequest])
def test_whatever_comes_is_read_or_refused_by_name(family: Any, document: dict[str, Any]) -> None:
    with contextlib.suppress(BadRequest, Untranslatable):
        neutral = family(document).wire().neutral()
        target, deployment = (AnthropicMessages(), CLAUDE) if family is OpenAIRequest else (OpenAIChat(), GPT)
        with contextlib.suppress(CurbError, ValueError):
            target.encode(neutral, deployment, 10)


@given(st.binary(max_size=40))
def test_a_body_of_any_bytes_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(BadRequest):
        assert isinstance(read_document(body), dict)
