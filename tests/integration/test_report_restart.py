"""A worker that is killed while it reports: one report, and one delivery that was answered."""

from pathlib import Path

import psycopg
import pytest
from temporalio.client import Client

from gateway.store.usage import USAGE_LOCK
from tests.faults.processes import WorkerProcess
from tests.integration.receivers import Answer, receiver
from tests.integration.report_house import DAILY, WEEKLY, fill, report_house, start
from tests.integration.runs import eventually
from worker.wiring import Servers


async def test_killed_while_one_report_is_sent_and_another_is_made(
    temporal: Client,
    temporal_address: str,
    redis_url: str,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The weekly report hangs in its delivery, the daily one in its making, when the worker dies."""
    await fill(database)
    async with receiver() as silent:
        monkeypatch.setenv("CURB_SLACK_WEBHOOK_URL", silent.url)
        silent.says(Answer(instead="hang"))
        places = (temporal_address, redis_url, database, "http://127.0.0.1:1", str(tmp_path))
        victim = WorkerProcess(places, tmp_path, "victim")
        await victim.until_ready()
        weekly = await start(temporal, WEEKLY)
        await silent.until(1)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (USAGE_LOCK,))
            daily = await start(temporal, DAILY)

            async def is_making() -> bool:
                pending = (await daily.describe()).raw_description.pending_activities
                return any(each.activity_type.name == "make_report" and each.attempt == 1 for each in pending)

            await eventually(is_making)
            await victim.kill()

    async with report_house(temporal, Servers(redis_url, database)) as house:
        sent, made = await weekly.result(), await daily.result()
        reports = await house.store.reports.list()
        delivery = await house.store.reports.delivery("weekly", "2024-W23", "slack")

    assert (sent.delivered, made.delivered) == (("slack",), ("email", "slack"))
    assert {(each.kind, each.period) for each in reports} == {("weekly", "2024-W23"), ("daily", "2024-06-09")}
    assert sorted("Week 23" in each.body.decode() for each in house.chat.requests) == [False, True]
    assert delivery is not None
    assert delivery.tries == 2
