"""Builds the channels of a process, with their secrets from the environment and from files."""

import contextlib
import os
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from activities.channels import Channel
from activities.channels.email import Email, MailServer, mail_server
from activities.channels.ntfy import Ntfy, topic_of
from activities.channels.opsgenie import OpsGenie
from activities.channels.pace import Pace
from activities.channels.pagerduty import PagerDuty
from activities.channels.post import Post, http_client
from activities.channels.slack import Slack
from activities.channels.stdout import Log
from activities.channels.webhook import Webhook
from activities.channels.words import is_address
from gateway.errors import ConfigurationError
from worker.config_channels import (
    LOG,
    ChannelSection,
    EmailSection,
    NtfySection,
    OpsGenieSection,
    PagerDutySection,
    SlackSection,
    WebhookSection,
)
from worker.settings import Settings

_TOKEN = re.compile(r"[!-~]+")
# Seconds from message to message, and how many may go at once before that.
_SLACK_PACE = (1.0, 4)
_NTFY_PACE = (1.0, 10)
_PAGER_PACE = (0.5, 10)
_WEBHOOK_PACE = (0.1, 20)
_EMAIL_PACE = (1.0, 10)
_LACKING = {
    "slack": "set CURB_SLACK_WEBHOOK_URL to the URL of an incoming webhook",
    "email": "set CURB_ALERT_EMAIL to addresses and CURB_SMTP_URL to smtp://user:password@host:port",
}
_NO_SERVER = "set CURB_SMTP_URL to smtp://user:password@host:port, or write smtp_env"


@contextlib.asynccontextmanager
async def open_channels(
    specs: Mapping[str, ChannelSection], settings: Settings
) -> AsyncIterator[dict[str, Channel]]:
    """The channels of a process, by name; their connections are closed after the block.

    Raises ConfigurationError.
    """
    async with http_client() as client:
        yield channels_of(specs, settings, client)


def channels_of(
    specs: Mapping[str, ChannelSection], settings: Settings, client: httpx.AsyncClient
) -> dict[str, Channel]:
    """Every channel that is configured, and those that need no configuration.

    Raises ConfigurationError that names channel, variable and remedy for a secret that is missing or
    cannot be one.
    """
    made = {name: channel_of(name, spec, settings, client) for name, spec in specs.items()}
    return built_in(settings, client) | made


def one_channel(
    name: str, specs: Mapping[str, ChannelSection], settings: Settings, client: httpx.AsyncClient
) -> Channel:
    """The channel of this name alone. Raises ConfigurationError that says what it lacks."""
    if name in specs:
        return channel_of(name, specs[name], settings, client)
    found = built_in(settings, client).get(name)
    if found is None:
        raise ConfigurationError(f"{name}: {_LACKING.get(name, 'there is no such channel')}")
    return found


def built_in(settings: Settings, client: httpx.AsyncClient) -> dict[str, Channel]:
    """`log`; `slack` and `email` where the environment says where to."""
    channels: dict[str, Channel] = {LOG: Log()}
    if settings.slack_webhook_url is not None:
        url = settings.slack_webhook_url.get_secret_value()
        channels["slack"] = Slack(_post("slack", client, _SLACK_PACE, url), url)
    if settings.smtp_url is not None and settings.alert_email:
        channels["email"] = _email("email", _server(settings, "email"), "", _recipients(settings))
    return channels


def channel_of(name: str, spec: ChannelSection, settings: Settings, client: httpx.AsyncClient) -> Channel:
    """One channel. Raises ConfigurationError."""
    held = _Secrets(name, spec)
    if isinstance(spec, SlackSection):
        url = held.url("url")
        return Slack(_post(name, client, _SLACK_PACE, url), url)
    if isinstance(spec, NtfySection):
        url, token = held.topic(), held.token("token")
        return Ntfy(_post(name, client, _NTFY_PACE, url, token), url, token)
    if isinstance(spec, PagerDutySection):
        key = held.token("key")
        return PagerDuty(_post(name, client, _PAGER_PACE, key), key, spec.url)
    if isinstance(spec, OpsGenieSection):
        key = held.token("key")
        return OpsGenie(_post(name, client, _PAGER_PACE, key), key, spec.url)
    if isinstance(spec, WebhookSection):
        url, secret = held.url("url"), held.text("secret")
        return Webhook(_post(name, client, _WEBHOOK_PACE, url, secret), url, secret)
    if isinstance(spec, EmailSection):
        return _email(name, held.server() or _server(settings, name), spec.sender or "", spec.to)
    raise ConfigurationError(f"alerts.channels.{name}: there is no channel of this type")


