"""Requests of every API: read, or refused with the field by name; and what a translation must not lose."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.calls import ModelRequest, Part, Text, ToolChoice, Untranslatable
from gateway.config import Deployment
from gateway.http.anthropic_request import AnthropicRequest
from gateway.http.embeddings_request import EmbeddingsRequest
from gateway.http.fields import BadRequest, read_document
from gateway.http.openai_request import OpenAIRequest
from gateway.http.responses_request import ResponsesRequest
from gateway.http.wires import ClientRequest
from gateway.providers.anthropic import AnthropicMessages
from gateway.providers.base import Family
from gateway.providers.openai import OpenAIChat
from gateway.providers.openai_embeddings import OpenAIEmbeddings
from gateway.providers.openai_responses import OpenAIResponses
from tests.unit.front_documents import (
    NULL,
    Document,
    changed,
    chats,
    embeddings,
    messages,
    responses,
    strange,
    written,
)

GPT = Deployment("openai/gpt", "openai", "gpt")
CLAUDE = Deployment("anthropic/claude", "anthropic", "claude")

Reader = Callable[[Document], ClientRequest]
APIS: dict[str, tuple[Reader, Family, st.SearchStrategy[Document]]] = {
    "chat completions": (OpenAIRequest, OpenAIChat(), chats()),
    "messages": (AnthropicRequest, AnthropicMessages(), messages()),
    "responses": (ResponsesRequest, OpenAIResponses(), responses()),
    "embeddings": (EmbeddingsRequest, OpenAIEmbeddings(), embeddings),
}
EVERY = pytest.mark.parametrize("api", APIS)
SPOKEN = pytest.mark.parametrize("api", [name for name in APIS if name != "embeddings"])


# Whatever comes


@EVERY
@settings(max_examples=200)
@given(st.data())
def test_nearly_good_documents_are_read_or_refused_by_the_field_that_is_wrong(
    api: str, data: st.DataObject
) -> None:
    read, own, documents = APIS[api]

    is_read_or_refused(read, own, data.draw(changed(documents)))


@settings(max_examples=200)
@given(strange)
def test_any_documents_are_read_or_refused_by_the_field_that_is_wrong(document: Document) -> None:
    for read, own, _ in APIS.values():
        is_read_or_refused(read, own, document)


@given(st.binary(max_size=40))
def test_a_body_of_any_bytes_is_read_or_refused(body: bytes) -> None:
    try:
        document = read_document(body)
    except BadRequest:
        return
    assert isinstance(document, dict)


def is_read_or_refused(read: Reader, own: Family, document: Document) -> None:
    """Read it, write it for its own family and for both chat families; look where refusals point."""
    came = json.loads(json.dumps(document))
    field = refused_field(read, own, came)
    assert field is None or leads_somewhere(document, field), field
    assert came == document  # reading changes nothing


def refused_field(read: Reader, own: Family, document: Document) -> str | None:
    """The field that a refusal names; None where there is none. Whatever else is raised goes on."""
    try:
        wire = read(document).wire()
        own.pass_on(wire, GPT, 10)
        neutral = wire.neutral()
    except BadRequest as refused:
        return refused.field
    except Untranslatable as refused:
        return str(refused).partition(": ")[0]
    OpenAIChat().encode(neutral, GPT, 10)
    if neutral.n == 1:
        AnthropicMessages().encode(neutral, CLAUDE, 10)
    return None


def leads_somewhere(document: Document, path: str) -> bool:
    """Whether a path names a field that is there, or one that is missing where others could be."""
    value: Any = document
    assert path, "a refusal without a field"
    *steps, last = re.findall(r"[^.\[\]]+|\[\d+\]", path)
    for step in steps:
        value = value[int(step[1:-1])] if step.startswith("[") else value[step]
    if last.startswith("["):
        return isinstance(value, list) and int(last[1:-1]) < len(value)
    return isinstance(value, dict)


# There and back


@SPOKEN
@given(st.data())
def test_a_request_survives_the_way_to_anthropic_and_back(api: str, data: st.DataObject) -> None:
    read, _, documents = APIS[api]
    neutral = read(data.draw(documents)).wire().neutral()

    sent = json.loads(AnthropicMessages().encode(neutral, CLAUDE, neutral.max_output_tokens or 1))

    assert essence(AnthropicRequest(without_marks(sent)).wire().neutral()) == essence(neutral)


@SPOKEN
@given(st.data())
def test_a_request_survives_the_way_to_openai_and_back(api: str, data: st.DataObject) -> None:
    read, _, documents = APIS[api]
    neutral = read(data.draw(documents)).wire().neutral()

    sent = json.loads(OpenAIChat().encode(neutral, GPT, neutral.max_output_tokens or 1))

    assert essence(OpenAIRequest(sent).wire().neutral()) == essence(neutral)


@SPOKEN
@given(st.data())
def test_a_good_request_is_read_whole(api: str, data: st.DataObject) -> None:
    """Every text, image, id and name of the client's is in its neutral form."""
    read, _, documents = APIS[api]
    document = data.draw(documents)
    request = read(document)

    neutral = request.wire().neutral()

    told = list(strings(neutral.model_dump(mode="json")))
    assert [each for each in carried(document) if not any(each in text for text in told)] == []
    assert request.left_out == ()


