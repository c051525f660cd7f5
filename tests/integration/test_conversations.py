"""Conversations and stored answers: numbered without gaps, once per key, the first answer stands."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from gateway.calls import Message, Settlement, StoredAnswer, Text, ToolResult
from gateway.errors import NotFound
from gateway.store import Store
from tests.integration.databases import migrated_database


@pytest.fixture(scope="module")
def url(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_conversations") as url:
        yield url


@pytest.fixture(scope="module")
async def store(url: str) -> AsyncIterator[Store]:
    async with await Store.connect(url) as store:
        yield store


def said(text: str) -> Message:
    return Message(role="user", parts=(Text(text=text),))


def answer(call_key: str, text: str) -> StoredAnswer:
    settlement = Settlement(
        attempt_id=f"{call_key}#1", state="settled", cost_nano_usd=12, input_tokens=70, cache_read_tokens=30
    )
    return StoredAnswer(
        call_key=call_key,
        message=Message(role="assistant", parts=(Text(text=text),)),
        finish_reason="stop",
        deployment="sim/steady",
        settlement=settlement,
    )


async def test_items_are_numbered_from_zero_in_the_order_they_came(store: Store) -> None:
    conversation = await store.conversations.create("order", "coder")

    numbers = [await store.conversations.append(conversation, f"k{i}", said(str(i))) for i in range(3)]

    assert numbers == [0, 1, 2]
    assert [item.message.text for item in await store.conversations.load(conversation)] == ["0", "1", "2"]
    assert [item.key for item in await store.conversations.load(conversation, up_to=1)] == ["k0", "k1"]
    assert [item.number for item in await store.conversations.items(conversation, [2, 0])] == [0, 2]


async def test_the_same_key_is_one_item_and_keeps_its_first_words(store: Store) -> None:
    conversation = await store.conversations.create("once", "coder")
    first = await store.conversations.append(conversation, "k", said("first"))

    again = await store.conversations.append(conversation, "k", said("second"))

    assert again == first == await store.conversations.find(conversation, "k")
    assert [item.message.text for item in await store.conversations.load(conversation)] == ["first"]


async def test_a_run_gets_the_same_conversation_again(store: Store) -> None:
    assert await store.conversations.create("same", "a") == await store.conversations.create("same", "a")


async def test_no_gaps_and_no_doubles_under_concurrency(store: Store) -> None:
    """Eight writers, each key written by four of them."""
    conversation = await store.conversations.create("crowd", "coder")
    keys = [f"k{i % 50}" for i in range(200)]

    numbers = await asyncio.gather(
        *(store.conversations.append(conversation, key, said(key)) for key in keys)
    )

    items = await store.conversations.load(conversation)
    assert [item.number for item in items] == list(range(50))
    by_key = {item.key: item.number for item in items}
    assert numbers == [by_key[key] for key in keys]


async def test_there_must_be_a_conversation(store: Store) -> None:
    with pytest.raises(NotFound, match="no conversation nowhere"):
        await store.conversations.append("nowhere", "k", said("x"))


async def test_any_text_survives(store: Store) -> None:
    conversation = await store.conversations.create("bytes", "coder")
    text = 'nul \x00, backslash \\u0000, quote ", 🜚, line\u2028'
    message = Message(role="tool", parts=(ToolResult(tool_use_id="t", content=text),))

    await store.conversations.append(conversation, "k", message)

    [item] = await store.conversations.load(conversation)
    assert item.message == message


async def test_an_answer_is_the_item_of_its_conversation(store: Store) -> None:
    conversation = await store.conversations.create("answers", "coder")
    await store.conversations.append(conversation, "task", said("do it"))

    stored = await store.answers.save(conversation, answer("run:t:1", "done \x00"))

    assert stored.item == 1
    assert await store.answers.load("run:t:1") == stored
    items = await store.conversations.load(conversation)
    assert [(item.number, item.prompt_tokens) for item in items] == [(0, 0), (1, 100)]


async def test_the_first_stored_answer_wins(store: Store) -> None:
    conversation = await store.conversations.create("first", "coder")
    first = await store.answers.save(conversation, answer("run:f:1", "mine"))

    second = await store.answers.save(conversation, answer("run:f:1", "the zombie's"))

    assert second == first
    assert second.message.text == "mine"


@pytest.mark.parametrize("text", ["plain", "nul \x00 and \\u0000"])
async def test_an_http_answer_is_kept_for_a_day(store: Store, url: str, text: str) -> None:
    key = f"http:k:{len(text)}"
    first = await store.answers.save("", answer(key, text))
    second = await store.answers.save("", answer(key, "other"))
    assert (first.message.text, first.item) == (text, -1)
    assert second == first == await store.answers.load(key)

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE http_answers SET expires_at = now() WHERE call_key = %s", [key])

    assert await store.answers.load(key) is None
    assert (await store.answers.save("", answer(key, "new"))).message.text == "new"


async def test_dead_http_answers_are_swept(store: Store, url: str) -> None:
    await store.answers.save("", answer("http:k:dead", "x"))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE http_answers SET expires_at = now() WHERE call_key = 'http:k:dead'")

    assert await store.answers.expire() >= 1


async def test_an_unknown_call_has_no_answer(store: Store) -> None:
    assert await store.answers.load("run:nobody:1") is None
