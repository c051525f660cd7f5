"""The console while its servers are away: it says which, shows the rest, and recovers by itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.migrate import migrate
from tests.integration.admin import Admin, open_admin
from tests.integration.console import acted, logged_in, until_in
from tests.integration.world import config
from worker.config import Config
from worker.console.app import build_console
from worker.listening import listening
from worker.stack import FREE_PORTS, Stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """Servers of this test's own."""
    async with Stack(tmp_path, servers=["valkey", "postgres"], ports=FREE_PORTS) as own:
        migrate(own.database_url)
        yield own


@pytest.fixture
async def admin(stack: Stack) -> AsyncIterator[Admin]:
    gateway = config("http://127.0.0.1:9", ("balanced", ["gpt-5-mini"]))
    async with await Store.connect(stack.database_url) as store:
        authority = await Authority.connect(stack.redis_url, process_id="test", config=gateway)
        async with open_admin(store, authority, Config(gateway=gateway, agents={}, limits={})) as opened:
            yield opened
        await authority.close()


@pytest.fixture
async def url(admin: Admin) -> AsyncIterator[str]:
    async with listening(build_console(admin.office), "127.0.0.1", 0, grace_seconds=1) as url:
        yield url


async def problems_with(lines: AsyncIterator[str], words: str, *, missing: bool = False) -> str:
    """Read the stream until what is wrong has these words, or has them no more; what is wrong then."""
    async with asyncio.timeout(60):
        async for line in lines:
            said = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            problems = said if isinstance(said, str) else said.get("problems")
            if problems is not None and (words in problems) != missing:
                return str(problems)
    raise AssertionError("the stream ended")


async def test_without_postgres_who_is_known_goes_on_and_may_still_stop_everything(
    stack: Stack, admin: Admin, url: str
) -> None:
    async with (
        httpx.AsyncClient(base_url=url, timeout=60) as client,
        httpx.AsyncClient(base_url=url, timeout=60) as stranger,
    ):
        await logged_in(client, admin, "operator")
        await client.get("/console")
        async with client.stream("GET", "/console/live/") as stream:
            lines = stream.aiter_lines()
            await problems_with(lines, "alerts: ", missing=True)
            await stack.server("postgres").stop()
            await problems_with(lines, "alerts: ")

            page = await until_in(client, "/console", "costs: ")
            assert "Traceback" not in page
            done = await acted(client, action="set", name="kill:global", reason="fire")
            assert done.json() == {"done": True, "message": "kill:global: set"}
            assert "fire" in (await admin.office.authority.read_switches(["kill:global"]))["kill:global"]
            run = await client.get("/console/runs/some")
            assert run.status_code == 503
            assert "does not know Temporal" in run.text

            stranger.cookies.set("curb_console", client.cookies["curb_console"])
            assert (await stranger.get("/console")).status_code == 200
            await stack.server("postgres").start()
            await problems_with(lines, "alerts: ", missing=True)


async def test_who_cannot_be_known_is_told_which_server_is_missing_and_let_in_later(
    stack: Stack, admin: Admin, url: str
) -> None:
    async with (
        httpx.AsyncClient(base_url=url, timeout=60) as client,
        listening(build_console(admin.office), "127.0.0.1", 0, grace_seconds=1) as another_door,
    ):
        await logged_in(client, admin, "operator")
        await client.get("/console")
        await stack.server("postgres").stop()
        async with httpx.AsyncClient(base_url=another_door, cookies=client.cookies, timeout=60) as other:
            answer = await other.get("/console")

            assert answer.status_code == 503
            assert "A server does not answer" in answer.text
            assert 'http-equiv="refresh"' in answer.text
            assert "Traceback" not in answer.text
            assert (await other.get("/console/live/")).status_code == 503
            await stack.server("postgres").start()
            await until_in(other, "/console", 'id="runs"')


async def test_without_redis_the_page_shows_what_postgres_knows(stack: Stack, admin: Admin, url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await logged_in(client, admin, "operator")
        async with client.stream("GET", "/console/live/") as stream:
            lines = stream.aiter_lines()
            await problems_with(lines, "budgets: ", missing=True)
            await stack.server("valkey").stop()
            assert "alerts: " not in await problems_with(lines, "budgets: ")
            assert "budgets: " in await until_in(client, "/console/budgets", "problem")
            refused = await acted(client, action="set", name="kill:global")
            assert refused.status_code == 503
            assert not refused.json()["done"]
            await stack.server("valkey").start()
            await problems_with(lines, "budgets: ", missing=True)
