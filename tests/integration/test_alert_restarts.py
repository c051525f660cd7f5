"""Crashes on the way from an event to a person: nothing is lost, and nobody is told twice.

The worker here has no dispatcher of its own; each test plays its steps, and stops between them.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import Client

from gateway.policy.alerts import Event, Reader
from gateway.state.authority import Authority
from gateway.store import Store
from tests.integration.receivers import Answer, Receiver, receiver
from tests.integration.runs import Factory, eventually, serving
from worker.alerting import Dispatcher
from worker.config import Config, parse_config
from worker.wiring import Servers


@pytest.fixture
async def chat() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


@pytest.fixture
def servers(redis_url: str, database: str) -> Servers:
    return Servers(redis_url, database)


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with await Store.connect(database) as store:
        yield store


@pytest.fixture
async def authority(redis_url: str) -> AsyncIterator[Authority]:
    authority = await Authority.connect(redis_url, process_id="dispatcher", config=parse_config("").gateway)
    yield authority
    await authority.close()


def telling(chat: Receiver) -> Config:
    return parse_config(
        f'alerts: {{channels: {{chat: {{type: webhook, url: "{chat.url}"}}}}, routes: [{{channels: chat}}]}}'
    )


def working(
    client: Client, servers: Servers, config: Config
) -> contextlib.AbstractAsyncContextManager[Factory]:
    return serving(client, servers, config.gateway, [], config=config, shutdown_seconds=0.2)


async def fire(store: Store, count: int = 1) -> list[str]:
    """Events about scopes that nobody else has."""
    scopes = [f"agent:x-{secrets.token_hex(4)}" for _ in range(count)]
    for scope in scopes:
        await store.events.alert("provider_down", scope, {"n": 1})
    return scopes


def scopes_told(chat: Receiver) -> list[Any]:
    return [each.json["data"]["scope"] for each in chat.requests]


async def test_counted_but_not_yet_followed(
    temporal: Client, servers: Servers, store: Store, authority: Authority, chat: Receiver
) -> None:
    [scope] = await fire(store)
    for row in (await store.alerts.unnoticed()).rows:
        assert isinstance(row, Event)
        assert await store.alerts.see(Reader().event(row))

    assert await Dispatcher(temporal, authority, store, Reader()).round() == 1
    async with working(temporal, servers, telling(chat)):
        await chat.until(1)

    [alert] = [each for each in await store.alerts.recent() if each.scope == scope]
    assert (alert.count, scopes_told(chat)) == (1, [scope])


async def test_dispatchers_that_work_at_the_same_time_count_and_tell_once(
    temporal: Client, servers: Servers, store: Store, authority: Authority, chat: Receiver
) -> None:
    scopes = await fire(store, 30)
    crowd = [Dispatcher(temporal, authority, store, Reader()) for _ in range(3)]
    await asyncio.gather(*(each.round() for each in crowd))

    async with working(temporal, servers, telling(chat)):
        await chat.until(30)
        for scope in scopes:
            await store.events.alert("provider_down", scope, {"n": 1}, state="resolved")
        await asyncio.gather(*(each.round() for each in crowd))
        await chat.until(60)

    alerts = [each for each in await store.alerts.recent(ended=True) if each.scope in scopes]
    assert {each.count for each in alerts} == {1}
    assert sorted(scopes_told(chat)) == sorted(scopes * 2)


async def test_a_worker_that_dies_while_it_tells_leaves_it_to_the_next(
    temporal: Client, servers: Servers, store: Store, authority: Authority, chat: Receiver
) -> None:
    chat.says(Answer(instead="hang"))
    [scope] = await fire(store)
    await Dispatcher(temporal, authority, store, Reader()).round()
    async with working(temporal, servers, telling(chat)):
        await chat.until(1)

    async with working(temporal, servers, telling(chat)):
        await chat.until(2)

    [alert] = [each for each in await store.alerts.recent() if each.scope == scope]
    first, second = chat.requests
    assert first.json["key"] == second.json["key"]
    assert first.headers["x-curb-delivery"] == second.headers["x-curb-delivery"]

    async def delivered() -> bool:
        return [d.state for d in (await store.alerts.deliveries([alert.id]))[alert.id]] == ["delivered"]

    await eventually(delivered)


async def test_an_event_that_makes_no_alert_does_not_hold_up_those_behind_it(
    temporal: Client, store: Store, authority: Authority
) -> None:
    class Stumbling(Reader):
        """Reads what Postgres cannot store."""

        def event(self, event: Event) -> Any:
            sighting = super().event(event)
            return sighting if event.scope != "agent:bad" else _with_a_nul(sighting)

    await store.events.alert("provider_down", "agent:bad", {})
    [good] = await fire(store)

    await Dispatcher(temporal, authority, store, Stumbling()).round()

    assert not (await store.alerts.unnoticed()).rows
    scopes = {each.scope for each in await store.alerts.recent()}
    assert good in scopes
    assert "agent:bad" not in scopes


def _with_a_nul(sighting: Any) -> Any:
    from dataclasses import replace

    return replace(sighting, title="\x00")
