"""A worker that reports a busy week of long ago, and the people it reports to."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from temporalio.client import Client, WorkflowHandle

from activities.reports.document import ReportDocument
from activities.reports.keeping import stored_document
from gateway.store import Store
from tests.integration.mail import MailServer, mail_server
from tests.integration.receivers import Receiver, receiver
from tests.integration.runs import Factory, serving
from tests.integration.traffic import MONDAY, Request, events, week
from worker.config import parse_config
from worker.settings import Settings
from worker.wiring import Servers
from workflows.cost_report import ReportDone, ReportTask
from workflows.queues import SUPERVISION

SUNDAY = MONDAY + timedelta(days=6)
WEEKLY = ReportTask(kind="weekly", at=f"{MONDAY + timedelta(days=7)}T00:20:00Z")
DAILY = ReportTask(kind="daily", at=f"{MONDAY + timedelta(days=7)}T00:10:00Z")


@dataclass
class House:
    """Daily reports go to chat and post, weekly ones to the hook."""

    factory: Factory
    servers: Servers
    chat: Receiver
    post: MailServer
    hook: Receiver

    @property
    def store(self) -> Store:
        return self.factory.store

    async def report(self, task: ReportTask) -> ReportDone:
        return await (await start(self.factory.client, task)).result()

    async def kept(self, kind: str, period: str) -> ReportDocument:
        found = await stored_document(self.store, kind, period)  # type: ignore[arg-type]
        assert found is not None
        return found

    def forget(self) -> None:
        """Nothing was reported yet, and nobody told."""
        forget_reports(self.servers.database_url)
        for told in (self.chat.requests, self.post.taken, self.hook.requests):
            told.clear()


def traffic() -> list[Request]:
    """What is in the ledger of the week."""
    return week(every=3)


async def fill(database_url: str) -> None:
    async with await Store.connect(database_url) as store:
        await store.ledger.apply_events(list(events(traffic())))


def forget_reports(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE reports, report_deliveries, events, budget_rules")


@asynccontextmanager
async def report_house(client: Client, servers: Servers) -> AsyncIterator[House]:
    """A worker of all roles while the block runs."""
    async with receiver() as chat, receiver() as hook, mail_server() as post:
        given: dict[str, Any] = {
            "metrics_port": 0,
            "CURB_SLACK_WEBHOOK_URL": chat.url,
            "smtp_url": post.url(options="?tls=off&from=curb@example.org"),
            "CURB_ALERT_EMAIL": "cfo@example.org",
        }
        config = parse_config(
            f'alerts: {{channels: {{hook: {{type: webhook, url: "{hook.url}"}}}}}}\n'
            "reports: {weekly: {channels: [hook]}, top: 2}"
        )
        settings = Settings.model_validate(given)
        async with serving(client, servers, config.gateway, [], config=config, settings=settings) as factory:
            yield House(factory, servers, chat, post, hook)


async def start(client: Client, task: ReportTask) -> WorkflowHandle[Any, ReportDone]:
    return await client.start_workflow(
        "CostReport",
        task,
        id=f"report-{uuid.uuid4().hex[:8]}",
        task_queue=SUPERVISION,
        result_type=ReportDone,
    )
