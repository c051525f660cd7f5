"""Usage by the hour: always what the ledger comes to, whoever books while it is computed."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from gateway.events import Event
from gateway.policy.latency import percentile_ms
from gateway.store import Store
from gateway.store.folding import fold
from gateway.store.ledger import _book
from tests.integration.ledger_events import in_doubt, posted, refused, released, reserved, settled

HOUR_MS = 3_600_000
START = datetime(2026, 11, 21, 10, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with await Store.connect(database) as store:
        yield store


def at(event: Event, hours: float, day: str = "2026-11-21") -> Event:
    """The same event so many hours after START."""
    return replace(event, at_ms=START_MS + int(hours * HOUR_MS), day=day)


def hours_of(database: str, prefix: str) -> list[tuple[Any, ...]]:
    """(hour, cost, attempts, errors, refusals) of the agents of one test."""
    with psycopg.connect(database) as connection:
        return connection.execute(
            "SELECT to_char(hour AT TIME ZONE 'UTC', 'HH24'), sum(cost_nano_usd)::bigint, sum(attempts)::int,"
            " sum(errors)::int, sum(refusals)::int FROM usage_hours WHERE starts_with(agent, %s)"
            " GROUP BY hour ORDER BY hour",
            [prefix],
        ).fetchall()


def differences(database: str) -> list[tuple[Any, ...]]:
    """Where the three tables and the ledger disagree; every hour and every agent, user and day."""
    with psycopg.connect(database) as connection:
        return connection.execute(
            """
            WITH booked AS (
                SELECT date_trunc('hour', a.at, 'UTC') AS hour, coalesce(a.day, a.at::date) AS day,
                       a.agent, a.user_id, a.state, (SELECT coalesce(sum(amount_nano_usd), 0) FROM ledger AS l
                                 WHERE l.attempt_id = a.attempt_id) AS cost
                FROM attempts AS a),
            expected AS (
                SELECT 'agent' AS kind, hour, day, agent AS name, sum(cost) AS cost,
                       count(*) FILTER (WHERE state <> 'refused') AS attempts
                FROM booked GROUP BY hour, day, agent
                UNION ALL
                SELECT 'user', hour, day, user_id, sum(cost), count(*) FROM booked
                WHERE state <> 'refused' GROUP BY hour, day, user_id),
            found AS (
                SELECT 'agent' AS kind, hour, day, agent AS name, sum(cost_nano_usd) AS cost,
                       sum(attempts) AS attempts
                FROM usage_hours GROUP BY hour, day, agent
                UNION ALL
                SELECT 'user', hour, day, user_id, sum(cost_nano_usd), sum(attempts) FROM usage_users
                GROUP BY hour, day, user_id)
            (TABLE expected EXCEPT TABLE found) UNION ALL (TABLE found EXCEPT TABLE expected)
            """
        ).fetchall()


async def test_an_hour_has_what_its_attempts_were_booked_with(store: Store, database: str) -> None:
    await store.ledger.apply_events(
        [
            at(reserved("sum#1", agent="sum"), 0),
            at(settled("sum#1", 700), 0.1),
            at(reserved("sum#2", agent="sum"), 0.2),
            at(settled("sum#2", 50, status="error"), 0.3),
            at(reserved("sum#3", agent="sum"), 0.4),
            at(released("sum#3"), 0.4),
            at(replace(refused("sum/r/1"), body=refused("sum/r/1").body | {"agent": "sum"}), 0.5),
            at(reserved("sum#4", agent="sum"), 1),
        ]
    )
    await store.usage.refresh()

    assert hours_of(database, "sum") == [("10", 750, 3, 2, 1), ("11", 0, 1, 0, 0)]
    assert differences(database) == []


async def test_what_was_computed_is_not_computed_again(store: Store) -> None:
    await store.ledger.apply_events([at(reserved("once#1"), 0), at(settled("once#1", 7), 0)])

    assert await store.usage.refresh() >= 1
    assert await store.usage.refresh() == 0
    assert (await store.usage.stale()).marks == 0


async def test_the_newest_hours_are_computed_first_and_the_others_wait(store: Store, database: str) -> None:
    await store.usage.refresh()
    for hour in (0, 400, 200):
        name = f"turn-{hour}#1"
        await store.ledger.apply_events([at(reserved(name, agent="turn"), hour), at(settled(name, 1), hour)])

    assert await store.usage.refresh(limit=1) == 1
    assert [row[0] for row in hours_of(database, "turn")] == ["02"]  # 400 hours later
    assert (await store.usage.stale()).hours == 2
    assert await store.usage.refresh() == 2


async def test_a_call_is_booked_to_the_hour_in_which_it_was_admitted(store: Store, database: str) -> None:
    await store.ledger.apply_events([at(reserved("long#1", agent="long"), 0.9)])
    await store.usage.refresh()
    await store.ledger.apply_events([at(settled("long#1", 9), 1.1)])
    await store.usage.refresh()

    assert hours_of(database, "long") == [("10", 9, 1, 0, 0)]


async def test_an_attempt_whose_opening_comes_late_moves_to_its_own_hour(store: Store, database: str) -> None:
    await store.ledger.apply_events([at(settled("moves#1", 5), 2)])
    await store.usage.refresh()
    await store.ledger.apply_events([at(reserved("moves#1", agent="moves"), 0.5)])
    await store.usage.refresh()

    assert hours_of(database, "moves") == [("10", 5, 1, 0, 0)]
    assert differences(database) == []


async def test_an_adjustment_days_later_changes_the_hour_of_its_attempt(store: Store, database: str) -> None:
    await store.ledger.apply_events([at(reserved("fix#1", agent="fix"), 0), at(settled("fix#1", 90), 0)])
    await store.usage.refresh()
    await store.ledger.apply_events([at(posted("fix/1", "fix#1", -40), 72)])
    await store.usage.refresh()

    assert hours_of(database, "fix") == [("10", 50, 1, 0, 0)]


async def test_an_adjustment_beside_a_copy_that_changes_nothing_is_seen(store: Store, database: str) -> None:
    life = [at(reserved("copy#1", agent="copy"), 0), at(settled("copy#1", 90), 0)]
    await store.ledger.apply_events(life)
    await store.usage.refresh()
    await store.ledger.apply_events([*life, at(posted("copy/1", "copy#1", 3), 5)])
    await store.usage.refresh()

    assert hours_of(database, "copy") == [("10", 93, 1, 0, 0)]


async def test_an_adjustment_may_come_before_its_attempt(store: Store, database: str) -> None:
    await store.ledger.apply_events([at(posted("first/1", "first#1", 4), 0.1)])
    await store.usage.refresh()
    assert hours_of(database, "first") == []

    await store.ledger.apply_events([at(reserved("first#1", agent="first"), 0)])
    await store.usage.refresh()

    assert hours_of(database, "first") == [("10", 4, 1, 0, 0)]


async def test_adopted_usage_is_in_the_hour_in_which_it_was_used(store: Store, database: str) -> None:
    adopted = reserved("own#1", agent="own", queued_ms=START_MS + 60_000).body | settled("own#1", 30).body
    body = {"posting_id": "own/1", "attempt_id": "own#1", "amount_nano_usd": 30, "adopted": adopted}
    await store.ledger.apply_events([at(Event("posted", body, 1, 3), 30)])
    await store.usage.refresh()

    assert hours_of(database, "own") == [("10", 30, 1, 0, 0)]
    assert differences(database) == []


async def test_an_hour_that_holds_two_accounting_days_is_split(store: Store, database: str) -> None:
    for number, day in enumerate(("2026-11-21", "2026-11-22")):
        life = (reserved(f"split#{number}", agent="split"), settled(f"split#{number}", 10 + number))
        await store.ledger.apply_events([at(event, 0.4 + number / 4, day) for event in life])
    await store.usage.refresh()

    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT day::text, cost_nano_usd FROM usage_hours WHERE agent = 'split' ORDER BY day"
        ).fetchall()
    assert rows == [("2026-11-21", 10), ("2026-11-22", 11)]


async def test_names_of_any_length_can_be_summed(store: Store, database: str) -> None:
    endpoint = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=20_000))
    wordy = reserved("wordy#1", agent="wordy", endpoint=endpoint, feature=endpoint, user=endpoint)
    await store.ledger.apply_events([at(wordy, 0), at(settled("wordy#1", 8), 0)])
    await store.usage.refresh()

    assert hours_of(database, "wordy") == [("10", 8, 1, 0, 0)]


async def test_a_batch_that_is_not_committed_yet_is_computed_next_time(store: Store, database: str) -> None:
    await store.ledger.apply_events([at(reserved("late#1", agent="late"), 0), at(settled("late#1", 5), 0)])
    async with booking(database, at(posted("late/1", "late#1", 6), 1)):
        await store.usage.refresh()
        meanwhile = hours_of(database, "late")
    await store.usage.refresh()

    assert meanwhile == [("10", 5, 1, 0, 0)]
    assert hours_of(database, "late") == [("10", 11, 1, 0, 0)]


async def test_an_attempt_and_its_adjustment_may_be_booked_at_the_same_time(
    store: Store, database: str
) -> None:
    """The one who adjusts cannot see in which hour the attempt is, and commits last."""
    async with booking(database, at(posted("both/1", "both#1", 6), 1)):
        await store.ledger.apply_events(
            [at(reserved("both#1", agent="both"), 0), at(settled("both#1", 5), 0)]
        )
        await store.usage.refresh()
    await store.usage.refresh()

    assert hours_of(database, "both") == [("10", 11, 1, 0, 0)]


@asynccontextmanager
async def booking(database: str, *events: Event) -> AsyncIterator[None]:
    """A process that has booked these without the outbox, and commits when the block ends."""
    books = fold(replace(event, epoch=0, seq=0) for event in events)
    async with (
        await psycopg.AsyncConnection.connect(database, row_factory=dict_row) as connection,
        connection.transaction(),
    ):
        await _book(connection, books)
        yield


async def test_drainers_and_readers_at_once_lose_nothing(store: Store, database: str) -> None:
    random_source = random.Random(7)
    lives = [list(_life(number, random_source)) for number in range(600)]
    events = [event for life in lives for event in life]
    random_source.shuffle(events)
    batches = [events[start : start + 40] for start in range(0, len(events), 40)]
    booked = asyncio.Event()

    async def drain(part: list[list[Event]]) -> None:
        for batch in part:
            await store.ledger.apply_events(batch)

    async def read() -> None:
        while not booked.is_set():
            await store.usage.refresh(limit=3)

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await asyncio.gather(*(drain(batches[start::4]) for start in range(4)))
    booked.set()
    await asyncio.gather(*readers)
    await store.usage.refresh()

    assert differences(database) == []


def _life(number: int, random_source: random.Random) -> list[Event]:
    """An attempt's events, spread over twelve hours, some of them twice, some with adjustments."""
    name, admitted = f"crowd#{number}", random_source.random() * 12
    agent = f"crowd-{number % 5}"
    life = [at(reserved(name, agent=agent, user=f"user-{number % 7}"), admitted)]
    ended = admitted + random_source.random()
    if number % 4 == 0:
        life.append(at(in_doubt(name), ended))
    if number % 9:
        life.append(at(settled(name, 100 + number), ended + 0.2))
    life += [
        at(posted(f"{name}/{i}", name, random_source.randrange(-50, 50)), ended + 1)
        for i in range(number % 3)
    ]
    return life + random_source.sample(life, 1)


