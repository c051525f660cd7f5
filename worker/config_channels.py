"""`alerts: channels:` in curb.yaml: how people are told, by names that routes use.

Secrets never stand in the file: `x_env` names the variable that holds x, `x_file` the file. Without
any configuration there are `log` (always), `slack` and `email` (where the environment has them).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, ConfigDict, Field, model_validator

from activities.channels.words import is_address
from worker.config_values import Name, Section, Url

LOG = "log"
BUILT_IN = (LOG, "slack", "email")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _variable(written: str) -> str:
    if written and not _VARIABLE.fullmatch(written):
        raise ValueError(
            "write the name of an environment variable, for example OPS_SLACK_WEBHOOK; "
            "the secret itself never stands in this file"
        )
    return written


def _address(written: str) -> str:
    if not is_address(written):
        raise ValueError("write an e-mail address, for example ops@example.org")
    return written


Variable = Annotated[str, AfterValidator(_variable)]
Address = Annotated[str, AfterValidator(_address)]


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that comes from elsewhere: from `{field}_env` or `{field}_file`. what: for messages."""

    field: str
    what: str
    needed: bool = True


class ChannelSection(Section):
    """What all kinds have in common. Errors never show what was written."""

    model_config = ConfigDict(hide_input_in_errors=True)
    secrets: ClassVar[tuple[Secret, ...]] = ()

    @model_validator(mode="after")
    def _each_secret_from_one_place(self) -> "ChannelSection":
        for secret in self.secrets:
            places = (secret.field, f"{secret.field}_env", f"{secret.field}_file")
            given = [place for place in places if getattr(self, place, "")]
            if len(given) > 1:
                raise ValueError(f"{' and '.join(given)} say the same; keep one of them")
            if secret.needed and not given:
                raise ValueError(
                    f"{secret.field}_env is missing; add it, with the name of the variable that holds "
                    f"{secret.what} (or {secret.field}_file, with the path of a file)"
                )
        return self


class SlackSection(ChannelSection):
    """An incoming webhook. Its URL is its key."""

    secrets = (Secret("url", "the webhook's URL"),)
    type: Literal["slack"]
    url_env: Variable = ""
    url_file: str = ""


class NtfySection(ChannelSection):
    """A topic, as a URL."""

    secrets = (Secret("url", "the topic's URL"), Secret("token", "an access token", needed=False))
    type: Literal["ntfy"]
    url: Url = ""
    url_env: Variable = ""
    url_file: str = ""
    token_env: Variable = ""
    token_file: str = ""


class PagerDutySection(ChannelSection):
    """A service, by the integration key of its Events API v2. url: another region's, or a proxy's."""

    secrets = (Secret("key", "the integration key"),)
    type: Literal["pagerduty"]
    key_env: Variable = ""
    key_file: str = ""
    url: Url = "https://events.pagerduty.com/v2/enqueue"


class OpsGenieSection(ChannelSection):
    """A team's API integration. url: another region's, or https://api.atlassian.com/jsm/ops/integration."""

    secrets = (Secret("key", "the integration's API key"),)
    type: Literal["opsgenie"]
    key_env: Variable = ""
    key_file: str = ""
    url: Url = "https://api.opsgenie.com"


class EmailSection(ChannelSection):
    """Addresses. The server is CURB_SMTP_URL's, or another's."""

    secrets = (Secret("smtp", "the server as smtp://user:password@host:port", needed=False),)
    type: Literal["email"]
    to: Annotated[
        tuple[Address, ...], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)
    ] = Field(min_length=1)
    sender: Address | None = Field(default=None, validation_alias=AliasChoices("from"))
    smtp_env: Variable = ""
    smtp_file: str = ""


class WebhookSection(ChannelSection):
    """Any address that takes JSON. secret: what requests are signed with."""

    secrets = (Secret("url", "the URL"), Secret("secret", "the shared secret", needed=False))
    type: Literal["webhook"]
    url: Url = ""
    url_env: Variable = ""
    url_file: str = ""
    secret_env: Variable = ""
    secret_file: str = ""

    @model_validator(mode="after")
    def _no_key_in_the_url(self) -> "WebhookSection":
        parts = urlsplit(self.url)
        if parts.query or "@" in parts.netloc:
            raise ValueError(
                "url carries a password or a query, and with it a key perhaps; "
                "write url_env with the name of the variable that holds it"
            )
        return self


AnyChannel = Annotated[
    SlackSection | NtfySection | PagerDutySection | OpsGenieSection | EmailSection | WebhookSection,
    Field(discriminator="type"),
]


def _log_is_taken(written: dict[str, ChannelSection]) -> dict[str, ChannelSection]:
    if LOG in written:
        raise ValueError(f"{LOG} is the worker's log and always there; choose another name")
    return written


Channels = Annotated[dict[Name, AnyChannel], AfterValidator(_log_is_taken)]
"""What `alerts: channels:` may hold."""


def channel_names(channels: Mapping[str, ChannelSection]) -> tuple[str, ...]:
    """Every name that a route may use: those of the file, and those that need no configuration."""
    return tuple(dict.fromkeys((*channels, *BUILT_IN)))


def channel_type(name: str, channels: Mapping[str, ChannelSection]) -> str:
    """slack, ntfy, pagerduty, opsgenie, email, webhook or log."""
    return str(getattr(channels[name], "type", "")) if name in channels else name


def takes_reports(name: str, channels: Mapping[str, ChannelSection]) -> bool:
    """Whether a report may go there: a pager takes none."""
    return channel_type(name, channels) not in ("pagerduty", "opsgenie")
