"""The scheduled report: made once, kept for ever, and sent to each channel once, whatever happens."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from activities.reports.document import ReportDocument, Usage
from activities.reports.keeping import RULE, stored_document
from gateway.policy.money import usd
from gateway.policy.scopes import Period
from gateway.store import Store
from gateway.store.reports import StoredReport
from gateway.store.usage import USAGE_LOCK
from tests.acceptance.command import Curb
from tests.faults.processes import WorkerProcess
from tests.integration.mail import MailServer, mail_server
from tests.integration.past_days import attempt, days_ago
from tests.integration.receivers import Answer, Receiver, receiver
from tests.integration.runs import Factory, eventually, serving
from tests.integration.traffic import MONDAY, events, week
from worker.config import Config, parse_config
from worker.schedules import At, WantedSchedule
from worker.settings import Settings
from worker.temporal_schedules import Schedules
from worker.wiring import Servers
from workflows.cost_report import ReportDone, ReportTask
from workflows.queues import SUPERVISION

SUNDAY = MONDAY + timedelta(days=6)
WEEKLY = ReportTask(kind="weekly", at=f"{MONDAY + timedelta(days=7)}T00:20:00Z")
DAILY = ReportTask(kind="daily", at=f"{MONDAY + timedelta(days=7)}T00:10:00Z")


@pytest.fixture(scope="module")
async def servers(redis_url: str, database: str) -> Servers:
    """Postgres has a busy week."""
    async with await Store.connect(database) as store:
        await store.ledger.apply_events(list(events(week(every=3))))
    return Servers(redis_url, database)


@pytest.fixture
async def store(servers: Servers) -> AsyncIterator[Store]:
    """Nothing was reported yet, and nothing told."""
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE reports, report_deliveries, events, budget_rules")
    async with await Store.connect(servers.database_url) as store:
        yield store


@pytest.fixture
async def chat() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


@pytest.fixture
async def post() -> AsyncIterator[MailServer]:
    async with mail_server() as made:
        yield made


def settings(chat: Receiver | None = None, post: MailServer | None = None) -> Settings:
    """Where the built-in channels go."""
    given: dict[str, Any] = {"metrics_port": 0}
    if chat is not None:
        given["CURB_SLACK_WEBHOOK_URL"] = chat.url
    if post is not None:
        given["smtp_url"] = post.url(options="?tls=off&from=curb@example.org")
        given["CURB_ALERT_EMAIL"] = "cfo@example.org"
    return Settings.model_validate(given)


def configured(text: str = "") -> Config:
    return parse_config(text)


def working(client: Client, servers: Servers, settings: Settings, text: str = "") -> Any:
    config = configured(text)
    return serving(
        client, servers, config.gateway, [], config=config, settings=settings, shutdown_seconds=0.2
    )


async def start(client: Client, task: ReportTask) -> WorkflowHandle[Any, ReportDone]:
    return await client.start_workflow(
        "CostReport",
        task,
        id=f"report-{uuid.uuid4().hex[:8]}",
        task_queue=SUPERVISION,
        result_type=ReportDone,
    )


async def report(factory: Factory, task: ReportTask) -> ReportDone:
    return await (await start(factory.client, task)).result()


async def kept(store: Store, kind: str, period: str) -> ReportDocument:
    found = await stored_document(store, kind, period)  # type: ignore[arg-type]
    assert found is not None
    return found


async def test_a_report_is_sent_short_to_chat_and_whole_by_mail_and_never_again(
    temporal: Client, servers: Servers, store: Store, chat: Receiver, post: MailServer
) -> None:
    async with working(temporal, servers, settings(chat, post)) as factory:
        first = await report(factory, WEEKLY)
        again = await report(factory, WEEKLY)

    document = await kept(store, "weekly", "2024-W23")
    assert first == ReportDone(kind="weekly", period="2024-W23", delivered=("email", "slack"))
    assert again == ReportDone(kind="weekly", period="2024-W23", already=("email", "slack"))
    assert document.totals.cost_nano_usd == sum(each.booked for each in week(every=3))
    assert document.state == "final"
    [said] = chat.requests
    assert "Week 23, 3 – 9 June 2024" in said.body.decode()
    [letter] = post.taken
    html = letter.mail.get_body(("html",))
    assert html is not None
    assert "Spend by day" in html.get_content()
    [table] = letter.mail.iter_attachments()
    assert table.get_filename() == "curb-weekly-2024-W23.csv"
    content = table.get_content()
    text = content if isinstance(content, str) else content.decode()
    assert f"totals,,cost_usd,{json.loads(document.model_dump_json())['totals']['cost_usd']}" in text


async def test_without_a_channel_of_the_usual_names_it_is_kept_only(
    temporal: Client, servers: Servers, store: Store
) -> None:
    async with working(temporal, servers, settings()) as factory:
        done = await report(factory, DAILY)

    assert done == ReportDone(kind="daily", period=SUNDAY.isoformat())
    mine = [each for each in week(every=3) if each.day == SUNDAY.isoformat()]
    assert (await kept(store, "daily", done.period)).totals.cost_nano_usd == sum(each.booked for each in mine)


async def test_a_channel_that_asks_to_wait_is_told_later(
    temporal: Client, servers: Servers, store: Store, chat: Receiver
) -> None:
    chat.says(Answer(429, headers={"retry-after": "1"}))
    async with working(temporal, servers, settings(chat)) as factory:
        done = await report(factory, DAILY)

    assert done.delivered == ("slack",)
    assert len(chat.requests) == 2
    delivery = await store.reports.delivery("daily", done.period, "slack")
    assert delivery is not None
    assert (delivery.tries, delivery.error) == (2, "")


async def test_a_channel_that_refuses_keeps_no_other_from_its_report_and_gets_it_when_it_works(
    temporal: Client, servers: Servers, store: Store, chat: Receiver, post: MailServer
) -> None:
    chat.says(Answer(403, "invalid_token"))
    async with working(temporal, servers, settings(chat, post)) as factory:
        with pytest.raises(WorkflowFailureError) as failure:
            await report(factory, DAILY)
        [failed] = await store.events.alerts(rule="supervision_failed")
        again = await report(factory, DAILY)
        words = await store.events.alerts(rule="supervision_failed")

    assert "not delivered to slack" in str(failure.value.cause)
    assert (failed.scope, failed.evidence) == ("workflow:cost-report-daily", {"slack": "ChannelRefused"})
    assert (again.delivered, again.already) == (("slack",), ("email",))
    assert {each.state for each in words} == {"firing", "resolved"}
    assert len(post.taken) == 1


async def test_channels_are_those_of_the_configuration(
    temporal: Client, servers: Servers, store: Store, chat: Receiver
) -> None:
    text = f"""
