"""What people decide on the console: approvals, answers, alerts, batches; and the reports that they read."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from tests.integration.admin import Admin, asking, open_house
from tests.integration.alert_rows import add_alert
from tests.integration.batch_rows import add_batch
from tests.integration.console import acted, logged_in, until_in
from tests.integration.databases import migrated_database
from tests.simulated import SimulatedProvider
from worker.client import Launch
from worker.console.app import build_console
from worker.listening import listening
from worker.wiring import Servers

_HIDDEN = re.compile(r'name="call" value="([^"]+)"')


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
async def admin(
    temporal: Client, redis_url: str, database_url: str, simulator: SimulatedProvider, root: Path
) -> AsyncIterator[Admin]:
    with migrated_database(database_url, "test_console_people") as url:
        async with open_house(temporal, Servers(redis_url, url), simulator, asking(root)) as opened:
            yield opened


@pytest.fixture
async def operator(admin: Admin) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        listening(build_console(admin.office), "127.0.0.1", 0, grace_seconds=1) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        await logged_in(client, admin, "operator")
        yield client


async def launched(admin: Admin, agent: str) -> str:
    return (await admin.office.runs.launch(Launch(agent=agent, task="Do it.", budget_usd="1"))).run_id


async def the_open_call(client: httpx.AsyncClient, run: str, button: str) -> str:
    """The id of the call that the run's page asks about."""
    found = _HIDDEN.search(await until_in(client, f"/console/runs/{run}", f">{button}</button>"))
    assert found is not None
    return found[1]


async def audited(admin: Admin, target: str) -> list[str]:
    return [each.action for each in await admin.office.store.events.audit_log() if each.target == target]


async def test_a_call_is_approved_with_its_arguments_in_sight(
    admin: Admin, operator: httpx.AsyncClient, root: Path
) -> None:
    run = await launched(admin, "cashier")
    call = await the_open_call(operator, run, "Approve")
    assert "order 1" in (await operator.get(f"/console/runs/{run}")).text

    done = await acted(operator, action="approve", run=run, call=call)

    assert done.json() == {"done": True, "message": f"{run}: the call is approved"}
    page = await until_in(operator, f"/console/runs/{run}", ">completed<")
    assert ">Approve</button>" not in page
    assert (root / "refunds.txt").read_text() == "order 1\n"
    assert await audited(admin, run) == ["approve"]


async def test_a_denied_call_is_not_made_and_the_model_is_told_why(
    admin: Admin, operator: httpx.AsyncClient, root: Path
) -> None:
    before = (root / "refunds.txt").read_text() if (root / "refunds.txt").exists() else ""
    run = await launched(admin, "cashier")
    call = await the_open_call(operator, run, "Deny")

    done = await acted(operator, action="deny", run=run, call=call, reason="too much")

    assert done.json()["done"]
    page = await until_in(operator, f"/console/runs/{run}", ">completed<")
    assert "A person denied this call: too much" in page
    assert ((root / "refunds.txt").read_text() if before else "") == before


async def test_a_question_is_answered(admin: Admin, operator: httpx.AsyncClient) -> None:
    run = await launched(admin, "shy")
    call = await the_open_call(operator, run, "Answer")
    empty = await acted(operator, action="answer", run=run, call=call, text=" ")
    assert (empty.status_code, empty.json()["message"]) == (422, "text: is missing")

    done = await acted(operator, action="answer", run=run, call=call, text="Take the blue one.")

    assert done.json()["done"]
    assert "Take the blue one." in await until_in(operator, f"/console/runs/{run}", ">completed<")


async def test_a_decision_that_the_run_does_not_wait_for_is_refused_in_its_words(
    admin: Admin, operator: httpx.AsyncClient
) -> None:
    run = await launched(admin, "cashier")
    call = await the_open_call(operator, run, "Approve")

    wrong = await acted(operator, action="approve", run=run, call="no-such-call")

    assert wrong.status_code == 422
    assert f"'no-such-call' does not wait for approval; waiting: {call}" in wrong.json()["message"]
    await acted(operator, action="kill", run=run)
    await until_in(operator, f"/console/runs/{run}", ">killed<")
    late = await acted(operator, action="approve", run=run, call=call)
    assert late.status_code == 422


