"""Runs over HTTP, on a real Temporal: launched, followed step by step, steered."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from tests.integration.admin import Admin, open_house
from tests.integration.databases import migrated_database
from tests.simulated import SimulatedProvider
from worker.wiring import Servers


@pytest.fixture(scope="module")
async def admin(
    temporal: Client, redis_url: str, database_url: str, simulator: SimulatedProvider
) -> AsyncIterator[Admin]:
    with migrated_database(database_url, "test_admin_runs") as url:
        async with open_house(temporal, Servers(redis_url, url), simulator) as opened:
            yield opened


async def launched(admin: Admin, agent: str, **given: Any) -> str:
    document = await admin.ask(
        "POST", "/v1/runs", {"agent": agent, "task": "Do it.", **given}, role="operator", status=201
    )
    return str(document["id"])


async def until_status(admin: Admin, run: str, *wanted: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            document: dict[str, Any] = await admin.ask("GET", f"/v1/runs/{run}", role="viewer")
            if document["status"] in wanted:
                return document
            await asyncio.sleep(0.05)


async def events(admin: Admin, run: str, **headers: str) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    """(event, id, document), until the stream ends."""
    given = {"authorization": f"Bearer {admin.tokens['viewer']}", **headers}
    async with (
        httpx.AsyncClient(base_url=admin.url, timeout=60) as client,
        client.stream("GET", f"/v1/runs/{run}/events", headers=given) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        found: dict[str, str] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name:
                found[name] = value
            elif found:
                yield found["event"], found["id"], json.loads(found["data"])
                found = {}


async def test_a_run_is_launched_and_followed_to_its_end(admin: Admin) -> None:
    run = await launched(admin, "quickie", user="ann", tags={"ticket": "7"})
    came = [each async for each in events(admin, run)]

    steps = [document["step"] for event, _, document in came if event == "step"]
    event, number, end = came[-1]
    assert (event, end["status"], end["user"], end["tags"]) == ("end", "completed", "ann", {"ticket": "7"})
    assert steps == list(range(1, end["steps"] + 1))
    assert number == str(end["steps"])
    assert [each[0] for each in came].count("end") == 1

    again = [each async for each in events(admin, run, **{"last-event-id": str(end["steps"] - 1)})]
    assert [document["step"] for event, _, document in again if event == "step"] == [end["steps"]]
    shown = await admin.ask("GET", f"/v1/runs/{run}")
    assert shown["cost_usd"] == end["cost_usd"]
    assert shown["answer"]
    assert shown["temporal_ui"] == f"http://ui/{run}"


async def test_the_same_id_twice_is_one_run(admin: Admin) -> None:
    run = await launched(admin, "quickie", id="twice")
    again = await admin.ask(
        "POST", "/v1/runs", {"agent": "quickie", "task": "Do it.", "id": "twice"}, status=200
    )
    assert (run, again["id"], again["existed"]) == ("twice", "twice", True)


async def test_a_run_is_paused_resumed_and_killed(admin: Admin) -> None:
    run = await launched(admin, "slowpoke")
    await until_status(admin, run, "running")
    await admin.ask("POST", f"/v1/runs/{run}/pause", {"reason": "lunch"}, role="operator")
    listed = await admin.ask("GET", "/v1/runs?agent=slowpoke&live=true", role="viewer")
    assert run in {each["id"] for each in listed["runs"]}
    await admin.ask("POST", f"/v1/runs/{run}/resume", role="operator")
    await admin.ask("POST", f"/v1/runs/{run}/kill", {"reason": "enough"}, role="operator")

    ended = await until_status(admin, run, "killed")
    assert "enough" in ended["reason"]
    assert "has ended" in await admin.refused("POST", f"/v1/runs/{run}/pause", status=409)


async def test_a_run_out_of_money_goes_on_when_it_gets_more(admin: Admin) -> None:
    run = await launched(admin, "poor", budget_usd="0.006")
    await until_status(admin, run, "paused")
    topped = await admin.ask("POST", f"/v1/runs/{run}/top-up", {"usd": "1", "id": "once"}, role="operator")
    assert topped["limit_usd"] == "1.006"
    again = await admin.ask("POST", f"/v1/runs/{run}/top-up", {"usd": "1", "id": "once"})
    assert again["limit_usd"] == "1.006"
    await until_status(admin, run, "completed")


async def test_a_run_is_rated(admin: Admin) -> None:
    run = await launched(admin, "quickie")
    await until_status(admin, run, "completed")
    await admin.ask("POST", f"/v1/runs/{run}/rate", {"value": 0.5}, role="operator")
    [event] = [each for each in await admin.office.store.runs.events(run) if each.kind == "rating"]
    assert event.body["value"] == 0.5


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"agent": "nobody", "task": "x"}, "known are"),
        ({"agent": "quickie", "task": ""}, "task"),
        ({"agent": "quickie", "task": "x", "id": "no spaces"}, "id"),
        ({"agent": "quickie", "task": "x", "budget_usd": "much"}, "budget_usd"),
        ({"agent": "quickie"}, "task"),
    ],
)
async def test_a_run_that_cannot_be_is_refused_by_its_field(
    admin: Admin, given: dict[str, str], says: str
) -> None:
    assert says in await admin.refused("POST", "/v1/runs", given, status=422)


async def test_a_run_that_is_not_there_is_404_everywhere(admin: Admin) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/events", None),
        ("POST", "/kill", None),
        ("POST", "/top-up", {"usd": "1"}),
        ("POST", "/rate", {"value": 1}),
        ("POST", "/answer", {"text": "yes"}),
    ):
        assert "no run" in await admin.refused(method, f"/v1/runs/no-such{path}", body, status=404)
