"""Attempts that were closed in Postgres alone, and what Redis is told of them."""

import time
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.calls import Settlement
from gateway.drainer import Drainer
from gateway.events import Event
from gateway.rebuild import Rebuilder, tell_of_strays
from gateway.state.authority import Reservation
from tests.integration.books import Books, open_books, settlement
from tests.integration.databases import migrated_database
from tests.integration.waiting import until

HOUR_MS = 3_600_000


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_strays") as url:
        yield url


@pytest.fixture
async def owner(redis_url: str, url: str) -> AsyncIterator[Books]:
    """A process whose leases lapse at once."""
    async with open_books(redis_url, url, lease_seconds=0.01, lease_grace_seconds=0.0) as books:
        await reopen(books)
        yield books


async def reopen(books: Books) -> None:
    await until(Rebuilder(books.authority, books.store, books.authority.process_id).round)


async def close_directly(books: Books, held: Reservation, end: Settlement, *, age_ms: int = 0) -> None:
    """As a process does that cannot reach Redis; its `reserved` event has been drained."""
    await Drainer(books.authority, books.store, "d").drain_all()
    at_ms = time.time_ns() // 1_000_000 - age_ms
    event = Event(end.state, end.model_dump(mode="json"), at_ms=at_ms, day=held.day)
    await books.store.ledger.apply_events([event])


async def test_the_word_of_an_owner_that_died_since_releases_what_redis_has_in_doubt(
    owner: Books, redis_url: str, url: str
) -> None:
    held = await owner.admit("unsent", 400)
    await until(owner.authority.expire_overdue)
    await close_directly(owner, held, settlement(held.attempt_id, state="released", basis="not_sent"))

    async with open_books(redis_url, url, prefix=owner.prefix) as other:
        assert await tell_of_strays(other.authority, other.store, 1) == 1

    assert set((await owner.counters()).values()) == {(0, 0, 0)}
    assert await owner.store.attempts.direct() == []


async def test_what_was_settled_directly_long_before_a_rebuild_is_counted_once(owner: Books) -> None:
    """Redis was away for two days, so that it does not know even the name of the attempt."""
    held = await owner.admit("old", 400)
    await close_directly(owner, held, settlement(held.attempt_id, 300), age_ms=50 * HOUR_MS)

    await owner.forget()
    await reopen(owner)
    await tell_of_strays(owner.authority, owner.store, 2)

    assert set((await owner.counters()).values()) == {(300, 0, 0)}
