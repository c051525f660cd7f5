"""When requests are the same: the order of keys, defaults and who asks do not count; all else does."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache_keys import exact_key, likeness, may_be_cached
from gateway.calls import Call, Caller, Message, ModelRequest, Text, WireRequest
from gateway.errors import ConfigurationError
from gateway.http.openai_request import OpenAIRequest
from worker.config import parse_config

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.text(min_size=1, max_size=8), values, max_size=6)


def wire(document: dict[str, Any]) -> WireRequest:
    return WireRequest("openai", document, neutral=lambda: ModelRequest(messages=()), streamed=False)


def key(document: dict[str, Any], **more: Any) -> str:
    request = wire(document)
    call = replace(
        Call(key="k", caller=Caller(agent="a", key_id="k1"), request=request, tier="quick"), **more
    )
    return exact_key(call, request, shared=False)


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        chance.shuffle(items)
        return {name: shuffled(each, chance) for name, each in items}
    return [shuffled(each, chance) for each in value] if isinstance(value, list) else value


@given(documents, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_count(document: dict[str, Any], chance: random.Random) -> None:
    assert key(document) == key(shuffled(document, chance))


@given(documents)
def test_what_is_left_out_and_what_is_null_are_the_same(document: dict[str, Any]) -> None:
    full = {**document, "stop": None, "n": 1, "stream": False, "user": "bob", "metadata": {"a": 1}}
    bare = {k: v for k, v in document.items() if k not in ("stop", "n", "stream", "user", "metadata")}
    assert key(full) == key(bare)


@given(documents, documents)
def test_different_requests_have_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    def said(document: dict[str, Any]) -> str:
        plain = {name: value for name, value in document.items() if value is not None}
        return json.dumps(plain, sort_keys=True)

    assert (key(one) == key(other)) == (said(one) == said(other))


def test_owner_and_model_count_and_sharing_lifts_the_owner() -> None:
    document: dict[str, Any] = {"messages": []}
    other = Caller(agent="b", key_id="k2")
    assert key(document) != key(document, caller=other)
    assert key(document) != key(document, tier="frontier")
    call = Call(key="k", caller=other, request=wire(document), tier="quick")
    mine = replace(call, caller=Caller(agent="a", key_id="k1"))
    assert exact_key(call, wire(document), shared=True) == exact_key(mine, wire(document), shared=True)


@pytest.mark.parametrize(
    ("use", "temperature", "n", "may"),
    [
        ("off", 0, 1, False),
        ("auto", 0, 1, True),
        ("auto", 0.1, 1, False),
        ("auto", None, 1, False),
        ("exact", 0.9, 1, True),
        ("semantic", None, 1, True),
        ("exact", 0, 2, False),
    ],
)
def test_when_an_answer_may_be_cached(use: Any, temperature: float | None, n: int, may: bool) -> None:
    request = ModelRequest(messages=(), temperature=temperature, n=n)
    assert may_be_cached(use, request) == may


def alike(messages: list[dict[str, Any]], **more: Any) -> Any:
    request = OpenAIRequest({"model": "quick", "messages": messages, "max_tokens": 9, **more}).wire()
    call = Call(key="k", caller=Caller(agent="a", key_id="k1"), request=request, tier="quick")
    return likeness(call, request, shared=False)


def test_only_the_last_words_of_a_user_may_differ() -> None:
    one, other = [alike([{"role": "user", "content": words}]) for words in ("Hello", "Good day")]
    assert (one.text, other.text) == ("Hello", "Good day")
    assert one.partition == other.partition

    system = {"role": "system", "content": "Be brief."}
    said = {"role": "user", "content": "Hello"}
    tools = [{"type": "function", "function": {"name": "f"}}]
    others = [
        alike([system, said]),
        alike([said, said]),
        alike([said], tools=tools),
        alike([said], temperature=1),
    ]
    assert len({one.partition, *(each.partition for each in others)}) == 5


def test_images_answers_and_what_cannot_be_translated_are_like_nothing() -> None:
    image = {"type": "image_url", "image_url": {"url": "http://x/y.png"}}
    assert alike([{"role": "user", "content": [{"type": "text", "text": "See"}, image]}]) is None
    assert alike([{"role": "assistant", "content": "Hello"}]) is None
    assert alike([{"role": "user", "content": "Hello"}], logprobs=True) is None
    empty = ModelRequest(messages=(Message(role="user", parts=(Text(text=" "),)),))
    assert likeness(Call("k", Caller("a"), empty, "quick"), empty, shared=False) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cache: {semantic: {deployment: openai/gpt-5-mini}}", "is no deployment of `kind: embedding`"),
        ("cache: {semantic: {deployment: openai/nothing}}", "there is no deployment openai/nothing"),
        ("agents: {a: {cache: semantic}}", "needs a section `cache: {semantic: {}}`"),
        ("cache: {for: 0s}", "cache.for"),
    ],
)
def test_mistakes_in_the_configuration_are_told(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said.replace("{", "\\{").replace("}", "\\}")):
        parse_config(text)


def test_the_cache_is_switched_off_by_a_word() -> None:
    assert parse_config("cache: off").gateway.cache.off
    config = parse_config("cache: {for: 2h, semantic: {threshold: 90%}}\nagents: {a: {cache: off}}")
    assert config.gateway.cache.ttl_seconds == 7200
    assert config.gateway.cache.semantic is not None
    assert config.gateway.cache.semantic.threshold == 0.9
    assert config.agents["a"].cache == "off"
