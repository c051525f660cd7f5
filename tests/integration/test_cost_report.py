"""The scheduled report: made once, kept for ever, and sent to each channel once."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowFailureError

from activities.reports.document import ReportDocument, Usage
from activities.reports.keeping import RULE
from gateway.policy.money import usd
from gateway.policy.scopes import Period
from gateway.store.reports import StoredReport
from tests.acceptance.command import Curb
from tests.integration.past_days import attempt, days_ago
from tests.integration.receivers import Answer
from tests.integration.report_house import DAILY, SUNDAY, WEEKLY, House, fill, report_house, traffic
from tests.integration.runs import eventually
from worker.schedules import At, WantedSchedule
from worker.temporal_schedules import Schedules
from worker.wiring import Servers
from workflows.cost_report import ReportDone, ReportTask


@pytest.fixture(scope="module")
async def settled(temporal: Client, redis_url: str, database: str) -> AsyncIterator[House]:
    await fill(database)
    async with report_house(temporal, Servers(redis_url, database)) as house:
        yield house


@pytest.fixture
def house(settled: House) -> House:
    """One worker for all tests; what was reported and told is forgotten before each."""
    settled.forget()
    return settled


async def test_a_report_is_sent_short_to_chat_and_whole_by_mail_and_never_again(house: House) -> None:
    first, again = await house.report(DAILY), await house.report(DAILY)

    document = await house.kept("daily", SUNDAY.isoformat())
    assert first == ReportDone(kind="daily", period=SUNDAY.isoformat(), delivered=("email", "slack"))
    assert again == ReportDone(kind="daily", period=SUNDAY.isoformat(), already=("email", "slack"))
    mine = [each for each in traffic() if each.day == SUNDAY.isoformat()]
    assert (document.state, document.totals.cost_nano_usd) == ("final", sum(each.booked for each in mine))
    [said] = house.chat.requests
    assert "Sunday, 9 June 2024" in said.body.decode()
    [letter] = house.post.taken
    html = letter.mail.get_body(("html",))
    assert html is not None
    assert "Spend by hour" in html.get_content()
    [table] = letter.mail.iter_attachments()
    assert table.get_filename() == "curb-daily-2024-06-09.csv"
    content = table.get_content()
    text = content if isinstance(content, str) else content.decode()
    assert f"totals,,cost_usd,{json.loads(document.model_dump_json())['totals']['cost_usd']}" in text


async def test_a_machine_gets_the_document_itself(house: House) -> None:
    done = await house.report(WEEKLY)

    [hooked] = house.hook.requests
    document = await house.kept("weekly", "2024-W23")
    assert (done.delivered, hooked.json["kind"]) == (("hook",), "report")
    assert hooked.json["data"] == document.model_dump(mode="json")
    assert document.totals.cost_nano_usd == sum(each.booked for each in traffic())
    assert [bool(line.others) for line in document.agents] == [False, False, True]  # top: 2


async def test_a_channel_that_asks_to_wait_is_told_later(house: House) -> None:
    house.hook.says(Answer(429, headers={"retry-after": "1"}))

    done = await house.report(WEEKLY)

    assert done.delivered == ("hook",)
    assert len(house.hook.requests) == 2
    delivery = await house.store.reports.delivery("weekly", done.period, "hook")
    assert delivery is not None
    assert (delivery.tries, delivery.error) == (2, "")


async def test_a_channel_that_refuses_keeps_no_other_from_its_report_and_gets_it_when_it_works(
    house: House,
) -> None:
    house.chat.says(Answer(403, "invalid_token"))

    with pytest.raises(WorkflowFailureError) as failure:
        await house.report(DAILY)
    [failed] = await house.store.events.alerts(rule="supervision_failed")
    again = await house.report(DAILY)
    words = await house.store.events.alerts(rule="supervision_failed")

    assert "not delivered to slack" in str(failure.value.cause)
    assert (failed.scope, failed.evidence) == ("workflow:cost-report-daily", {"slack": "ChannelRefused"})
    assert (again.delivered, again.already) == (("slack",), ("email",))
    assert {each.state for each in words} == {"firing", "resolved"}
    assert len(house.post.taken) == 1


async def test_a_backfill_done_twice_makes_and_sends_each_day_once(house: House, temporal: Client) -> None:
    prefix = f"t{uuid.uuid4().hex[:8]}-"
    schedules = Schedules(temporal, prefix=prefix)
    argument = {"kind": "daily"}
    wanted = WantedSchedule(
        "cost-report-daily", "CostReport", At(600, "UTC"), "", 3600, 600, argument=argument
    )
    since = datetime(2024, 6, 4, tzinfo=UTC)
    try:
        await schedules.apply([wanted])
        for done in (3, 6):
            await schedules.backfill(wanted, since, since + timedelta(days=3))
            await eventually(lambda done=done: has_done(temporal, prefix, done))  # type: ignore[misc]
    finally:
        await schedules.apply([])

    made = [each.period for each in await house.store.reports.list("daily")]
    assert made == ["2024-06-05", "2024-06-04", "2024-06-03"]
    assert len(house.chat.requests) == len(house.post.taken) == 3


async def has_done(client: Client, prefix: str, actions: int) -> bool:
    """Whether the schedule has started so many workflows and all have ended."""
    info = (await client.get_schedule_handle(f"{prefix}cost-report-daily").describe()).info
    return info.num_actions == actions and not info.running_actions


async def test_a_report_of_a_day_that_is_not_over_is_refused(house: House) -> None:
    tomorrow = ReportTask(at=(datetime.now(UTC) + timedelta(days=2)).isoformat())

    with pytest.raises(WorkflowFailureError) as failure:
        await house.report(tomorrow)

    assert "is not over yet" in str(failure.value.cause.__cause__)
    assert await house.store.reports.list() == []


async def test_a_month_that_is_expected_to_go_over_its_budget_is_told_and_taken_back(house: House) -> None:
    """Told by yesterday's report, and once; with a larger budget it is taken back the next day."""
    store, yesterday, day_before = house.store, days_ago(1), days_ago(2)
    for day in (day_before, yesterday):
        await store.ledger.apply_events(attempt(f"spent-{day}", day, usd("10"), agent="coder"))
    await store.budgets.apply_policy({("global", Period.MONTH): usd("1")}, source="", applied_by="test")
    for _ in range(2):
        await house.report(ReportTask(at=f"{yesterday}T01:00:00Z"))
    told = await store.events.alerts(rule=RULE)
    await store.budgets.apply_policy({("global", Period.MONTH): usd("9000")}, source="", applied_by="test")
    await house.report(ReportTask(at=f"{days_ago(0)}T01:00:00Z"))
    back = await store.events.alerts(rule=RULE)

    [over] = told
    assert (over.scope, over.state, over.evidence["month"]) == ("global", "firing", f"{day_before:%Y-%m}")
    assert over.evidence["expected_nano_usd"] > over.evidence["limit_nano_usd"] == usd("1")
    assert [each.state for each in back] == ["resolved", "firing"]
    assert back[0].evidence["month"] == over.evidence["month"]


