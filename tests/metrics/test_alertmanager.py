"""A real Alertmanager with the ways of deploy/, before a real curb, a Slack and a PagerDuty."""

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.store.events import Alert
from tests.integration.admin import Admin, open_admin
from tests.integration.databases import migrated_database
from tests.integration.receivers import Receiver, receiver
from tests.integration.waiting import until
from tests.integration.world import config, open_world
from tests.metrics.programs import DEPLOY, Server, alertmanager
from tests.simulated import SimulatedProvider
from worker.config import Config
from worker.wiring import Servers


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_alertmanager") as url:
        yield url


@pytest.fixture(scope="module")
async def admin(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Admin]:
    given = config(simulator.url, ("balanced", ["gpt-5-mini@say-20"]))
    async with open_world(given, Servers(redis_url, database), simulator) as world:
        known = Config(gateway=given, agents={}, limits={})
        async with open_admin(world.parts.store, world.parts.authority, known) as opened:
            yield opened


Labels = Mapping[str, str]


@dataclass
class House:
    """Alertmanager, and everybody that it tells."""

    alertmanager: Server
    admin: Admin
    slack: Receiver
    pager: Receiver

    async def fire(self, name: str, labels: Labels, since: datetime, *, over: bool = False) -> None:
        """Tell of an alert as Prometheus does, or of its end."""
        ends = {"endsAt": datetime.now(UTC).isoformat()} if over else {}
        alert = {
            "labels": {"alertname": name, **labels},
            "annotations": {"summary": f"{name} it is", "description": "Look at it."},
            "startsAt": since.isoformat(),
            **ends,
        }
        await self.alertmanager.post("alerts", [alert])

    async def noted(self, agent: str) -> list[Alert]:
        """What curb wrote down about an agent, the oldest first."""
        return [
            alert
            for alert in reversed(await self.admin.office.store.events.alerts(limit=1000))
            if alert.scope == f"agent:{agent}"
        ]

    async def state(self, agent: str) -> Any:
        [alert] = await self.alertmanager.get("alerts", filter=f'agent="{agent}"')
        return alert["status"]


@pytest.fixture(scope="module")
async def house(admin: Admin, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    directory = tmp_path_factory.mktemp("alertmanager")
    async with receiver() as slack, receiver() as pager:
        own = configured(directory, admin, slack, pager)
        async with alertmanager(own, directory / "data") as server:
            yield House(server, admin, slack, pager)


def configured(directory: Path, admin: Admin, slack: Receiver, pager: Receiver) -> Path:
    """The configuration of deploy/, with places of this test, and without its patience."""
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    for old, new in {
        "/etc/alertmanager/secrets": str(directory),
        "http://gateway:8090": admin.url,
        "resolve_timeout: 5m": f"resolve_timeout: 5m\n  pagerduty_url: {pager.url}/page",
        "group_wait: 10s": "group_wait: 100ms",
        "group_interval: 1m": "group_interval: 300ms",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (directory / "curb_key").write_text(admin.tokens["operator"])
    (directory / "slack_url").write_text(f"{slack.url}/hook")
    (directory / "pagerduty_key").write_text("a key")
    own = directory / "alertmanager.yml"
    own.write_text(text)
    return own


def said(to: Receiver, words: str) -> list[Any]:
    return [each.json for each in to.requests if words in each.body.decode()]


async def test_what_only_prometheus_sees_comes_to_curb_once_and_so_does_its_end(house: House) -> None:
    agent, since = f"late-{secrets.token_hex(3)}", datetime.now(UTC) - timedelta(minutes=1)
    labels = {"severity": "warning", "agent": agent, "curb_rule": "gateway_errors"}
    for _ in range(3):
        await house.fire("GatewayErrors", labels, since)
    await until(lambda: house.noted(agent))
    await house.fire("GatewayErrors", labels, since, over=True)

    async def is_over() -> bool:
        return len(await house.noted(agent)) == 2

    await until(is_over)
    firing, resolved = await house.noted(agent)
    assert (firing.rule, firing.state, firing.severity) == ("gateway_errors", "firing", "warning")
    assert (resolved.rule, resolved.state) == ("gateway_errors", "resolved")
    assert firing.evidence["summary"] == "GatewayErrors it is"
    assert not said(house.slack, "GatewayErrors")


async def test_what_is_critical_pages_by_itself_too(house: House) -> None:
    agent = f"down-{secrets.token_hex(3)}"
    await house.fire("CurbDown", {"severity": "critical", "agent": agent}, datetime.now(UTC))

    async def has_come() -> bool:
        told = said(house.pager, "CurbDown") and said(house.slack, "CurbDown")
        return bool(told and await house.noted(agent))

    await until(has_come)
    [page] = said(house.pager, "CurbDown")
    assert page["payload"]["severity"] == "critical"
    assert page["payload"]["summary"] == "CurbDown: CurbDown it is"
    [alert] = await house.noted(agent)
    assert alert.rule == "outside_alert"


async def test_what_curb_tells_itself_is_told_by_alertmanager_only_while_curb_is_silent(house: House) -> None:
    agent, since = f"erring-{secrets.token_hex(3)}", datetime.now(UTC) - timedelta(minutes=1)
    await house.fire("CurbTells", {"severity": "none"}, since)
    spike = {"severity": "warning", "told_by": "curb", "agent": agent}
    await house.fire("ErrorRateSpike", spike, since)

    async def is_suppressed() -> bool:
        return bool((await house.state(agent))["inhibitedBy"])

    await until(is_suppressed)
    assert not said(house.slack, "ErrorRateSpike")

    await house.fire("CurbTells", {"severity": "none"}, since, over=True)

    async def has_come() -> bool:
        return bool(said(house.slack, "ErrorRateSpike"))

    await until(has_come)
    assert not await house.noted(agent)