def _post(name: str, client: httpx.AsyncClient, pace: tuple[float, int], *secrets: str) -> Post:
    every_seconds, burst = pace
    return Post(name, client, Pace(every_seconds, burst=burst), secrets=secrets)


def _email(name: str, server: MailServer, sender: str, to: tuple[str, ...]) -> Email:
    every_seconds, burst = _EMAIL_PACE
    sender = sender or server.sender or f"curb@{to[0].rpartition('@')[2]}"
    return Email(name, server, sender, to, Pace(every_seconds, burst=burst))


def _recipients(settings: Settings) -> tuple[str, ...]:
    to = tuple(each.strip() for each in settings.alert_email.split(",") if each.strip())
    if not to or not all(is_address(each) for each in to):
        raise ConfigurationError(
            "CURB_ALERT_EMAIL: write addresses, separated by commas, for example ops@example.org"
        )
    return to


def _server(settings: Settings, name: str) -> MailServer:
    """The mail server of the environment."""
    if settings.smtp_url is None:
        raise ConfigurationError(f"alerts.channels.{name}: no mail server is known; {_NO_SERVER}")
    try:
        return mail_server(settings.smtp_url.get_secret_value())
    except ValueError as error:
        raise ConfigurationError(f"CURB_SMTP_URL: {error}") from error


class _Secrets:
    """What a section's variables and files hold. Errors name where, never what."""

    def __init__(self, name: str, spec: ChannelSection) -> None:
        self._name = name
        self._spec = spec

    def text(self, field: str) -> str:
        """The value, '' where the section asks for none."""
        if literal := getattr(self._spec, field, ""):
            return str(literal)
        if variable := getattr(self._spec, f"{field}_env", ""):
            return self._of_variable(variable, field)
        if path := getattr(self._spec, f"{field}_file", ""):
            return self._of_file(path, field)
        return ""

    def url(self, field: str) -> str:
        value = self.text(field)
        try:
            usable, _ = httpx.URL(value), urlsplit(value)
        except (httpx.InvalidURL, ValueError) as error:
            raise self._unusable(field, "is no URL") from error
        if usable.scheme not in ("http", "https") or not usable.host:
            raise self._unusable(field, "must be a URL that begins with https:// or http://")
        return value

    def topic(self) -> str:
        value = self.url("url")
        try:
            topic_of(value)
        except ValueError as error:
            raise self._unusable("url", str(error)) from error
        return value

    def token(self, field: str) -> str:
        value = self.text(field)
        if value and not _TOKEN.fullmatch(value):
            raise self._unusable(field, "must be one word of ASCII")
        return value

    def server(self) -> MailServer | None:
        value = self.text("smtp")
        try:
            return mail_server(value) if value else None
        except ValueError as error:
            raise self._unusable("smtp", str(error)) from error

    def _of_variable(self, variable: str, field: str) -> str:
        value = os.environ.get(variable, "").strip()
        if not value:
            raise ConfigurationError(
                f"alerts.channels.{self._name}: the environment variable {variable} is not set; "
                f"set it to {self._what(field)}"
            )
        return value

    def _of_file(self, path: str, field: str) -> str:
        try:
            value = Path(path).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigurationError(
                f"alerts.channels.{self._name}: {path} cannot be read: {why}; correct {field}_file"
            ) from error
        if not value:
            raise ConfigurationError(
                f"alerts.channels.{self._name}: {path} is empty; write {self._what(field)} into it"
            )
        return value

    def _unusable(self, field: str, why: str) -> ConfigurationError:
        place = getattr(self._spec, f"{field}_env", "") or getattr(self._spec, f"{field}_file", "") or field
        return ConfigurationError(f"alerts.channels.{self._name}: {place}: {why}")

    def _what(self, field: str) -> str:
        return next(secret.what for secret in self._spec.secrets if secret.field == field)