alerts: {{channels: {{hook: {{type: webhook, url: "{chat.url}"}}}}}}
reports: {{daily: {{channels: [hook]}}, weekly: {{channels: []}}, top: 2}}
"""
    async with working(temporal, servers, settings(), text) as factory:
        daily = await report(factory, DAILY)
        weekly = await report(factory, WEEKLY)

    assert (daily.delivered, weekly.delivered) == (("hook",), ())
    [hooked] = chat.requests
    document = await kept(store, "daily", daily.period)
    assert hooked.json["data"]["totals"]["cost_usd"] == document.model_dump(mode="json")["totals"]["cost_usd"]
    assert [bool(line.others) for line in document.agents] == [False, False, True]


async def test_a_backfill_done_twice_makes_and_sends_each_day_once(
    temporal: Client, servers: Servers, store: Store, chat: Receiver
) -> None:
    prefix = f"t{uuid.uuid4().hex[:8]}-"
    schedules = Schedules(temporal, prefix=prefix)
    wanted = WantedSchedule(
        "cost-report-daily", "CostReport", At(600, "UTC"), "", 3600, 600, argument={"kind": "daily"}
    )
    since = datetime(2024, 6, 4, tzinfo=UTC)
    async with working(temporal, servers, settings(chat)):
        try:
            await schedules.apply([wanted])
            for done in (3, 6):
                await schedules.backfill(wanted, since, since + timedelta(days=3))
                await eventually(lambda done=done: has_done(temporal, prefix, done))  # type: ignore[misc]
        finally:
            await schedules.apply([])

    assert [each.period for each in await store.reports.list("daily")] == [
        "2024-06-05",
        "2024-06-04",
        "2024-06-03",
    ]
    assert len(chat.requests) == 3


async def has_done(client: Client, prefix: str, actions: int) -> bool:
    """Whether the schedule has started so many workflows and all have ended."""
    info = (await client.get_schedule_handle(f"{prefix}cost-report-daily").describe()).info
    return info.num_actions == actions and not info.running_actions


async def test_a_report_of_a_day_that_is_not_over_is_refused(
    temporal: Client, servers: Servers, store: Store
) -> None:
    tomorrow = ReportTask(at=(datetime.now(UTC) + timedelta(days=2)).isoformat())
    async with working(temporal, servers, settings()) as factory:
        with pytest.raises(WorkflowFailureError) as failure:
            await report(factory, tomorrow)

    assert "is not over yet" in str(failure.value.cause.__cause__)
    assert await store.reports.list() == []


async def test_a_month_that_is_expected_to_go_over_its_budget_is_told_and_taken_back(
    temporal: Client, servers: Servers, store: Store
) -> None:
    """Told by yesterday's report, and once; with a larger budget it is taken back the next day."""
    yesterday, day_before = days_ago(1), days_ago(2)
    for day in (day_before, yesterday):
        await store.ledger.apply_events(attempt(f"spent-{day}", day, usd("10"), agent="coder"))
    await store.budgets.apply_policy({("global", Period.MONTH): usd("1")}, source="", applied_by="test")
    async with working(temporal, servers, settings()) as factory:
        for _ in range(2):
            await report(factory, ReportTask(at=f"{yesterday}T01:00:00Z"))
        told = await store.events.alerts(rule=RULE)
        await store.budgets.apply_policy(
            {("global", Period.MONTH): usd("9000")}, source="", applied_by="test"
        )
        await report(factory, ReportTask(at=f"{days_ago(0)}T01:00:00Z"))
        back = await store.events.alerts(rule=RULE)

    [over] = told
    assert (over.scope, over.state, over.evidence["month"]) == ("global", "firing", f"{day_before:%Y-%m}")
    assert over.evidence["expected_nano_usd"] > over.evidence["limit_nano_usd"] == usd("1")
    assert [each.state for each in back] == ["resolved", "firing"]
    assert back[0].evidence["month"] == over.evidence["month"]


