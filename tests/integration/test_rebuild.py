"""Rebuild (I8): Redis emptied or thrown back; the budgets come back from Postgres to the nano-dollar."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from gateway.drainer import Drainer
from gateway.errors import StateUnavailable
from gateway.events import Event
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.policy.scopes import Period
from gateway.rebuild import DrainedMark, Rebuilder
from gateway.store import Run
from tests.integration.books import Books, open_books, settlement
from tests.integration.databases import migrated_database
from tests.integration.ledger_events import switched
from tests.integration.waiting import until


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_rebuild") as url:
        yield url


@pytest.fixture
async def books(redis_url: str, url: str) -> AsyncIterator[Books]:
    async with open_books(redis_url, url) as books:
        yield books


def rebuilder(books: Books) -> Rebuilder:
    return Rebuilder(books.authority, books.store, books.authority.process_id)


async def open_with(books: Books, *rebuilders: Rebuilder) -> None:
    """Rounds until admission is open and everybody has noticed.

    Each has rounds of its own, as in a process of its own: the one that leads waits in its round for what
    the others do in theirs.
    """

    async def opened() -> bool:
        await asyncio.gather(*(until(each.round) for each in rebuilders))
        return (await books.authority.epoch_state()).open

    await until(opened)


@contextlib.asynccontextmanager
async def running(*rebuilders: Rebuilder) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.run()) for each in rebuilders]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_first_start_ever_opens_admission(books: Books) -> None:
    refused = await books.authority.admit(books.ask("early", 10))
    assert isinstance(refused, Refusal)
    assert refused.kind is RefusalKind.UNAVAILABLE

    async with running(mine := rebuilder(books)):
        await mine.until_open(10)

    await books.admit("call")
    assert await books.store.epochs.newest() == (1, "open")


async def test_waiting_for_admission_ends_with_a_reason(books: Books) -> None:
    with pytest.raises(StateUnavailable, match="could not be loaded"):
        await rebuilder(books).until_open(0.05)


async def test_an_emptied_redis_gets_every_number_back(books: Books) -> None:
    """Spent, held and in doubt; nothing was drained, so it all comes from this process's memory."""
    mine = rebuilder(books)
    await open_with(books, mine)
    await books.settle(await books.admit("spent", 1000), 700)
    await books.admit("held", 300)
    doubt = await books.admit("doubt", 50)
    await books.authority.close_attempt(settlement(doubt.attempt_id, state="in_doubt", estimate_nano_usd=20))
    before = await books.counters()

    await books.forget()
    await open_with(books, mine)

    assert await books.counters() == before
    assert set(before.values()) == {(700, 300, 50)}
    assert (await books.authority.epoch_state()).epoch == 2


async def test_what_was_drained_before_and_what_was_not_come_together(books: Books) -> None:
    mine = rebuilder(books)
    await open_with(books, mine)
    await books.settle(await books.admit("a"), 100)
    await Drainer(books.authority, books.store, "d").drain_all()
    await mine.round()
    assert len(books.authority.memory) == 0
    await books.settle(await books.admit("b"), 11)

    await books.forget()
    await open_with(books, mine)

    assert {spent for spent, _, _ in (await books.counters()).values()} == {111}


async def test_a_redis_thrown_back_in_time_is_noticed_by_whoever_looks(books: Books) -> None:
    mine = rebuilder(books)
    await open_with(books, mine)
    await books.settle(await books.admit("a"), 100)
    await books.redis.set(f"{books.prefix}seq", "1")  # as an older copy would have it

    await open_with(books, mine)

    assert (await books.authority.epoch_state()).epoch == 2
    assert {spent for spent, _, _ in (await books.counters()).values()} == {100}