async def test_hours_that_lost_attempts_to_retention_stay_as_they_were(store: Store, database: str) -> None:
    old = START - timedelta(days=200)
    life = [
        replace(event, at_ms=int(old.timestamp() * 1000))
        for event in (
            reserved("kept#1", agent="kept"),
            settled("kept#1", 70),
            reserved("kept#2", agent="kept"),
        )
    ]
    await store.ledger.apply_events(life)
    await store.usage.freeze_before(old + timedelta(days=1))
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM attempts WHERE attempt_id = 'kept#1'")

    await store.ledger.apply_events([replace(life[2], kind="released", body=released("kept#2").body)])
    await store.usage.refresh()

    assert [row[1:3] for row in hours_of(database, "kept")] == [(70, 2)]
    assert (await store.usage.stale()).marks == 0


async def test_durations_of_successful_calls_are_counted(store: Store) -> None:
    for number in range(100):
        name, ms = f"quick-{number}#1", 20 * (number + 1)
        opened = reserved(name, agent="timed", deployment="sim/timed", queued_ms=START_MS)
        ended = settled(name, 1, done_ms=START_MS + ms, status="success" if number < 90 else "error")
        await store.ledger.apply_events([at(opened, 300, "2026-12-03"), at(ended, 300.1, "2026-12-03")])
    await store.usage.refresh()

    counts = (await store.usage.latencies(date(2026, 12, 3), date(2026, 12, 3), by="deployment"))["sim/timed"]

    assert sum(counts.values()) == 90
    median = percentile_ms(counts, 0.5)
    assert median is not None
    assert median == pytest.approx(900, rel=0.1)
