"""The ledger: each event is booked exactly once, whatever the order and however often it comes."""

import itertools
import random
from collections.abc import AsyncIterator, Iterator, Sequence

import psycopg
import pytest

from gateway.events import Event
from gateway.store import Store, StoreRejected
from gateway.store.ledger import Ledger
from tests.integration.databases import migrated_database
from tests.integration.ledger_events import (
    AT_MS,
    COUNTERS,
    DAY,
    in_doubt,
    posted,
    refused,
    released,
    reserved,
    settled,
    swept,
    switched,
)


@pytest.fixture(scope="module")
def url(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_ledger") as url:
        yield url


@pytest.fixture(scope="module")
async def store(url: str) -> AsyncIterator[Store]:
    async with await Store.connect(url) as store:
        yield store


def picture(url: str, prefix: str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """What the books say about the attempts of one test, without the ids of its copies."""
    with psycopg.connect(url) as connection:
        attempts = connection.execute(
            "SELECT substr(attempt_id, length(%(p)s) + 1), state, opened, cost_nano_usd, estimate_nano_usd,"
            " reserved_nano_usd, counters, status, basis, day, closed_seq, in_doubt_at"
            " FROM attempts WHERE starts_with(attempt_id, %(p)s) ORDER BY 1",
            {"p": prefix},
        ).fetchall()
        postings = connection.execute(
            "SELECT substr(attempt_id, length(%(p)s) + 1), kind, amount_nano_usd, day"
            " FROM ledger WHERE starts_with(attempt_id, %(p)s) ORDER BY 1, 2, 3",
            {"p": prefix},
        ).fetchall()
    return attempts, postings


async def test_a_settled_attempt_has_one_row_and_one_posting(store: Store) -> None:
    await store.ledger.apply_events([reserved("plain#1"), settled("plain#1", 700)])

    row = await store.attempts.get("plain#1")
    assert row is not None
    assert (row["state"], row["cost_nano_usd"], row["success"], row["user_id"]) == (
        "settled",
        700,
        True,
        "ann",
    )
    assert row["counters"] == list(COUNTERS)
    assert row["tags"] == {"case": "7"}
    assert round(row["queued_at"].timestamp() * 1000) == AT_MS - 20
    assert (await store.attempts.booked(["plain#1"]))["plain#1"].ledger_nano_usd == 700


async def test_an_attempt_that_cost_nothing_is_posted_too(store: Store, url: str) -> None:
    await store.ledger.apply_events([reserved("free#1"), settled("free#1", 0, basis="error_answer")])

    assert [posting[1:3] for posting in picture(url, "free#")[1]] == [("settle", 0)]


async def test_every_event_again_changes_nothing(store: Store, url: str) -> None:
    events = [
        reserved("again#1"),
        settled("again#1", 5),
        posted("again/1", "again#1", 3),
        refused("again/r/1"),
    ]
    await store.ledger.apply_events(events)
    before = picture(url, "again")

    for event in [*events, *reversed(events)]:
        await store.ledger.apply_events([event])

    assert picture(url, "again") == before


LIVES: dict[str, list[Event]] = {
    "settled": [reserved("a#1", seq=1), settled("a#1", 70, seq=2)],
    "doubt_settled": [reserved("a#1", seq=1), in_doubt("a#1", seq=2), settled("a#1", 70, seq=3)],
    "swept_owned_settled": [
        reserved("a#1", seq=1), swept("a#1", seq=2), in_doubt("a#1", seq=3), settled("a#1", 70, seq=4),
    ],
    "released": [reserved("a#1", seq=1), released("a#1", seq=2)],
    "still_in_doubt": [reserved("a#1", seq=1), swept("a#1", seq=2), in_doubt("a#1", seq=3)],
    "adjusted": [reserved("a#1", seq=1), settled("a#1", 70, seq=2), posted("a/1", "a#1", -20, seq=3)],
}  # fmt: skip


def named(events: Sequence[Event], prefix: str) -> list[Event]:
    """The same events for an attempt of another name."""
    names = {key: f"{prefix}{value}" for key, value in (("attempt_id", "a#1"), ("posting_id", "a/1"))}
    return [
        Event(
            e.kind, e.body | {k: v for k, v in names.items() if k in e.body}, e.epoch, e.seq, e.at_ms, e.day
        )
        for e in events
    ]


@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("together", [True, False], ids=["one-batch", "one-by-one"])
async def test_order_does_not_matter(store: Store, url: str, life: str, together: bool) -> None:
    events = LIVES[life]
    pictures = []
    for number, order in enumerate(itertools.permutations(events)):
        prefix = f"{life}-{together}-{number}-"
        mine = named(order, prefix)
        for batch in [mine] if together else [[event] for event in mine]:
            await store.ledger.apply_events(batch)
        pictures.append(picture(url, prefix))

    assert all(one == pictures[0] for one in pictures)


async def test_a_settlement_of_an_unknown_attempt_is_booked_at_once(store: Store) -> None:
    await store.ledger.apply_events([settled("early#1", 33)])
    early = await store.attempts.get("early#1")

    await store.ledger.apply_events([reserved("early#1")])

    late = await store.attempts.get("early#1")
    assert early is not None
    assert late is not None
    assert (early["state"], early["agent"], early["day"].isoformat()) == ("settled", "", DAY)
    assert (late["state"], late["agent"], late["cost_nano_usd"]) == ("settled", "coder", 33)
    assert (await store.attempts.booked(["early#1"]))["early#1"].ledger_nano_usd == 33


async def test_what_a_process_books_without_redis_stands_and_its_copy_changes_nothing(store: Store) -> None:
    direct = settled("direct#1", 21, epoch=0, seq=0)
    await store.ledger.apply_events([reserved("direct#1")])
    await store.ledger.apply_events([direct])
    assert [row["attempt_id"] for row in await store.attempts.direct()] == ["direct#1"]

    await store.ledger.apply_events([settled("direct#1", 21, seq=40)])

    assert await store.attempts.direct() == []
    assert (await store.attempts.booked(["direct#1"]))["direct#1"].ledger_nano_usd == 21


async def test_a_direct_settlement_takes_its_day_from_the_attempt(store: Store, url: str) -> None:
    event = settled("day#1", 4, epoch=0, seq=0)
    await store.ledger.apply_events([reserved("day#1")])
    await store.ledger.apply_events([Event("settled", event.body)])

    assert [str(posting[3]) for posting in picture(url, "day#")[1]] == [DAY]


async def test_a_refusal_has_a_row_and_no_posting(store: Store, url: str) -> None:
    await store.ledger.apply_events([refused("no/r/1")])

    row = await store.attempts.get("no/r/1")
    assert row is not None
    assert (row["state"], row["status"], row["error_type"]) == ("refused", "refused", "exhausted")
    assert row["refusal"]["scope"] == "agent:coder"
    assert picture(url, "no/r/")[1] == []


async def test_postings_cannot_be_changed_or_deleted(store: Store, url: str) -> None:
    await store.ledger.apply_events([reserved("fixed#1"), settled("fixed#1", 1)])

    with psycopg.connect(url, autocommit=True) as connection:
        for statement in ("UPDATE ledger SET amount_nano_usd = 0", "DELETE FROM ledger", "TRUNCATE ledger"):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                connection.execute(statement.encode())


async def test_text_that_postgres_cannot_store_is_replaced_not_lost(store: Store) -> None:
    odd = settled("odd#1", 9, error_message="cut\x00here", provider_usage={"k\x00": "\ud800 alone"})
    await store.ledger.apply_events([reserved("odd#1", tags={"path": "C:\\u0000"}), odd])

    row = await store.attempts.get("odd#1")
    assert row is not None
    assert row["error_message"] == "cut\ufffdhere"
    assert row["tags"] == {"path": "C:\\u0000"}
    assert row["cost_nano_usd"] == 9


@pytest.mark.parametrize(
    "bad",
    [
        settled("poison#2", -1),
        reserved("poison#2", asked=2**70),
        Event("settled", {"attempt_id": "poison#2", "state": "settled", "cost_nano_usd": "much"}, 1, 1),
        Event("reserved", {"call_key": "no id"}, 1, 1),
    ],
    ids=["negative", "too-large", "not-a-number", "no-id"],
)
async def test_a_batch_with_an_impossible_event_is_refused_whole(store: Store, bad: Event) -> None:
    with pytest.raises(StoreRejected):
        await store.ledger.apply_events([reserved("poison#1"), bad])

    assert await store.attempts.get("poison#1") is None


async def test_a_buried_event_is_kept_and_raises_an_alert_once(store: Store) -> None:
    event = Event("settled", {"attempt_id": "buried#1", "note": "\x00"}, 1, 77, AT_MS)

    for _ in range(2):
        await store.ledger.bury(event, "cannot be booked")

    assert await store.ledger.dead() == 1
    [alert] = await store.events.alerts(rule="dead_event")
    assert alert.evidence["error"] == "cannot be booked"


async def test_alerts_switches_and_top_ups_are_written_once(store: Store) -> None:
    alert = Event("alert", {"rule": "velocity", "scope": "agent:x", "evidence": {"nano": 6}}, 1, 5, AT_MS)
    top_up = Event(
        "top_up",
        {"top_up_id": "t1", "counter": "run:r9|run|run", "amount_nano_usd": 50, "by": "ann"},
        1,
        6,
        AT_MS,
    )
    switch = switched("kill:agent:x", "", "manual:ann:test", seq=7)

    for _ in range(3):
        await store.ledger.apply_events([alert, top_up, switch])

    assert [a.evidence for a in await store.events.alerts(rule="velocity")] == [{"nano": 6}]
    assert await store.budgets.top_ups(["run:r9|run|run"]) == {"run:r9|run|run": 50}
    assert [(c.old, c.new) for c in await store.events.switch_changes("kill:agent:x")] == [
        ("", "manual:ann:test")
    ]


async def test_the_mark_is_the_highest_place_booked(store: Store) -> None:
    await store.ledger.apply_events([reserved("mark#1", seq=900), settled("mark#1", 1, seq=901)])
    await store.ledger.apply_events([reserved("mark#2", seq=899)])

    assert await store.ledger.mark() == (1, 901)


async def test_many_writers_of_the_same_events_agree(store: Store, url: str) -> None:
    """Batches that overlap, from several connections at once, in different orders."""
    import asyncio

    events = [e for i in range(200) for e in (reserved(f"crowd#{i}"), settled(f"crowd#{i}", i))]

    async def write(ledger: Ledger, seed: int) -> None:
        mine = random.Random(seed).sample(events, len(events))
        for at in range(0, len(mine), 50):
            await ledger.apply_events(mine[at : at + 50])

    await asyncio.gather(*(write(store.ledger, seed) for seed in range(6)))

    attempts, postings = picture(url, "crowd#")
    assert len(attempts) == len(postings) == 200
    assert sum(int(str(posting[2])) for posting in postings) == sum(range(200))
