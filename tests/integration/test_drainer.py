"""The drainer: everything in the outbox reaches Postgres once, whoever dies or is away."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from gateway.drainer import Drainer
from gateway.rebuild import Rebuilder
from gateway.store import Store
from tests.integration.books import Books, open_books
from tests.integration.databases import migrated_database
from tests.integration.waiting import until


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_drainer") as url:
        yield url


@pytest.fixture
async def books(redis_url: str, url: str) -> AsyncIterator[Books]:
    async with open_books(redis_url, url) as books:
        assert await Rebuilder(books.authority, books.store, books.authority.process_id).round()
        yield books


async def spend(books: Books, calls: int, *, name: str = "call") -> int:
    """So many calls, each settled; what they cost together."""
    for number in range(calls):
        await books.settle(await books.admit(f"{name}{number}"), number)
    return sum(range(calls))


async def empty(books: Books) -> bool:
    return (await books.authority.outbox_stats())[0] == 0


@contextlib.asynccontextmanager
async def running(*drainers: Drainer) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(drainer.run()) for drainer in drainers]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_was_decided_is_on_the_books(books: Books) -> None:
    cost = await spend(books, 20)

    assert await Drainer(books.authority, books.store, "d1").drain_all()

    totals = await books.store.attempts.totals()
    assert (totals.ledger_nano_usd, totals.attempts, totals.pending) == (cost, 20, 0)
    assert await empty(books)
    assert await books.store.ledger.mark() == books.authority.seen


async def test_two_drainers_at_once_book_everything_once(books: Books) -> None:
    drainers = [Drainer(books.authority, books.store, name, batch=7) for name in ("d1", "d2")]

    async with running(*drainers):
        cost = await spend(books, 60)
        await until(lambda: empty(books))

    totals = await books.store.attempts.totals()
    assert (totals.ledger_nano_usd, totals.attempts) == (cost, 60)


async def test_what_a_dead_drainer_had_read_is_claimed(books: Books) -> None:
    cost = await spend(books, 5)
    assert await books.authority.read_events("dead", 100, 0)  # and it was never heard of again

    drainer = Drainer(books.authority, books.store, "alive", claim_idle_ms=0)
    assert await drainer.drain_all()

    assert (await books.store.attempts.totals()).ledger_nano_usd == cost


async def test_a_drainer_killed_between_commit_and_acknowledgement_books_nothing_twice(books: Books) -> None:
    cost = await spend(books, 5)
    events = await books.authority.read_events("dead", 100, 0)
    await books.store.ledger.apply_events(events)  # committed, and killed before the acknowledgement

    assert await Drainer(books.authority, books.store, "alive", claim_idle_ms=0).drain_all()

    totals = await books.store.attempts.totals()
    assert (totals.ledger_nano_usd, totals.attempts) == (cost, 5)


async def test_postgres_away_delays_and_loses_nothing(books: Books, url: str, database_url: str) -> None:
    async with running(drainer := Drainer(books.authority, books.store, "d1")):
        async with refusing_connections(url, database_url):
            cost = await spend(books, 10)
            await until(lambda: failing(drainer))
        await until(lambda: empty(books))

    assert (await books.store.attempts.totals()).ledger_nano_usd == cost


async def test_an_impossible_event_is_put_aside_and_the_others_pass(books: Books) -> None:
    cost = await spend(books, 4)
    bad: Any = {
        "kind": "settled",
        "body": '{"attempt_id":"bad#1","state":"settled","cost_nano_usd":-5}',
        "epoch": "1",
        "seq": "999",
        "at_ms": "1795000000000",
        "day": "2026-11-21",
        "attempt_id": "bad#1",
        "number": "1",
        "counters": "[]",
    }
    await books.redis.xadd(f"{books.prefix}outbox", bad)
    cost += await spend(books, 4, name="after")

    drainer = Drainer(books.authority, books.store, "d1")
    assert await drainer.drain_all()

    assert drainer.buried == 1
    assert await books.store.ledger.dead() == 1
    assert [alert.rule for alert in await books.store.events.alerts(rule="dead_event")] == ["dead_event"]
    assert (await books.store.attempts.totals()).ledger_nano_usd == cost


async def test_lag_counts_what_waits(books: Books) -> None:
    drainer = Drainer(books.authority, books.store, "d1")
    await drainer.drain_all()
    await spend(books, 3)

    lag = await drainer.lag()

    assert lag.entries == 6
    assert lag.oldest_age_ms >= 0


async def test_a_drainer_process_killed_in_the_middle(books: Books, redis_url: str, url: str) -> None:
    """kill -9 while it works; another one finishes, and the sum is exact."""
    cost = await spend(books, 300)
    code = (
        "import asyncio\n"
        "from gateway.drainer import Drainer\n"
        "from tests.integration.books import open_books\n"
        "async def main() -> None:\n"
        f"    async with open_books({redis_url!r}, {url!r}, prefix={books.prefix!r}) as books:\n"
        "        await Drainer(books.authority, books.store, 'victim', batch=2).run()\n"
        "asyncio.run(main())\n"
    )
    victim = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    try:
        await until(lambda: some_booked(books.store, 20))
    finally:
        victim.kill()
        await victim.wait()
    assert not await empty(books)

    assert await Drainer(books.authority, books.store, "heir", claim_idle_ms=0).drain_all()

    totals = await books.store.attempts.totals()
    assert (totals.ledger_nano_usd, totals.attempts) == (cost, 300)


async def some_booked(store: Store, number: int) -> bool:
    return (await store.attempts.totals()).attempts >= number


async def failing(drainer: Drainer) -> bool:
    return drainer.failures > 0


@contextlib.asynccontextmanager
async def refusing_connections(url: str, server_url: str) -> AsyncIterator[None]:
    """The database throws everybody out and lets nobody in."""
    name = url.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
