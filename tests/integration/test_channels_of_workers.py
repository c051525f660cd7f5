"""Which worker needs the secrets of channels, and what doctor says of them."""

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client

from gateway.errors import ConfigurationError, StateUnavailable
from worker.config import parse_config
from worker.doctor import Finding, examine, is_healthy
from worker.service import serve
from worker.settings import load_settings, variables
from worker.wiring import Servers

_SLACK = "alerts: {channels: {ops: {type: slack, url_env: OPS_SLACK_WEBHOOK}}}"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*variables(), "OPS_SLACK_WEBHOOK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


async def start(temporal: Client, database_url: str, role: str) -> None:
    """A worker of one role; it gets no further than Redis, which is not there."""
    servers = Servers("redis://127.0.0.1:1", database_url)
    settings, config = load_settings(), parse_config(_SLACK)
    await serve(temporal, servers, settings, config, stop=asyncio.Event(), roles=[role])


async def test_a_worker_that_supervises_does_not_start_without_the_secret_of_a_channel(
    temporal: Client, database_url: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"channels.ops: .* OPS_SLACK_WEBHOOK is not set"):
        await start(temporal, database_url, "supervision")


async def test_no_other_worker_needs_it(temporal: Client, database_url: str) -> None:
    with pytest.raises(StateUnavailable):
        await start(temporal, database_url, "gateway")


async def look(directory: Path) -> dict[str, Finding]:
    findings = await examine(directory)
    assert is_healthy([each for each in findings if each.name.startswith("channel ")])
    return {each.name: each for each in findings}


async def test_doctor_names_a_channel_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "curb.yaml").write_text(_SLACK)
    assert (await look(tmp_path))["channel ops"].status == "warning"
    monkeypatch.setenv("OPS_SLACK_WEBHOOK", "https://hooks.slack.example/hunter2")
    found = await look(tmp_path)
    assert found["channel ops"] == Finding("channel ops", "ok", "slack; `curb alerts test ops` tries it")
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("given", "lacking"), [("CURB_ALERT_EMAIL", "CURB_SMTP_URL"), ("CURB_SMTP_URL", "CURB_ALERT_EMAIL")]
)
async def test_doctor_says_what_is_half_set(
    given: str, lacking: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(given, "smtp://mail.example.org" if "SMTP" in given else "ops@example.org")
    found = (await look(tmp_path))["channel email"]
    assert (found.status, found.remedy) == ("warning", f"set {lacking} too")
    monkeypatch.setenv(lacking, "smtp://mail.example.org" if "SMTP" in lacking else "ops@example.org")
    assert "channel email" not in await look(tmp_path)
