"""Closing days and months: once, with the numbers of the books, and loud where counters differ."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta

import pytest

from gateway.closing import Closing, close_day, close_window, windows_to_close
from gateway.errors import ConfigurationError, StateUnavailable
from gateway.policy.scopes import Period
from gateway.store.days import BudgetSnapshot
from tests.integration.books import Books, open_books
from tests.integration.databases import copied_database
from tests.integration.past_days import (
    CALENDAR,
    at_noon,
    attempt,
    day_window,
    days_ago,
    open_budgets,
    refusal,
    today,
)


def yesterday() -> date:
    """Asked when it is needed: the tests may run over midnight."""
    return days_ago(1)


@pytest.fixture
def url(database_url: str, database: str) -> Iterator[str]:
    with copied_database(database_url, database, "test_closing_copy") as url:
        yield url


@pytest.fixture
async def books(redis_url: str, url: str) -> AsyncIterator[Books]:
    async with open_books(redis_url, url) as books:
        yield books


async def close(books: Books, day: date | None = None, *, preliminary: bool = False) -> Closing:
    return await close_day(
        books.authority, books.store, CALENDAR, day or yesterday(), preliminary=preliminary
    )


async def snapshot(books: Books, day: date | None = None) -> dict[str, BudgetSnapshot]:
    day = day or yesterday()
    return {each.scope: each for each in await books.store.days.budgets(Period.DAY, day.isoformat())}


async def test_a_closed_day_keeps_what_every_budget_came_to(books: Books) -> None:
    limits = {("agent:*", Period.DAY): 500, ("global", Period.DAY): 10_000, ("team:red", Period.DAY): 70}
    await books.store.budgets.apply_policy(limits, source="test", applied_by="test")
    events = [
        *attempt("a", yesterday(), 400),
        *attempt("b", yesterday(), 300),
        *attempt("c", days_ago(2), 50),
    ]
    events += [refusal("x", yesterday(), "agent:coder"), refusal("y", yesterday(), "agent:coder", "month")]
    events += [refusal("z", today(), "agent:coder")]
    await books.store.ledger.apply_events(events)
    await books.store.budgets.top_up("t1", f"agent:coder|day|{yesterday()}", 100, by="ann")
    await open_budgets(books)

    done = await close(books)

    assert (done.new, done.verified, done.differences, done.spent_nano_usd) == (True, True, 0, 700)
    found = await snapshot(books)
    assert found["agent:coder"] == BudgetSnapshot("agent:coder", 600, 100, 700, 0, 0, 100, 1)
    assert found["global"] == BudgetSnapshot("global", 10_000, 0, 700, 0, 0, 0, 0)
    assert found["team:red"] == BudgetSnapshot("team:red", 70, 0, 0, 0, 0, 0, 0)


async def test_a_call_in_flight_is_held_by_the_day_that_admitted_it(books: Books) -> None:
    await books.store.ledger.apply_events(attempt("a", yesterday()))
    await open_budgets(books)  # nobody claims it: it is in doubt

    await close(books)

    assert (await snapshot(books))["global"].in_doubt_nano_usd == 900


async def test_a_day_is_closed_once_however_many_close_it(books: Books) -> None:
    await books.store.ledger.apply_events(attempt("a", yesterday(), 400))
    await open_budgets(books)

    done = await asyncio.gather(*(close(books) for _ in range(5)))
    await books.store.ledger.apply_events(attempt("late", yesterday(), 5))
    again = await close(books)

    assert [each.new for each in done].count(True) == 1
    assert (again.new, again.spent_nano_usd) == (False, 400)
    assert (await snapshot(books))["global"].spent_nano_usd == 400


async def test_a_preliminary_closing_is_replaced_by_the_next_and_by_the_real_one(books: Books) -> None:
    await books.store.ledger.apply_events(attempt("a", yesterday(), 400))
    await open_budgets(books)
    window = day_window(yesterday())
    values = {"spent_nano_usd": 1, "verified": True, "differences": 0, "preliminary": True}
    early = BudgetSnapshot("global", None, 0, 1, 0, 0, 0, 0)
    assert await books.store.days.close(Period.DAY, window, [early], **values)  # type: ignore[arg-type]
    assert await books.store.days.close(Period.DAY, window, [early], **values)  # type: ignore[arg-type]

    assert (await close(books)).new

    closed = await books.store.days.closed(Period.DAY, window.id)
    assert closed is not None
    assert (closed.preliminary, closed.spent_nano_usd) == (False, 400)
    assert not await books.store.days.close(Period.DAY, window, [early], **values)  # type: ignore[arg-type]
    assert (await snapshot(books))["global"].spent_nano_usd == 400


async def test_today_can_only_be_closed_preliminarily(books: Books) -> None:
    await open_budgets(books)
    reservation = await books.admit("k", 1000)
    await books.settle(reservation, 40)
    await open_budgets(books)  # books what is in the outbox

    with pytest.raises(ConfigurationError, match="is not over"):
        await close(books, today())
    done = await close(books, today(), preliminary=True)

    assert (done.preliminary, done.new, done.verified, done.spent_nano_usd) == (True, True, False, 40)


async def test_a_day_to_come_cannot_be_closed_at_all(books: Books) -> None:
    await open_budgets(books)

    with pytest.raises(ConfigurationError, match="is not over"):
        await close(books, today() + timedelta(days=1), preliminary=True)


async def test_counters_that_differ_are_told_once_with_the_numbers_and_the_day_is_closed(
    books: Books,
) -> None:
    await books.store.ledger.apply_events(attempt("a", yesterday(), 400))
    await open_budgets(books)
    await books.redis.hincrby(f"{books.prefix}c:global|day|{yesterday()}", "spent", 7)

    preliminary = await close(books, preliminary=True)  # over, so that it is a real one
    await close(books)

    assert preliminary.differences == 1
    [alert] = await books.store.events.alerts(rule="counters_differ")
    assert alert.severity == "critical"
    assert alert.evidence["rows"] == [
        {
            "counter": f"global|day|{yesterday()}",
            "what": "spent",
            "ledger_nano_usd": 400,
            "counter_nano_usd": 407,
        }
    ]
    assert (await snapshot(books))["global"].spent_nano_usd == 400


async def test_a_day_that_redis_does_not_know_any_more_is_closed_without_comparing(books: Books) -> None:
    day = days_ago(70)
    await books.store.ledger.apply_events(attempt("a", day, 400))
    await open_budgets(books)

    done = await close(books, day)

    assert (done.verified, done.differences, done.spent_nano_usd) == (False, 0, 400)


async def test_nothing_is_closed_while_the_budgets_are_being_rebuilt(books: Books) -> None:
    with pytest.raises(StateUnavailable, match="rebuilt"):
        await close(books)

    assert await books.store.days.closed(Period.DAY, yesterday().isoformat()) is None


async def test_a_month_comes_to_the_sum_of_its_days(books: Books) -> None:
    first = today().replace(day=1)
    last_month = CALENDAR.window_on(Period.MONTH, first - timedelta(days=1))
    days = [first - timedelta(days=1), first - timedelta(days=2), first]
    for number, day in enumerate(days):
        await books.store.ledger.apply_events(attempt(f"a{number}", day, 100))
    await open_budgets(books)

    done = await close_window(books.authority, books.store, CALENDAR, Period.MONTH, last_month)

    assert (done.spent_nano_usd, done.verified, done.differences) == (200, True, 0)


async def test_every_ended_day_since_the_first_that_was_booked_on_is_to_be_closed(books: Books) -> None:
    await books.store.ledger.apply_events([*attempt("a", days_ago(4), 1), *attempt("b", days_ago(2), 1)])
    await open_budgets(books)
    await close(books, days_ago(3))

    found = await windows_to_close(books.store, CALENDAR, at_noon(today()))

    days = [window.id for period, window in found if period is Period.DAY]
    assert days == [days_ago(n).isoformat() for n in (4, 2, 1)]


async def test_where_nothing_was_ever_booked_only_the_last_day_is_to_be_closed(books: Books) -> None:
    found = await windows_to_close(books.store, CALENDAR, at_noon(date(2026, 11, 21)))

    assert [(period, window.id) for period, window in found] == [(Period.DAY, "2026-11-20")]


async def test_on_the_first_the_month_is_to_be_closed_too(books: Books) -> None:
    found = await windows_to_close(books.store, CALENDAR, at_noon(date(2026, 12, 1)))

    assert [window.id for _, window in found] == ["2026-11-30", "2026-11"]


async def test_a_preliminary_closing_leaves_the_day_to_be_closed(books: Books) -> None:
    await open_budgets(books)
    await close(books, today(), preliminary=True)

    found = await windows_to_close(books.store, CALENDAR, at_noon(today() + timedelta(days=1)))

    assert today().isoformat() in [window.id for _, window in found]


async def test_what_is_listed_and_gone_is_forgotten(books: Books) -> None:
    await open_budgets(books)
    reservation = await books.admit("k", 1000)
    await books.settle(reservation, 40)
    counter = reservation.counters[0]
    await books.redis.zadd(f"{books.prefix}counters", {"old|day|2020-01-01": 1})
    await books.redis.hset(f"{books.prefix}agents", "gone", "agent:gone|day|2020-01-01")
    await books.redis.hset(f"{books.prefix}paused", "agent:gone", "agent:gone|day|2020-01-01")

    assert await books.authority.prune() == 3
    assert await books.authority.prune() == 0

    assert counter in {each.counter for each in await books.authority.budgets()}
    assert await books.redis.hkeys(f"{books.prefix}agents") == [books.agent]