@SPOKEN
@given(st.data())
def test_fields_that_are_null_ask_for_nothing(api: str, data: st.DataObject) -> None:
    read, _, documents = APIS[api]
    document = data.draw(documents)
    padded = dict.fromkeys(NULL[api]) | document

    request = read(padded)

    assert request.wire().neutral() == read(unpadded(document)).wire().neutral()
    assert request.left_out == ()


def unpadded(value: Any) -> Any:
    """A document without fields that are null."""
    if isinstance(value, dict):
        return {name: unpadded(inner) for name, inner in value.items() if inner is not None}
    return [unpadded(inner) for inner in value] if isinstance(value, list) else value


CARRIERS = (
    *("text", "content", "input", "output", "instructions", "system", "stop", "stop_sequences", "url"),
    *("image_url", "data", "media_type", "id", "call_id", "tool_call_id", "tool_use_id", "name", "arguments"),
    *("description", "user", "user_id"),
)


def carried(value: Any, name: str = "") -> Iterator[str]:
    """The texts, images, ids and names in a client's document."""
    if isinstance(value, str):
        yield from [value.partition(",")[2] if value.startswith("data:") else value] * (name in CARRIERS)
    elif isinstance(value, list):
        for inner in value:
            yield from carried(inner, name)
    elif isinstance(value, dict) and value.get("type") == "tool_use":
        yield from (value["id"], value["name"], written(value["input"]))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from carried(inner, key)


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


def essence(request: ModelRequest) -> dict[str, Any]:
    """What a model gets to see, however it is cut into messages and texts."""
    said: list[tuple[str, Part]] = []
    for message in request.messages:
        role = "assistant" if message.role == "assistant" else "user"
        for part in message.parts if message.role != "system" else ():
            if isinstance(part, Text) and said and said[-1][0] == role and isinstance(said[-1][1], Text):
                said[-1] = (role, Text(text=said[-1][1].text + part.text))
            else:
                said.append((role, part))
    system = [request.system, *(message.text for message in request.messages if message.role == "system")]
    fields = request.model_dump(exclude={"messages", "system", "tool_choice"})
    choice = request.tool_choice or ToolChoice()
    return {**fields, "choice": choice, "said": said, "system": "".join(system)}


def without_marks(value: Any) -> Any:
    """A document without the cache breakpoints that curb sets."""
    if isinstance(value, dict):
        return {name: without_marks(inner) for name, inner in value.items() if name != "cache_control"}
    return [without_marks(inner) for inner in value] if isinstance(value, list) else value


# Refused, rather than read as something else

TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CHAT: Document = {
    "model": "m",
    "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [TOOL_CALL]}],
    "tools": [{"type": "function", "function": {"name": "look"}}],
}
MESSAGES: Document = {
    "model": "m",
    "messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}]}],
    "tools": [{"name": "look", "input_schema": {}}],
    "tool_choice": {"type": "auto"},
}
RESPONSES: Document = {
    "model": "m",
    "input": [
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ],
    "tools": [{"type": "function", "name": "look"}],
}


@pytest.mark.parametrize(
    ("read", "document", "field", "value"),
    [
        (OpenAIRequest, CHAT, "messages[1].tool_calls[0].function.arguments", {"path": "."}),
        (OpenAIRequest, CHAT, "tools[0].function.description", ["Looks."]),
        (AnthropicRequest, MESSAGES, "tools[0].description", 5),
        (AnthropicRequest, MESSAGES, "messages[0].content[0].is_error", "yes"),
        (AnthropicRequest, MESSAGES, "tool_choice.disable_parallel_tool_use", 1),
        (ResponsesRequest, RESPONSES, "input[0].arguments", {"path": "."}),
        (ResponsesRequest, RESPONSES, "input[1].content[0].refusal", ["No."]),
        (ResponsesRequest, RESPONSES, "tools[0].description", {}),
    ],
)
def test_a_value_of_another_kind_is_refused_rather_than_lost(
    read: Reader, document: Document, field: str, value: Any
) -> None:
    wrong = copy.deepcopy(document)
    *steps, last = re.findall(r"[^.\[\]]+", field)
    inner: Any = wrong
    for step in steps:
        inner = inner[int(step) if step.isdigit() else step]
    read(wrong).wire().neutral()
    inner[last] = value

    with pytest.raises(BadRequest) as refused:
        read(wrong).wire().neutral()

    assert refused.value.field == field