async def test_a_process_that_starts_notices_that_redis_is_behind_the_books(
    books: Books, redis_url: str, url: str
) -> None:
    await open_with(books, rebuilder(books))
    await books.settle(await books.admit("a"), 100)
    await Drainer(books.authority, books.store, "d").drain_all()
    await books.redis.set(f"{books.prefix}seq", "1")

    async with open_books(redis_url, url, prefix=books.prefix) as newcomer:
        await open_with(newcomer, rebuilder(newcomer))

        assert (await newcomer.authority.epoch_state()).epoch == 2


async def test_an_attempt_that_nobody_claims_is_in_doubt(books: Books, redis_url: str, url: str) -> None:
    """Its process died; its money stays counted, at its bound."""
    async with open_books(redis_url, url, prefix=books.prefix) as dead:
        dead = dataclasses.replace(dead, agent=books.agent)
        await open_with(dead, rebuilder(dead))
        orphan = await dead.admit("orphan", 400)
        await Drainer(dead.authority, dead.store, "d").drain_all()

    await books.forget()
    await open_with(books, rebuilder(books))

    row = await books.store.attempts.get(orphan.attempt_id)
    assert row is not None
    assert (row["state"], row["doubt_by"]) == ("in_doubt", "rebuild")
    assert set((await books.counters()).values()) == {(0, 0, 400)}
    assert (
        await books.authority.close_attempt(settlement(orphan.attempt_id, 40, basis="invoice")) == "applied"
    )
    assert set((await books.counters()).values()) == {(40, 0, 0)}


async def test_every_living_process_is_waited_for(books: Books, redis_url: str, url: str) -> None:
    """The one that leads does not open before the other has written what it remembers."""
    async with open_books(redis_url, url, prefix=books.prefix) as slow:
        slow = dataclasses.replace(slow, agent=books.agent)
        mine, other = rebuilder(books), rebuilder(slow)
        await open_with(books, mine, other)
        held = await slow.admit("held", 70)
        await asyncio.gather(mine.heartbeat(), other.heartbeat())
        await books.forget()

        leading = asyncio.create_task(mine.round())
        await until(lambda: is_wanted(books))
        assert not leading.done()
        await other.round()
        await leading

        await open_with(books, mine, other)
        assert set((await books.counters()).values()) == {(0, 70, 0)}
        assert (await slow.authority.renew([held.attempt_id]))[held.attempt_id][0] == "held"


async def test_what_was_written_before_the_budgets_were_open_does_not_count_as_written_after(
    books: Books, redis_url: str, url: str
) -> None:
    """An epoch that was named, and flushed for, when another was just being opened. A process that had
    flushed for it admits calls since; the next rebuild must wait for what it remembers of them."""
    async with open_books(redis_url, url, prefix=books.prefix) as slow:
        slow = dataclasses.replace(slow, agent=books.agent)
        mine, other = rebuilder(books), rebuilder(slow)
        await open_with(books, mine, other)
        late = await books.store.epochs.want("seen closed, named when it was open again", 2)
        await books.store.epochs.flushed(slow.authority.process_id, late, [])
        await slow.admit("held", 70)
        await asyncio.gather(mine.heartbeat(), other.heartbeat())
        await books.forget()

        await open_with(books, mine, other)

        assert set((await books.counters()).values()) == {(0, 70, 0)}


