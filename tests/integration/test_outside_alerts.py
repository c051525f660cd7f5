"""Alerts of Prometheus come by Alertmanager's webhook, and people are told as of curb's own."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio as redis
from temporalio.client import Client

from tests.integration.admin import Admin, open_admin
from tests.integration.alert_house import House, a, alert_house
from tests.integration.databases import migrated_database
from worker.config import parse_config
from worker.wiring import Servers

PATH = "/api/v1/alerts/alertmanager"


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_outside_alerts") as url:
        yield url


@pytest.fixture(scope="module")
async def house(temporal: Client, redis_url: str, database: str) -> AsyncIterator[House]:
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()
    async with alert_house(temporal, Servers(redis_url, database)) as opened:
        yield opened


@pytest.fixture(scope="module")
async def admin(house: House) -> AsyncIterator[Admin]:
    async with open_admin(house.store, house.factory.authority, parse_config("agents: {}")) as opened:
        yield opened


def message(
    agent: str, *, status: str = "firing", starts: str = "2026-11-21T10:00:00.123456789Z", **labels: str
) -> Any:
    """As Alertmanager 0.25 sends it."""
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "curb",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "GatewayErrors", "agent": agent, "severity": "warning", **labels},
                "annotations": {"summary": "3 % end in 5xx", "description": "See the log."},
                "startsAt": starts,
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus:9090/graph",
                "fingerprint": agent.encode().hex()[:32],
            }
        ],
    }


async def test_it_is_told_once_however_often_it_comes_and_so_is_its_end(house: House, admin: Admin) -> None:
    agent = a("outside")
    firing = message(agent, curb_rule="gateway_errors")
    assert await admin.ask("POST", PATH, firing, role="operator") == {"new": 1, "known": 0}
    assert await admin.ask("POST", PATH, firing, role="operator") == {"new": 0, "known": 1}
    alert = await house.until_status(agent, "firing")
    assert (alert.rule, alert.severity, alert.title, alert.count) == (
        "gateway_errors", "warning", "3 % end in 5xx", 1
    )  # fmt: skip
    [told] = await house.until(house.chat, agent, "firing")

    over = message(agent, status="resolved", curb_rule="gateway_errors")
    assert await admin.ask("POST", PATH, over, role="operator") == {"new": 1, "known": 0}
    assert await admin.ask("POST", PATH, over, role="operator") == {"new": 0, "known": 1}
    assert (await house.until_status(agent, "resolved")).id == alert.id
    assert told["title"] == "3 % end in 5xx"
    await house.until(house.chat, agent, "firing", "resolved")


async def test_what_begins_again_is_a_new_alert(house: House, admin: Admin) -> None:
    agent = a("again")
    for status, starts in (("firing", "10:00"), ("resolved", "10:00"), ("firing", "11:00")):
        sent = message(agent, status=status, starts=f"2026-11-21T{starts}:00Z")
        assert (await admin.ask("POST", PATH, sent))["new"] == 1
        await house.until_noticed()
    assert (await house.until_status(agent, "firing")).rule == "outside_alert"


async def test_what_alertmanager_would_not_send_is_refused(admin: Admin) -> None:
    assert "alerts" in await admin.refused("POST", PATH, {}, status=422)
    broken = message("x")
    broken["alerts"][0]["startsAt"] = "yesterday"
    assert "startsAt" in await admin.refused("POST", PATH, broken, status=422)
