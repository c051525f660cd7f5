"""Alerts as records: each event counts once, in the alert that is open; what was before is not told."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from alembic import command

from gateway.errors import NotFound
from gateway.policy.alert_plan import Decision, Tell
from gateway.policy.alerts import Event, Reader, Sighting, SwitchEvent
from gateway.store import Store
from gateway.store.database import conninfo
from gateway.store.migrate import _config, _connected, migrate
from tests.integration.databases import empty_database
from tests.integration.ledger_events import switched

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
async def store(database: str) -> AsyncIterator[Store]:
    async with await Store.connect(database) as store:
        yield store


@pytest.fixture
def old(database_url: str) -> Iterator[str]:
    """A database of the version before there were alerts."""
    with empty_database(database_url, "test_before_alerts") as url:
        with _connected(url) as connection, _config(connection) as config:
            command.upgrade(config, "0001")
            connection.commit()
        yield url


def sighting(scope: str = "", minutes: float = 0, **changes: Any) -> Sighting:
    """Of provider_down; a scope of its own without any given."""
    scope = scope or f"provider:{secrets.token_hex(4)}"
    values = {"severity": "", "state": "firing", **changes}
    at = AT + timedelta(minutes=minutes)
    return Reader().event(Event(secrets.token_hex(6), "provider_down", scope, {"n": minutes}, at, **values))


async def seen(store: Store, first: Sighting) -> str:
    alert = await store.alerts.see(first)
    assert alert is not None
    return alert


async def test_what_happened_before_there_were_alerts_is_not_told_now(old: str) -> None:
    with psycopg.connect(conninfo(old), autocommit=True) as connection:
        connection.execute("INSERT INTO events (key, rule) VALUES ('e', 'r')")
        connection.execute("INSERT INTO switch_events (key, name) VALUES ('s', 'kill:global')")
    migrate(old)

    async with await Store.connect(old) as store:
        assert (await store.alerts.unnoticed()).rows == ()
        assert [(e.key, e.state, e.severity) for e in await store.events.alerts()] == [("e", "firing", "")]


async def test_events_and_switches_are_read_in_the_order_in_which_they_happened(store: Store) -> None:
    await store.ledger.apply_events([switched("kill:agent:x", "", "manual:ann:", seq=2)])
    await store.events.alert("provider_down", "provider:x", {})
    unnoticed = await store.alerts.unnoticed()

    assert [type(row) for row in unnoticed.rows] == [SwitchEvent, Event]
    await store.alerts.notice(unnoticed)
    assert (await store.alerts.unnoticed()).rows == ()


async def test_a_sighting_counts_once_whoever_brings_it_how_often(store: Store) -> None:
    first = sighting()
    alerts = set(await asyncio.gather(*(store.alerts.see(first) for _ in range(8))))
    await store.alerts.see(replace(first, key="another"))

    [alert] = alerts
    assert alert is not None
    assert (await store.alerts.get(alert)).count == 2


async def test_the_newest_of_the_worst_is_what_people_see(store: Store) -> None:
    first = sighting()
    alert = await seen(store, first)
    for changes in (
        {"severity": "critical", "minutes": 1},
        {"minutes": 2},
        {"severity": "critical", "minutes": 3},
    ):
        await store.alerts.see(sighting(first.scope, **changes))
    await store.alerts.see(sighting(first.scope, 4))

    found = await store.alerts.get(alert)
    assert (found.severity, found.generation, found.count) == ("critical", 2, 5)
    assert (found.evidence, found.last_seen) == ({"n": 3}, AT + timedelta(minutes=4))


async def test_an_end_from_before_the_newest_sighting_ends_nothing(store: Store) -> None:
    first = sighting(minutes=5)
    alert = await seen(store, first)

    assert await store.alerts.see(sighting(first.scope, 4, state="resolved")) is None
    assert (await store.alerts.get(alert)).status == "firing"
    assert await store.alerts.see(sighting(first.scope, 6, state="resolved")) == alert
    assert (await store.alerts.get(alert)).status == "resolved"


async def test_the_end_of_what_never_was_is_nothing(store: Store) -> None:
    assert await store.alerts.see(sighting(state="resolved")) is None


async def test_one_more_sighting_is_nothing_to_do_until_the_quiet_time_is_over(store: Store) -> None:
    first = sighting()
    alert = await seen(store, first)
    told = Decision((Tell("firing", 1, "chat"),), told=True, quiet_until=AT + timedelta(minutes=10))
    await store.alerts.review(alert, lambda *_: told, AT)

    assert await store.alerts.see(sighting(first.scope, 9)) is None
    assert await store.alerts.see(sighting(first.scope, 10)) == alert
    assert await store.alerts.see(sighting(first.scope, 9, severity="critical")) == alert


async def test_what_was_acknowledged_and_gets_worse_is_nobodys(store: Store) -> None:
    first = sighting()
    alert = await seen(store, first)
    assert await store.alerts.acknowledge(alert, "ann", "mine", AT)
    await store.alerts.see(sighting(first.scope, 1))
    assert (await store.alerts.get(alert)).acknowledged_by == "ann"

    await store.alerts.see(sighting(first.scope, 2, severity="critical"))

    found = await store.alerts.get(alert)
    assert (found.status, found.acknowledged_by) == ("firing", "")


async def test_what_is_planned_is_told_once(store: Store) -> None:
    alert = await seen(store, sighting())
    tell = Tell("firing", 1, "chat")
    for _ in range(2):
        review = await store.alerts.review(alert, lambda *_: Decision((tell,), told=True), AT)
        assert review.pending == (tell,)
    await store.alerts.tried(alert, tell, "pending", "nobody answers")
    await store.alerts.tried(alert, tell, "delivered")
    await store.alerts.tried(alert, tell, "refused", "too late")

    delivery = await store.alerts.delivery(alert, tell)
    assert delivery is not None
    assert (delivery.state, delivery.tries, delivery.error) == ("delivered", 2, "")
    assert (await store.alerts.review(alert, lambda *_: Decision(), AT)).pending == ()


async def test_an_alert_that_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.alerts.get("nosuch")
    with pytest.raises(NotFound):
        await store.alerts.review("nosuch", lambda *_: Decision(), AT)