async def test_many_processes_rebuild_once(books: Books, redis_url: str, url: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        others = [
            await stack.enter_async_context(open_books(redis_url, url, prefix=books.prefix)) for _ in range(3)
        ]
        everybody = [rebuilder(each) for each in (books, *others)]
        async with running(*everybody):
            await asyncio.gather(*(each.until_open(20) for each in everybody))

        assert sum(each.rebuilds for each in everybody) == 1
        assert (await books.authority.epoch_state()).epoch == 1


async def test_a_leader_that_died_in_the_middle_is_replaced(books: Books) -> None:
    """Wanted, flushed, partly loaded, never opened: the next round begins again."""
    mine = rebuilder(books)
    await open_with(books, mine)
    await books.settle(await books.admit("a"), 100)
    await books.forget()
    await books.store.epochs.want("a leader that is gone", 2)
    await books.redis.hset(f"{books.prefix}c:global|day|2026-11-21", mapping={"spent": "99999"})

    await open_with(books, mine)

    assert {spent for spent, _, _ in (await books.counters()).values()} == {100}


async def test_limits_top_ups_and_switches_come_back(books: Books) -> None:
    mine = rebuilder(books)
    await open_with(books, mine)
    scope, counter = f"agent:{books.agent}", f"run:{books.prefix}run|run|run"
    version = await books.store.budgets.apply_policy(
        {(scope, Period.DAY): 5000}, source="x", applied_by="ann"
    )
    await books.authority.apply_limits(version, {(scope, Period.DAY): 5000})
    await books.store.runs.open(Run(f"{books.prefix}run", books.agent, budget_nano_usd=2000))
    await books.admit("a", 100)
    await books.authority.top_up("t1", counter, 77, by="ann")
    names = [f"kill:agent:{books.agent}", f"kill:model:{books.agent}"]
    await books.store.ledger.apply_events(
        [
            switched(names[0], "", "manual:ann:stay", seq=1),
            switched(names[1], "", "manual:ann:gone", seq=2, expires_at_ms=1),
        ]
    )

    await books.forget()
    await open_with(books, mine)

    found = {b.counter: b.limit_nano_usd for b in await books.authority.budgets()}
    assert found[counter] == 2077
    assert [limit for name, limit in found.items() if name.startswith(scope)] == [5000]
    assert await books.authority.read_switches(names) == {names[0]: "manual:ann:stay"}
    assert not (await books.authority.top_up("t1", counter, 77)).applied
    await books.redis.delete(*names)


async def test_old_windows_and_old_runs_are_left_behind(books: Books, url: str) -> None:
    mine = rebuilder(books)
    await open_with(books, mine)
    await books.settle(await books.admit("old"), 100)
    await Drainer(books.authority, books.store, "d").drain_all()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE ledger DISABLE TRIGGER ledger_append_only")
        connection.execute("UPDATE ledger SET at = at - interval '100 days'")
        connection.execute(
            "UPDATE attempts SET counters = ARRAY['global|day|2020-01-01', 'run:old|run|run'],"
            " at = at - interval '100 days', settled_at = settled_at - interval '100 days'"
        )
    await mine.round()

    await books.forget()
    await open_with(books, mine)

    assert await books.counters() == {}


async def test_what_was_booked_without_redis_reaches_its_counters(books: Books) -> None:
    """Settled directly in Postgres while Redis was away; afterwards Redis still thinks it is held."""
    mine = rebuilder(books)
    await open_with(books, mine)
    held = await books.admit("direct", 500)
    await Drainer(books.authority, books.store, "d").drain_all()
    event = settlement(held.attempt_id, 120).model_dump(mode="json")
    await books.store.ledger.apply_events([Event("settled", event, day=held.day)])

    again = rebuilder(books)
    await again.round()

    assert set((await books.counters()).values()) == {(120, 0, 0)}
    assert await books.store.attempts.direct() == []
    await Drainer(books.authority, books.store, "d").drain_all()
    assert (await books.store.attempts.totals()).ledger_nano_usd == 120


async def test_memory_is_kept_until_the_outbox_has_passed_it(books: Books) -> None:
    mine = rebuilder(books)
    await open_with(books, mine)
    await books.settle(await books.admit("a"), 1)

    await mine.round()
    assert len(books.authority.memory) == 2

    await Drainer(books.authority, books.store, "d").drain_all()
    await mine.round()
    assert len(books.authority.memory) == 0


def test_the_mark_is_what_was_seen_before_the_oldest_that_waits() -> None:
    mark = DrainedMark()
    for at in range(10):
        mark.add(float(at), (1, at * 10))

    assert mark.before(4.5) == (1, 40)
    assert mark.before(4.9) is None
    assert mark.before(100.0) == (1, 90)


async def is_wanted(books: Books) -> bool:
    return await books.store.epochs.newest() == (2, "closed")
