"""Redis forgets everything, again and again, while calls go on: not a nano-dollar is lost."""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Iterator

import pytest

from gateway.booking import Booker
from gateway.drainer import Drainer
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.rebuild import Rebuilder
from gateway.reconcile import verify
from gateway.state.authority import Reservation
from tests.integration.books import Books, open_books, settlement
from tests.integration.databases import migrated_database
from tests.integration.waiting import until

CALLS, PROCESSES, WIPES = 150, 2, 3


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_storm") as url:
        yield url


class Worker:
    """One process: its authority, its drainer, its rebuilder, and calls that wait while they must."""

    def __init__(self, books: Books, seed: int) -> None:
        self.books = books
        self.booker = Booker(books.authority, books.store)
        self.rebuilder = Rebuilder(books.authority, books.store, books.authority.process_id)
        self.drainer = Drainer(books.authority, books.store, books.authority.process_id)
        self.spent = 0
        self._random = random.Random(seed)

    async def call(self, key: str) -> None:
        reservation = await self._admitted(key)
        await asyncio.sleep(self._random.uniform(0, 0.05))  # the provider's time
        cost = self._random.randrange(1000)
        await self.booker.close_attempt(settlement(reservation.attempt_id, cost), reservation.day)
        self.spent += cost

    async def calls(self, name: str) -> None:
        for number in range(CALLS):
            await self.call(f"{name}:{number}")

    async def _admitted(self, key: str) -> Reservation:
        while isinstance(answer := await self.books.authority.admit(self.books.ask(key, 1000)), Refusal):
            assert answer.kind in (RefusalKind.UNAVAILABLE, RefusalKind.IN_FLIGHT), answer
            await self.rebuilder.until_open()
            await asyncio.sleep(0.01)
        return answer


async def test_wipes_while_calls_go_on(redis_url: str, url: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_books(redis_url, url))
        others = [
            await stack.enter_async_context(open_books(redis_url, url, prefix=first.prefix))
            for _ in range(PROCESSES - 1)
        ]
        everybody = [first, *(dataclasses.replace(other, agent=first.agent) for other in others)]
        workers = [Worker(books, seed) for seed, books in enumerate(everybody)]
        upkeep = [asyncio.create_task(w.rebuilder.run()) for w in workers]
        upkeep += [asyncio.create_task(w.drainer.run()) for w in workers]
        await asyncio.gather(*(w.rebuilder.until_open() for w in workers))

        calls = asyncio.gather(*(w.calls(f"w{n}.{k}") for n, w in enumerate(workers) for k in range(3)))
        for wipe in range(WIPES):
            await until(lambda wipe=wipe: reached(first, wipe + 1))  # type: ignore[misc]
            await first.forget()
        await calls
        await until(lambda: settled_down(workers), 30)

        report = await verify(first.authority, first.store)
        for task in upkeep:
            task.cancel()
        await asyncio.gather(*upkeep, return_exceptions=True)

    assert report.differences == []
    assert report.dead_events == 0
    assert report.ledger_nano_usd == sum(w.spent for w in workers)
    assert (report.in_doubt_nano_usd, report.pending_nano_usd) == (0, 0)
    assert sum(w.rebuilder.rebuilds for w in workers) >= WIPES


async def reached(books: Books, epoch: int) -> bool:
    """Admission is open in this epoch or a later one, and a few decisions old."""
    state = await books.authority.epoch_state()
    return state.open and state.epoch >= epoch and state.seq > 40


async def settled_down(workers: list[Worker]) -> bool:
    books = workers[0].books
    return (
        all(w.booker.waiting == 0 for w in workers)
        and (await books.authority.epoch_state()).open
        and (await books.authority.outbox_stats())[0] == 0
        and await books.store.attempts.direct() == []
    )
