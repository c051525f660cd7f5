"""Sessions of the console end: by log-out, and with the key or the token that they were opened with."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import redis.asyncio as redis

from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.keys import Key
from gateway.tokens import new_key_id
from tests.integration.admin import SECRETS, Admin, open_admin
from tests.integration.console import csrf_in, logged_in
from tests.integration.waiting import until
from tests.integration.world import config
from worker.config import Config
from worker.console.app import build_console
from worker.keys import Issued, KeyDesk
from worker.listening import listening


@pytest.fixture
async def admin(redis_url: str, database: str) -> AsyncIterator[Admin]:
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()
    gateway = config("http://127.0.0.1:9", ("balanced", ["gpt-5-mini"]))
    async with await Store.connect(database) as store:
        authority = await Authority.connect(redis_url, process_id="test", config=gateway)
        async with open_admin(store, authority, Config(gateway=gateway, agents={}, limits={})) as opened:
            yield opened
        await authority.close()


@pytest.fixture
async def url(admin: Admin) -> AsyncIterator[str]:
    async with listening(build_console(admin.office), "127.0.0.1", 0, grace_seconds=1) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


def desk(admin: Admin) -> KeyDesk:
    return KeyDesk(admin.office.store, admin.office.authority, SECRETS, by="the-test")


async def issued(admin: Admin, expires_at: datetime | None = None) -> Issued:
    key_id = new_key_id()
    return await desk(admin).create(
        Key(id=key_id, name=f"anna-{key_id}", roles=("operator",), expires_at=expires_at)
    )


async def entered(client: httpx.AsyncClient, key: Issued) -> None:
    assert (await client.post("/console/login", data={"key": key.token.text})).status_code == 303
    assert (await client.get("/console")).status_code == 200


async def until_out(client: httpx.AsyncClient) -> None:
    async def is_out() -> bool:
        return (await client.get("/console")).status_code == 401

    await until(is_out)


async def test_logging_out_takes_the_pages_token_and_forgets_the_cookie(
    admin: Admin, client: httpx.AsyncClient
) -> None:
    await logged_in(client, admin, "viewer")
    page = (await client.get("/console")).text
    assert (await client.post("/console/logout", data={"csrf": "guessed"})).status_code == 403
    assert (await client.get("/console")).status_code == 200

    answer = await client.post("/console/logout", data={"csrf": csrf_in(page)})

    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    assert "curb_console" not in client.cookies
    assert (await client.get("/console")).status_code == 401


@pytest.mark.parametrize("how", ["revoke", "freeze"])
async def test_a_session_ends_with_its_key(admin: Admin, client: httpx.AsyncClient, how: str) -> None:
    key = await issued(admin)
    await entered(client, key)
    csrf = csrf_in((await client.get("/console")).text)

    await getattr(desk(admin), how)(key.key.id)

    await until_out(client)
    asked = {"csrf": csrf, "action": "set", "name": "kill:global"}
    assert (await client.post("/console/act", data=asked)).status_code == 401
    assert await admin.office.authority.read_switches(["kill:global"]) == {}


async def test_a_session_ends_when_its_key_expires(admin: Admin, client: httpx.AsyncClient) -> None:
    await entered(client, await issued(admin, datetime.now(UTC) + timedelta(seconds=2)))

    await until_out(client)


async def test_a_session_ends_with_the_token_that_opened_it_and_not_with_another(
    admin: Admin, url: str, client: httpx.AsyncClient
) -> None:
    old = await issued(admin)
    await entered(client, old)
    new = await desk(admin).rotate(old.key.id, overlap_seconds=3_600)
    async with httpx.AsyncClient(base_url=url, timeout=60) as other:
        await entered(other, new)

        await desk(admin).end_token(old.key.id, old.token.prefix)

        await until_out(client)
        assert (await other.get("/console")).status_code == 200


async def test_the_live_stream_says_that_the_session_is_over(admin: Admin, client: httpx.AsyncClient) -> None:
    key = await issued(admin)
    await entered(client, key)
    async with client.stream("GET", "/console/live/") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: page"
        await desk(admin).revoke(key.key.id)
        events = [line async for line in lines if line.startswith("event: ")]
    assert events[-1] == "event: over"
