"""The console over HTTP, on real servers: who is let in, what is refused, what the buttons do."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from temporalio.client import Client

from tests.integration.admin import Admin, asking, open_house
from tests.integration.console import acted, csrf_in, logged_in, until_in
from tests.integration.databases import migrated_database
from tests.simulated import SimulatedProvider
from worker.client import Launch
from worker.console.app import build_console
from worker.listening import listening
from worker.wiring import Servers

MARKUP = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
async def admin(
    temporal: Client,
    redis_url: str,
    database_url: str,
    simulator: SimulatedProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Admin]:
    people = asking(tmp_path_factory.mktemp("root"))
    with migrated_database(database_url, "test_console") as url:
        async with open_house(temporal, Servers(redis_url, url), simulator, people) as opened:
            yield opened


@pytest.fixture
async def url(admin: Admin) -> AsyncIterator[str]:
    async with listening(build_console(admin.office), "127.0.0.1", 0, grace_seconds=1) as url:
        yield url


async def test_nobody_is_shown_anything_without_a_key(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        for path in ("/console", "/console/budgets", "/console/runs/some", "/console/live/"):
            answer = await client.get(path)
            assert answer.status_code == 401
            assert "kill" not in answer.text
            assert "script-src 'self'" in answer.headers["content-security-policy"]
        refused = await client.post("/console/act", data={"action": "set", "name": "kill:global"})
        assert refused.status_code == 401


@pytest.mark.parametrize("role", ["call", ""])
async def test_a_key_without_the_role_is_no_way_in(admin: Admin, url: str, role: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        token = admin.tokens.get(role, "curb_nothing")
        answer = await client.post("/console/login", data={"key": token})
        assert (answer.status_code, answer.cookies) == (401, httpx.Cookies())


async def test_the_cookie_is_for_browsers_only_and_holds_no_token(admin: Admin, url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await logged_in(client, admin, "viewer")
        cookie = answer.headers["set-cookie"]
        assert answer.status_code == 303
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert admin.tokens["viewer"] not in cookie
        assert (await client.get("/console")).status_code == 200
        value = client.cookies["curb_console"]
        forged = value.replace(value.split(".")[2], "99999999999")
        async with httpx.AsyncClient(base_url=url, cookies={"curb_console": forged}) as other:
            assert (await other.get("/console")).status_code == 401


async def test_log_ins_are_bounded(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        tried = [(await client.post("/console/login", data={"key": "x"})).status_code for _ in range(12)]
    assert tried == [401] * 10 + [429] * 2


async def test_a_viewer_looks_and_cannot_act(admin: Admin, url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        await logged_in(client, admin, "viewer")
        page = (await client.get("/console")).text
        assert 'action="/console/act"' not in page
        refused = await acted(client, action="set", name="kill:global")
        assert refused.status_code == 403
        assert await admin.office.authority.read_switches(["kill:global"]) == {}


async def test_an_action_without_the_pages_token_or_from_another_site_is_refused(
    admin: Admin, url: str
) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        await logged_in(client, admin, "operator")
        asked = {"action": "set", "name": "kill:global", "csrf": csrf_in((await client.get("/console")).text)}
        for data, headers in (
            ({**asked, "csrf": "x"}, {}),
            ({**asked, "csrf": ""}, {}),
            (asked, {"origin": "https://evil.example"}),
            (asked, {"sec-fetch-site": "cross-site"}),
        ):
            assert (await client.post("/console/act", data=data, headers=headers)).status_code == 403
        assert await admin.office.authority.read_switches(["kill:global"]) == {}


async def test_switches_are_set_and_cleared(admin: Admin, url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        await logged_in(client, admin, "operator")
        wrong = await acted(client, action="set", name="kill:everything")
        assert (wrong.status_code, wrong.json()["done"]) == (422, False)
        made = await acted(client, action="set", name="kill:agent:poor", reason=MARKUP, minutes="5")
        assert made.json() == {"done": True, "message": "kill:agent:poor: set"}
        page = (await client.get("/console")).text
        assert MARKUP not in page
        assert "&lt;script&gt;" in page
        lifted = await acted(client, action="clear", name="kill:agent:poor")
        assert lifted.json()["message"] == "kill:agent:poor: lifted"
        assert await admin.office.authority.read_switches(["kill:agent:poor"]) == {}


async def test_a_run_is_paused_resumed_topped_up_and_killed(admin: Admin, url: str) -> None:
    launch = Launch(agent="slowpoke", task=MARKUP, user=MARKUP, budget_usd="1")
    run = (await admin.office.runs.launch(launch)).run_id
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await logged_in(client, admin, "operator")
        await until_in(client, "/console", run)
        assert (await acted(client, action="pause", run=run)).json()["done"]
        await until_in(client, f"/console/runs/{run}", "paused from the console")
        assert (await acted(client, action="resume", run=run)).json()["done"]
        topped = await acted(client, action="top_up", run=run, usd="0.5")
        assert "1.5" in topped.json()["message"]
        wrong = await acted(client, action="top_up", run=run, usd="-1")
        assert wrong.status_code == 422
        assert (await acted(client, action="kill", run=run)).json()["done"]
        page = await until_in(client, f"/console/runs/{run}", ">killed<")
        assert MARKUP not in page


async def test_changes_come_as_events(admin: Admin, url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await logged_in(client, admin, "viewer")
        async with client.stream("GET", "/console/live/") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                if not line.startswith("data: "):
                    continue
                changed = json.loads(line.removeprefix("data: "))
                if "runs" in changed and "now" in changed:
                    await admin.office.authority.set_switch("kill:model:x", "by hand")
                    await admin.office.authority.set_switch("kill:agent:poor", "by hand")
                elif "kill:agent:poor" in changed.get("switches", ""):
                    break
        await admin.office.authority.clear_switch("kill:agent:poor")
        await admin.office.authority.clear_switch("kill:model:x")


@pytest.mark.parametrize("page", ["budgets", "alerts", "reports"])
async def test_the_other_pages_are_there(admin: Admin, url: str, page: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        await logged_in(client, admin, "viewer")
        answer = await client.get(f"/console/{page}")
        assert answer.status_code == 200
        assert f'id="{page}"' in answer.text