async def test_an_alert_is_acknowledged_once(admin: Admin, operator: httpx.AsyncClient) -> None:
    alert = await add_alert(admin.office.store, "provider:openai")
    page = await until_in(operator, "/console/alerts", "Provider openai is down")
    assert ">Acknowledge</button>" in page

    done = await acted(operator, action="acknowledge", alert=alert)

    [name] = [each.name for each in await admin.office.store.keys.everyone() if "operator" in each.roles]
    assert done.json() == {"done": True, "message": f"Provider openai is down: looked after by {name}"}
    page = await until_in(operator, "/console/alerts", f"<div>{name}</div>")
    assert ">Acknowledge</button>" not in page
    assert await audited(admin, alert) == ["alert_ack"]
    missing = await acted(operator, action="acknowledge", alert="nosuchid")
    assert missing.status_code == 422


async def test_a_batch_under_way_is_shown_and_cancelled(admin: Admin, operator: httpx.AsyncClient) -> None:
    batch = await add_batch(admin.office.store, "batch_shown", agent="labeller")
    over = await add_batch(admin.office.store, "batch_over", to="failed")
    page = await until_in(operator, "/console", batch)
    assert all(words in page for words in ("labeller", "3 of 10", ">$0.02<", ">Cancel</button>"))
    assert over not in page

    done = await acted(operator, action="cancel_batch", batch=batch)

    assert done.json()["done"]
    assert (await admin.office.store.batches.get(batch)).cancel_asked
    assert ">Cancel</button>" not in await until_in(operator, "/console", ">cancelling<")
    assert await audited(admin, batch) == ["batch_cancel"]
    late = await acted(operator, action="cancel_batch", batch=over)
    assert late.json()["message"] == "batch batch_over is failed: there is nothing to cancel any more"


async def test_programs_see_the_same_batches_and_cancel_them_as_operators(admin: Admin) -> None:
    batch = await add_batch(admin.office.store, "batch_of_programs")
    await add_batch(admin.office.store, "batch_ended_for_programs", to="failed")

    shown = await admin.ask("GET", "/api/v1/batches", role="viewer")
    everything = await admin.ask("GET", "/api/v1/batches?ended=true", role="viewer")

    [found] = [each for each in shown["batches"] if each["id"] == batch]
    assert (found["agent"], found["done"], found["requests"], found["held_usd"]) == (
        "labeller",
        3,
        10,
        "0.02",
    )
    assert "batch_ended_for_programs" not in [each["id"] for each in shown["batches"]]
    assert "batch_ended_for_programs" in [each["id"] for each in everything["batches"]]
    await admin.refused("POST", f"/api/v1/batches/{batch}/cancel", role="viewer", status=403)
    assert (await admin.ask("POST", f"/api/v1/batches/{batch}/cancel", role="operator"))["cancel_asked"]
    await admin.refused("POST", "/api/v1/batches/none/cancel", role="operator", status=404)
    await admin.refused("POST", "/api/v1/batches/batch_ended_for_programs/cancel", status=409)


async def test_a_stored_report_is_a_page_that_can_run_nothing(
    admin: Admin, operator: httpx.AsyncClient
) -> None:
    run = await launched(admin, "quickie")
    await until_in(operator, f"/console/runs/{run}", ">completed<")
    stored = await admin.office.reports.close_today(by="the-test")
    path = f"/console/reports/daily/{stored.period}"
    assert path in await until_in(operator, "/console/reports", stored.period)

    answer = await operator.get(path)

    assert answer.status_code == 200
    assert "quickie" in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    for nothing in ("daily/2001-01-01", "daily/someday", "yearly/2026-11-21"):
        assert (await operator.get(f"/console/reports/{nothing}")).status_code == 404
