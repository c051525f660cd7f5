"""The families' wire formats: what is sent, and how answers and their oddities are read."""

import json
from typing import Any

import pytest

from gateway.calls import Image, Message, ModelRequest, Reasoning, Text, ToolResult, ToolSpec, ToolUse
from gateway.config import Deployment
from gateway.providers import family
from gateway.providers.answers import Progress
from gateway.providers.anthropic import MessageReader
from gateway.providers.errors import ErrorKind, ProviderError
from gateway.providers.openai import ChatReader
from gateway.providers.sse import MAX_EVENT_BYTES, SseEvent, SseOverflow, SseParser

LOOK = ToolSpec(name="look", description="Looks.", input_schema={"type": "object", "properties": {}})
USER = Message(role="user", parts=(Text(text="Look."),))
ASKED = Message(
    role="assistant",
    parts=(
        Reasoning(text="Hm.", signature="signed"),
        Reasoning(text="unsigned"),
        Text(text="Looking."),
        ToolUse(id="t1", name="look", arguments='{"at":"sky"}'),
        ToolUse(id="t2", name="look", arguments="not json"),
    ),
)
TOLD = Message(
    role="tool",
    parts=(
        ToolResult(tool_use_id="t1", content="blue"),
        ToolResult(tool_use_id="t2", content="no", is_error=True),
    ),
)
CONVERSATION = ModelRequest(
    system="Be brief.", messages=(USER, ASKED, TOLD), tools=(LOOK,), temperature=0.5, stop=("END",)
)


def encoded(name: Any, request: ModelRequest, **deployment: Any) -> dict[str, Any]:
    body = family(name).encode(request, Deployment("d", "p", "m", **deployment), 77)
    document: dict[str, Any] = json.loads(body)
    return document


def test_openai_body() -> None:
    body = encoded("openai", CONVERSATION)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look."},
        {
            "role": "assistant",
            "content": "Looking.",
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at":"sky"}'}},
                {"id": "t2", "type": "function", "function": {"name": "look", "arguments": "not json"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "blue"},
        {"role": "tool", "tool_call_id": "t2", "content": "no"},
    ]
    assert body["tools"][0]["function"]["name"] == "look"
    assert (body["max_tokens"], body["temperature"], body["stop"]) == (77, 0.5, ["END"])
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert "n" not in body


def test_models_that_count_reasoning_get_their_own_limit_and_no_temperature() -> None:
    body = encoded("openai", CONVERSATION, max_tokens_field="max_completion_tokens")
    assert body["max_completion_tokens"] == 77
    assert "max_tokens" not in body
    assert "temperature" not in body


def test_anthropic_body() -> None:
    body = encoded("anthropic", CONVERSATION)
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert body["tools"] == [
        {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}
    ]
    assert body["max_tokens"] == 77
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "signed"},
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "sky"}},
        {"type": "tool_use", "id": "t2", "name": "look", "input": {"arguments": "not json"}},
    ]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "t1", "content": "blue"},
        {
            "type": "tool_result",
            "tool_use_id": "t2",
            "content": "no",
            "is_error": True,
            "cache_control": {"type": "ephemeral"},
        },
    ]


def test_a_single_question_writes_no_cache_that_nobody_will_read() -> None:
    body = encoded("anthropic", ModelRequest(messages=(USER,)))
    assert "cache_control" not in json.dumps(body)
    assert "system" not in body


