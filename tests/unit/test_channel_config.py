"""`alerts: channels:` in curb.yaml, and the channels that come of it: secrets from elsewhere, never shown."""

import re
from pathlib import Path

import pytest

from activities.channels import Channel
from activities.channels.email import MailServer, mail_server
from activities.channels.post import http_client
from gateway.errors import ConfigurationError
from tests.channel_messages import FIRING
from worker.channels import channels_of, one_channel, open_channels
from worker.config import Config, parse_config
from worker.config_channels import channel_names, channel_type, takes_reports
from worker.settings import load_settings, variables

_DOCUMENT = Path(__file__).parents[2] / "docs/channels.md"
_EVERY_KIND = """
alerts:
  channels:
    ops:     {type: slack, url_env: OPS_SLACK_WEBHOOK}
    pager:   {type: pagerduty, key_env: PAGERDUTY_KEY}
    team:    {type: opsgenie, key_env: OPSGENIE_KEY}
    phone:   {type: ntfy, url: "https://ntfy.example.org/curb", token_env: NTFY_TOKEN}
    finance: {type: email, to: [cfo@example.org], from: curb@example.org}
    audit:   {type: email, to: audit@example.org, smtp_env: AUDIT_SMTP}
    hook:    {type: webhook, url_env: HOOK_URL, secret_env: HOOK_SECRET}
"""
_ENVIRONMENT = {
    "OPS_SLACK_WEBHOOK": "https://hooks.slack.example/services/hunter2",
    "PAGERDUTY_KEY": "hunter2hunter2",
    "NTFY_TOKEN": "tk_hunter2",
    "OPSGENIE_KEY": "hunter2-genie",
    "CURB_SMTP_URL": "smtp://curb:hunter2@mail.example.org",
    "AUDIT_SMTP": "smtps://audit@mail.example.org",
    "HOOK_URL": "https://hook.example.org/?key=hunter2",
    "HOOK_SECRET": "hunter2 with spaces",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    for name, value in _ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Only what each test sets is there."""
    for name in _ENVIRONMENT:
        monkeypatch.delenv(name)
    return monkeypatch


async def opened(config: Config) -> dict[str, Channel]:
    async with http_client() as client:
        return channels_of(config.channels, load_settings(), client)


def channel(written: str) -> Config:
    return parse_config(f"alerts: {{channels: {{x: {written}}}}}")


async def test_every_kind_of_channel_can_be_configured() -> None:
    config = parse_config(_EVERY_KIND)
    names = ["log", "ops", "pager", "team", "phone", "finance", "audit", "hook"]
    assert sorted(await opened(config)) == sorted(names)
    kinds = [channel_type(name, config.channels) for name in names]
    assert kinds == ["log", "slack", "pagerduty", "opsgenie", "ntfy", "email", "email", "webhook"]
    assert [name for name in names if not takes_reports(name, config.channels)] == ["pager", "team"]


def test_the_documents_channels_are_channels() -> None:
    [written] = re.findall(r"```yaml\n(.*?)```", _DOCUMENT.read_text(), re.DOTALL)
    assert set(parse_config(written).channels) <= set(parse_config(_EVERY_KIND).channels)


async def test_without_configuration_there_is_the_log(without: pytest.MonkeyPatch) -> None:
    assert list(await opened(parse_config(""))) == ["log"]


async def test_slack_and_e_mail_need_the_environment_only(without: pytest.MonkeyPatch) -> None:
    without.setenv("SLACK_WEBHOOK_URL", "https://hooks.slack.example/x")
    without.setenv("ALERT_EMAIL", "ops@example.org, cfo@example.org")
    assert sorted(await opened(parse_config(""))) == ["log", "slack"]
    without.setenv("CURB_SMTP_URL", "smtp://localhost:25")
    assert sorted(await opened(parse_config(""))) == ["email", "log", "slack"]


async def test_a_channel_of_the_file_wins_over_the_one_of_its_name(without: pytest.MonkeyPatch) -> None:
    without.setenv("CURB_SLACK_WEBHOOK_URL", "https://hooks.slack.example/x")
    without.setenv("HOOK_URL", "https://hook.example.org")
    config = parse_config("alerts: {channels: {slack: {type: webhook, url_env: HOOK_URL}}}")
    assert type((await opened(config))["slack"]).__name__ == "Webhook"
    assert channel_names(config.channels) == ("slack", "log", "email")


async def test_a_secret_may_be_in_a_file(without: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "webhook"
    file.write_text("https://hooks.slack.example/x\n")
    assert "x" in await opened(channel(f"{{type: slack, url_file: {file}}}"))


@pytest.mark.parametrize(
    ("written", "field", "remedy"),
    [
        ("{type: slak}", ".type", "there is no type of that name; did you mean slack?"),
        ("{url_env: X}", ".type", "is missing; add it"),
        ("slack", "", "write a mapping of fields"),
        ("{type: slack}", "", "url_env is missing; add it"),
        ("{type: slack, url_env: X, url_file: y}", "", "url_env and url_file say the same; keep one"),
        ("{type: slack, url_env: X, channel: ops}", ".channel", "no such field"),
        ("{type: slack, url_nev: X}", ".url_nev", "did you mean url_env?"),
        ("{type: email, to: []}", ".to", "at least 1 item"),
        ("{type: email, to: [ops]}", ".to[0]", "write an e-mail address"),
        ("{type: email, to: a@b.c, form: a@b.c}", ".form", "did you mean from?"),
        ("{type: email, to: a@b.c, from: ops}", ".from", "write an e-mail address"),
        ("{type: email}", ".to", "is missing; add it"),
        ("{type: ntfy, url: ntfy.sh/x}", ".url", "should match pattern"),
        ("{type: pagerduty, key_env: 3X}", ".key_env", "write the name of an environment variable"),
    ],
)
def test_an_error_names_line_field_and_remedy(written: str, field: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_config(f"alerts:\n  channels:\n    x: {written}")
    assert str(caught.value).startswith(f"curb.yaml:3: alerts.channels.x{field}: "), caught.value
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "written",
    [
        "{type: slack, url: 'https://hooks/hunter2'}",
        "{type: slack, url_env: 'https://hooks/hunter2'}",
        "{type: pagerduty, key: hunter2}",
        "{type: ntfy, url: 'https://n/t', token: hunter2}",
        "{type: webhook, url_env: X, secret: hunter2}",
        "{type: webhook, url: 'https://h/?key=hunter2'}",
        "{type: webhook, url: 'https://user:hunter2@h/'}",
        "{type: webhook, url: 'hunter2'}",
        "{type: email, to: a@b.c, smtp: 'smtp://u:hunter2@h'}",
        "'https://hooks/hunter2'",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_shown(written: str) -> None:
    with pytest.raises(ConfigurationError, match=r"_env|a mapping|pattern") as caught:
        channel(written)
    assert "hunter2" not in str(caught.value)


def test_the_log_keeps_its_name() -> None:
    with pytest.raises(ConfigurationError, match="log is the worker's log"):
        parse_config("alerts: {channels: {log: {type: slack, url_env: X}}}")


def test_a_file_can_be_checked_without_any_secret(without: pytest.MonkeyPatch) -> None:
    assert len(parse_config(_EVERY_KIND).channels) == 7


@pytest.mark.parametrize("name", sorted(_ENVIRONMENT))
async def test_a_missing_secret_is_named_with_its_channel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    with pytest.raises(ConfigurationError) as caught:
        await opened(parse_config(_EVERY_KIND))
    assert str(caught.value).startswith("alerts.channels.")
    assert name in str(caught.value)
    assert "set " in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPS_SLACK_WEBHOOK", "hunter2"),
        ("OPS_SLACK_WEBHOOK", "ftp://hunter2"),
        ("PAGERDUTY_KEY", "hunter2 hunter2"),
        ("NTFY_TOKEN", "hunter2\nx: y"),
        ("NTFY_TOKEN", "hünter2"),
        ("AUDIT_SMTP", "smtp://u:hunter2@"),
        ("AUDIT_SMTP", "smtp://u:hunter2@host:port"),
        ("AUDIT_SMTP", "smtp://u:hunter2@host?tls=maybe"),
        ("HOOK_URL", "https://[hunter2"),
    ],
)
async def test_a_secret_that_cannot_be_one_is_named_and_not_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        await opened(parse_config(_EVERY_KIND))
    assert name in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "why"), [("", "is empty"), (b"\xff", "it is not text"), (None, "No such file")]
)
async def test_a_file_that_holds_no_secret_is_named(
    written: str | bytes | None, why: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    if written is not None:
        file.write_bytes(written if isinstance(written, bytes) else written.encode())
    with pytest.raises(ConfigurationError, match=why) as caught:
        await opened(channel(f"{{type: slack, url_file: {file}}}"))
    assert str(file) in str(caught.value)


async def test_one_channel_can_be_had_where_another_lacks_its_secret(without: pytest.MonkeyPatch) -> None:
    without.setenv("PAGERDUTY_KEY", "k")
    config = parse_config(_EVERY_KIND)
    async with http_client() as client:
        one_channel("pager", config.channels, load_settings(), client)
        for name, remedy in (("slack", "CURB_SLACK_WEBHOOK_URL"), ("email", "CURB_SMTP_URL")):
            with pytest.raises(ConfigurationError, match=remedy):
                one_channel(name, config.channels, load_settings(), client)


async def test_an_address_for_alerts_must_be_one(without: pytest.MonkeyPatch) -> None:
    without.setenv("CURB_SMTP_URL", "smtp://localhost")
    without.setenv("CURB_ALERT_EMAIL", "ops at example.org")
    with pytest.raises(ConfigurationError, match="CURB_ALERT_EMAIL"):
        await opened(parse_config(""))


async def test_connections_are_closed_with_the_worker() -> None:
    async with open_channels(parse_config(_EVERY_KIND).channels, load_settings()) as channels:
        ops = channels["ops"]
    with pytest.raises(RuntimeError, match="closed"):
        await ops.send(FIRING)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.org", MailServer("mail.example.org", 587, "starttls")),
        ("smtp://localhost:25", MailServer("localhost", 25, "offered")),
        ("smtp://[::1]", MailServer("::1", 587, "offered")),
        ("smtp://relay:2525?tls=off", MailServer("relay", 2525, "off")),
        ("smtps://u%40x.org:p%2Fw@h", MailServer("h", 465, "always", "u@x.org", "p/w", "u@x.org")),
        ("smtp://u:p@h?from=a@b.c", MailServer("h", 587, "starttls", "u", "p", "a@b.c")),
    ],
)
def test_a_mail_server_is_read_from_its_url(url: str, server: MailServer) -> None:
    assert mail_server(url) == server
    assert "p/w" not in repr(mail_server(url))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mail.example.org", "must be smtp://"),
        ("http://h", "must be smtp://"),
        ("smtp://h?tls=yes", "tls may only be off"),
        ("smtp://h?ssl=off", "there is no option ssl"),
        ("smtp://h?from=me", "from must be an address"),
        ("smtp://ü:p@h", "must be ASCII"),
    ],
)
def test_what_is_wrong_with_a_mail_servers_url_is_said(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        mail_server(url)