async def test_a_worker_killed_while_it_makes_and_sends_leaves_one_report_and_one_delivery(
    temporal: Client,
    temporal_address: str,
    servers: Servers,
    store: Store,
    chat: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The weekly report hangs in its delivery, the daily one in its making, when the worker dies."""
    monkeypatch.setenv("CURB_SLACK_WEBHOOK_URL", chat.url)
    chat.says(Answer(instead="hang"))
    places = (temporal_address, servers.redis_url, servers.database_url, "http://127.0.0.1:1", str(tmp_path))
    victim = WorkerProcess(places, tmp_path, "victim")
    await victim.until_ready()
    weekly = await start(temporal, WEEKLY)
    await chat.until(1)
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (USAGE_LOCK,))
        daily = await start(temporal, DAILY)

        async def is_making() -> bool:
            pending = (await daily.describe()).raw_description.pending_activities
            return any(each.activity_type.name == "make_report" and each.attempt == 1 for each in pending)

        await eventually(is_making)
        await victim.kill()
    async with working(temporal, servers, settings(chat)):
        outcomes = [await weekly.result(), await daily.result()]

    assert [each.delivered for each in outcomes] == [("slack",), ("slack",)]
    assert len(await store.reports.list()) == 2
    subjects = [each.body.decode() for each in chat.requests[1:]]  # the first was never answered
    assert len(subjects) == 2
    assert sum("Week 23" in each for each in subjects) == 1
    delivery = await store.reports.delivery("weekly", "2024-W23", "slack")
    assert delivery is not None
    assert delivery.tries == 2


async def test_the_command_makes_what_is_due_and_prints_it_the_same_ever_after(
    servers: Servers, store: Store, tmp_path: Path
) -> None:
    """What is booked later does not change a report; a preliminary one gives way to the real one."""
    curb = Curb(tmp_path, {"CURB_REDIS_URL": servers.redis_url, "CURB_DATABASE_URL": servers.database_url})
    made = await asyncio.to_thread(curb.json, "report", "daily", "--date", "2024-06-05")
    early = ReportDocument.model_validate(made).model_copy(
        update={"state": "preliminary", "period": "2024-06-06", "totals": Usage()}
    )
    await store.reports.put(_stored(early))
    await store.ledger.apply_events(attempt("late", date(2024, 6, 5), 777))

    again = await asyncio.to_thread(curb.json, "report", "daily", "--date", "2024-06-05")
    real = await asyncio.to_thread(curb.json, "report", "daily", "--date", "2024-06-06")
    await store.reports.put(_stored(early))

    assert again == made
    assert made["state"] == real["state"] == "final"
    mine = [each for each in week(every=3) if each.day == "2024-06-06"]
    assert usd(real["totals"]["cost_usd"]) == sum(each.booked for each in mine)
    assert (await kept(store, "daily", "2024-06-06")).model_dump(mode="json") == real


def _stored(report: ReportDocument) -> StoredReport:
    return StoredReport(
        report.kind,
        report.period,
        report.first_day,
        report.last_day,
        report.version,
        report.state != "final",
        report.model_dump(mode="json"),
        report.made_at,
    )
