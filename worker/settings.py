"""Settings of a process: the environment, read once, typed.

Every variable begins with CURB_; DATABASE_URL, REDIS_URL, SLACK_WEBHOOK_URL and ALERT_EMAIL are
accepted too (the CURB_ name wins). What agents may do and spend is in curb.yaml (worker.config).
"""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.errors import ConfigurationError

_PREFIX = "CURB_"
_MASK = "***"


def _has_scheme(*schemes: str) -> AfterValidator:
    def check(url: SecretStr) -> SecretStr:
        if urlsplit(url.get_secret_value()).scheme not in schemes:
            raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return url

    return AfterValidator(check)


def _host_and_port(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if address and not (host and colon and port.isdigit()):
        raise ValueError("must be host:port, for example localhost:7233")
    return address


def _http(url: str) -> str:
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    return url


RedisUrl = Annotated[SecretStr, _has_scheme("redis", "rediss", "unix")]
DatabaseUrl = Annotated[SecretStr, _has_scheme("postgresql", "postgres")]
WebhookUrl = Annotated[SecretStr, _has_scheme("https", "http")]
SmtpUrl = Annotated[SecretStr, _has_scheme("smtp", "smtps")]


class Settings(BaseSettings):
    """One field per variable: `redis_url` is CURB_REDIS_URL. Secrets do not show when printed.

    A server that has no address here is embedded: `curb dev` starts it (worker.stack).
    temporal_tls: None means on exactly when an API key or a certificate is given.
    max_concurrent_calls: model calls in flight per worker process. metrics_port: 0 for none.
    metrics_users: how many users metrics tell apart, 0: none. temporal_metrics_port: of what Temporal's SDK
    counts in a worker, at metrics_host too; 0 for none. http_*: where
    the front door is; port 0 is any free one for `curb gateway`, none for `curb dev`. upgrade_url: where
    callers who are limited read how to be less so. debug: the
    command line shows tracebacks. key_secret: what tokens of keys are kept under (gateway.tokens); None:
    Postgres keeps one. slack_webhook_url; alert_email (addresses, by commas) and smtp_url
    (activities.channels.email says what may stand there): whom alerts reach without any configuration.
    langfuse_*, otlp_*: who keeps traces (worker.tracing); otlp_endpoint is the collector's base URL.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    temporal_address: Annotated[str, AfterValidator(_host_and_port)] = ""
    temporal_namespace: str = Field(default="default", min_length=1)
    temporal_tls: bool | None = None
    temporal_tls_cert: FilePath | None = None
    temporal_tls_key: FilePath | None = None
    temporal_tls_ca: FilePath | None = None
    temporal_tls_server_name: str = ""
    temporal_api_key: SecretStr | None = None

    redis_url: RedisUrl | None = Field(
        default=None, validation_alias=AliasChoices("CURB_REDIS_URL", "REDIS_URL")
    )
    database_url: DatabaseUrl | None = Field(
        default=None, validation_alias=AliasChoices("CURB_DATABASE_URL", "DATABASE_URL")
    )

    config: Path | None = None
    data_dir: Path = Path(".curb")
    max_concurrent_calls: int = Field(default=100, ge=1, le=10_000)
    shutdown_seconds: float = Field(default=30.0, ge=0, le=3_600)
    metrics_host: str = Field(default="127.0.0.1", min_length=1)
    metrics_port: int = Field(default=9464, ge=0, le=65_535)
    metrics_users: int = Field(default=100, ge=0, le=10_000)
    temporal_metrics_port: int = Field(default=0, ge=0, le=65_535)
    http_host: str = Field(default="127.0.0.1", min_length=1)
    http_port: int = Field(default=8090, ge=0, le=65_535)
    upgrade_url: str = ""
    cache_disabled: bool = False
    debug: bool = False
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    key_secret: SecretStr | None = None

    slack_webhook_url: WebhookUrl | None = Field(
        default=None, validation_alias=AliasChoices("CURB_SLACK_WEBHOOK_URL", "SLACK_WEBHOOK_URL")
    )
    alert_email: str = Field(default="", validation_alias=AliasChoices("CURB_ALERT_EMAIL", "ALERT_EMAIL"))
    smtp_url: SmtpUrl | None = None

    langfuse_host: Annotated[str, AfterValidator(_http)] = Field(
        default="https://cloud.langfuse.com",
        validation_alias=AliasChoices("CURB_LANGFUSE_HOST", "LANGFUSE_BASE_URL", "LANGFUSE_HOST"),
    )
    langfuse_public_key: str = Field(
        default="", validation_alias=AliasChoices("CURB_LANGFUSE_PUBLIC_KEY", "LANGFUSE_PUBLIC_KEY")
    )
    langfuse_secret_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("CURB_LANGFUSE_SECRET_KEY", "LANGFUSE_SECRET_KEY")
    )
    otlp_endpoint: Annotated[str, AfterValidator(_http)] = Field(
        default="", validation_alias=AliasChoices("CURB_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    )
    otlp_headers: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("CURB_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
    )

    @model_validator(mode="after")
    def _certificate_and_key(self) -> "Settings":
        if (self.temporal_tls_cert is None) != (self.temporal_tls_key is None):
            raise ValueError("CURB_TEMPORAL_TLS_CERT and CURB_TEMPORAL_TLS_KEY go together: set both or none")
        return self

    @property
    def embedded(self) -> tuple[str, ...]:
        """The servers of worker.stack that have no address here, by name."""
        outside = {
            "valkey": self.redis_url is not None,
            "postgres": self.database_url is not None,
            "temporal": bool(self.temporal_address),
        }
        return tuple(name for name, given in outside.items() if not given)

    @property
    def uses_tls(self) -> bool:
        """Whether the connection to Temporal is encrypted."""
        if self.temporal_tls is not None:
            return self.temporal_tls
        return bool(self.temporal_api_key or self.temporal_tls_cert or self.temporal_tls_ca)


def load_settings() -> Settings:
    """Read the environment. Raises ConfigurationError that names each wrong variable, never its secret."""
    try:
        return Settings()
    except ValidationError as error:
        problems = (f"{_variable_of(each['loc'])}: {_plain(each['msg'])}" for each in error.errors())
        raise ConfigurationError("environment: " + "; ".join(problems)) from None


def variables() -> frozenset[str]:
    """The names of all environment variables that Settings reads."""
    return frozenset(name for field in Settings.model_fields for name in _names(field))


def unknown_variables(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """One line for each CURB_* variable that nothing reads, with the nearest name that something does.

    These are warnings, not errors: an orchestrator may set such names by itself (Kubernetes does
    for a service called `curb`).
    """
    known = sorted(variables())
    given = os.environ if environ is None else environ
    return tuple(
        f"{name}: nothing reads it{_suggestion(name, known)}"
        for name in sorted(given)
        if name.startswith(_PREFIX) and name not in known
    )


def masked(url: str) -> str:
    """The URL without its password, for messages."""
    hidden = re.sub(r"(://[^:/@]*:).*@", rf"\1{_MASK}@", url)
    return re.sub(r"(password=)[^&]*", rf"\1{_MASK}", hidden)


def _names(field: str) -> tuple[str, ...]:
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (f"{_PREFIX}{field.upper()}",)


def _variable_of(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "CURB_TEMPORAL_TLS_CERT"
    return name if name not in Settings.model_fields else _names(name)[0]


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def _suggestion(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