async def test_the_command_makes_what_is_due_and_prints_it_the_same_ever_after(
    house: House, tmp_path: Path
) -> None:
    """What is booked later does not change a report; a preliminary one gives way to the real one."""
    places = {"CURB_REDIS_URL": house.servers.redis_url, "CURB_DATABASE_URL": house.servers.database_url}
    curb = Curb(tmp_path, places)
    made = await asyncio.to_thread(curb.json, "report", "daily", "--date", "2024-06-05")
    early = ReportDocument.model_validate(made).model_copy(
        update={"state": "preliminary", "period": "2024-06-06", "totals": Usage()}
    )
    await house.store.reports.put(_stored(early))
    await house.store.ledger.apply_events(attempt("late", date(2024, 6, 5), 777))

    again = await asyncio.to_thread(curb.json, "report", "daily", "--date", "2024-06-05")
    real = await asyncio.to_thread(curb.json, "report", "daily", "--date", "2024-06-06")
    await house.store.reports.put(_stored(early))

    assert again == made
    assert made["state"] == real["state"] == "final"
    mine = [each for each in traffic() if each.day == "2024-06-06"]
    assert usd(real["totals"]["cost_usd"]) == sum(each.booked for each in mine)
    assert (await house.kept("daily", "2024-06-06")).model_dump(mode="json") == real


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