def test_images_by_value_and_by_address() -> None:
    parts = (Text(text="What is it?"), Image(data="QUJD"), Image(url="https://example.com/a.png"))
    request = ModelRequest(messages=(Message(role="user", parts=parts),))
    chat = encoded("openai", request)["messages"][0]["content"]
    assert chat[1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    assert chat[2] == {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    blocks = encoded("anthropic", request)["messages"][0]["content"]
    assert blocks[1]["source"] == {"type": "base64", "media_type": "image/png", "data": "QUJD"}
    assert blocks[2]["source"] == {"type": "url", "url": "https://example.com/a.png"}


def test_anthropic_gives_one_answer_per_request() -> None:
    with pytest.raises(ProviderError) as caught:
        encoded("anthropic", ModelRequest(messages=(USER,), n=2))
    assert (caught.value.kind, caught.value.sent) == (ErrorKind.INVALID_REQUEST, False)


def test_text_is_sent_in_utf8_not_escaped() -> None:
    body = family("openai").encode(
        ModelRequest(messages=(Message(role="user", parts=(Text(text="日本"),)),)),
        Deployment("d", "p", "m"),
        1,
    )
    assert "日本".encode() in body


def chat(*chunks: dict[str, Any]) -> Any:
    reader = ChatReader("p", "a#1", Progress())
    for chunk in chunks:
        reader.feed(SseEvent("", json.dumps(chunk)))
    reader.feed(SseEvent("", "[DONE]"))
    assert reader.finished
    return reader.answer(0)


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def test_tool_calls_in_pieces() -> None:
    first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}
    second = {"index": 1, "id": "c2", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    more = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"at":', '"sky"}')]
    answer = chat(
        delta(tool_calls=[first]),
        *(delta(tool_calls=[piece]) for piece in more),
        delta(tool_calls=[second]),
        delta("tool_calls"),
    )
    assert [(use.id, use.arguments) for use in answer.message.tool_uses] == [
        ("c1", '{"at":"sky"}'),
        ("c2", "{}"),
    ]
    assert answer.finish_reason == "tool_calls"


def test_tool_calls_without_index_or_id_as_gemini_sends_them() -> None:
    one, two = ({"function": {"name": name, "arguments": "{}"}} for name in ("look", "hear"))
    answer = chat(delta(tool_calls=[one]), delta(tool_calls=[two]), delta("stop"))
    uses = answer.message.tool_uses
    assert [use.name for use in uses] == ["look", "hear"]
    assert len({use.id for use in uses}) == 2
    assert answer.finish_reason == "tool_calls"


def test_usage_where_groq_puts_it() -> None:
    answer = chat(
        delta(content="Hi"),
        {**delta("stop"), "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}},
    )
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 1)


def test_the_last_of_several_usages_counts() -> None:
    early, late = ({"prompt_tokens": 3, "completion_tokens": count} for count in (1, 9))
    answer = chat({**delta(content="Hi"), "usage": early}, {**delta("stop"), "usage": late})
    assert answer.usage.output_tokens == 9


def test_reasoning_is_kept_apart() -> None:
    answer = chat(delta(reasoning_content="Hm."), delta("stop", content="Yes."))
    assert answer.message.parts == (Reasoning(text="Hm."), Text(text="Yes."))


def test_an_answer_that_was_not_streamed_is_read_too() -> None:
    reader = ChatReader("p", "a#1", Progress())
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Hi", "tool_calls": [call]}
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    reader.whole({"id": "x", "choices": choices, "usage": usage})
    answer = reader.answer(0)
    assert reader.finished
    assert (answer.message.text, answer.message.tool_uses[0].id, answer.provider_request_id) == (
        "Hi",
        "c",
        "x",
    )


def test_anthropic_blocks_come_back_as_they_were() -> None:
    reader = MessageReader("p", Progress())
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "secret"},
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "t", "name": "look", "input": {"at": "sky"}},
    ]
    usage = {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": None}
    reader.whole({"id": "m", "content": content, "stop_reason": "tool_use", "usage": usage})
    answer = reader.answer(0)
    request = ModelRequest(messages=(USER, answer.message))
    assert encoded("anthropic", request)["messages"][1]["content"][:3] == content[:3]
    assert answer.message.tool_uses[0].arguments == '{"at": "sky"}'


def test_unknown_anthropic_events_are_passed_over() -> None:
    reader = MessageReader("p", Progress())
    reader.feed(SseEvent("new", '{"type": "something_new"}'))
    assert not reader.finished


EVENTS = b": a comment\r\n\r\nevent: ping\r\ndata: {}\r\n\r\ndata: one\ndata: two\n\ndata:\xc3\x9f\r\r"
PARSED = [SseEvent("ping", "{}"), SseEvent("", "one\ntwo"), SseEvent("", "ß")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_may_be_cut_anywhere(size: int) -> None:
    parser = SseParser()
    chunks = (EVENTS[start : start + size] for start in range(0, len(EVENTS), size))
    assert [event for chunk in chunks for event in parser.feed(chunk)] == PARSED


def test_an_endless_event_is_refused() -> None:
    with pytest.raises(SseOverflow):
        SseParser().feed(b"data: " + b"x" * MAX_EVENT_BYTES)
