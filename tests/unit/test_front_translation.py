"""Answers from one family's words into the other's and back, and the blocks of a stream."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.calls import Message, Text, ToolUse
from gateway.http.anthropic_answer import AnthropicWriter
from gateway.http.openai_answer import OpenAIWriter
from gateway.listening import Delta, TextDelta, ToolBegun, ToolDelta
from gateway.policy.usage import Usage
from gateway.providers.answers import Progress, ProviderAnswer
from gateway.providers.anthropic import MessageReader
from gateway.providers.openai import ChatReader
from gateway.providers.sse import SseParser
from tests.unit.front_documents import arguments, names, words, written

parts = st.one_of(
    words.map(lambda text: Text(text=text)),
    st.builds(
        ToolUse,
        id=st.integers(0, 10**9).map("call_{}".format),
        name=names,
        arguments=arguments.map(written),
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
