"""What is there, what is missing, and how to get it: the facts behind `curb doctor`.

Looks at real servers where there are any (yours, or the running embedded stack), else at what
the embedded stack would be started from. Changes nothing; no check takes longer than 10 s.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psycopg
from httpx import AsyncClient
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from activities.channels.post import http_client
from gateway.config import Provider
from gateway.errors import ConfigurationError, CurbError
from gateway.providers.credentials import credentials
from gateway.providers.errors import ProviderError
from gateway.state.connection import Connection
from gateway.store.database import conninfo
from gateway.store.migrate import pending
from worker.channels import channel_of
from worker.config import FILE_NAME, load_config
from worker.config_channels import ChannelSection, channel_type
from worker.settings import Settings, load_settings, masked, unknown_variables
from worker.stack import Stack, StackError, StackRecord, accounts, postgres, temporal_binary, valkey
from worker.stack.temporal import SEARCH_ATTRIBUTES
from worker.temporal_target import TemporalTarget, temporal_target

Status = Literal["ok", "info", "warning", "wrong"]

_SECONDS = 10.0
_OLDEST_POSTGRES = 15
_PYTHONS = ((3, 11), (3, 14))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. remedy: what to do about it, '' when there is nothing to do.

    status: ok; info (a fact that asks for nothing); warning (works, but read it); wrong
    (something needed is missing or does not work).
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing needed is missing or wrong."""
    return all(each.status != "wrong" for each in findings)


async def examine(directory: Path | None = None) -> list[Finding]:
    """Look at everything. directory: of the embedded stack, by default CURB_DATA_DIR."""
    findings = [_python()]
    try:
        settings = load_settings()
    except ConfigurationError as error:
        return [*findings, Finding("environment", "wrong", str(error), "correct or unset the variable")]
    findings += _environment()
    running = Stack.find(directory or settings.data_dir)
    servers = await asyncio.gather(
        _valkey(settings, running), _postgres(settings, running), _temporal(settings, running)
    )
    return [
        *findings,
        *_configuration(settings),
        *await _channels(settings),
        _stack(directory or settings.data_dir, running),
        *(finding for group in servers for finding in group),
    ]


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    oldest, newest = _PYTHONS
    if oldest <= sys.version_info[:2] <= newest:
        return Finding("Python", "ok", version)
    return Finding("Python", "warning", f"{version} was never tried", "use Python 3.11 to 3.14")


def _environment() -> list[Finding]:
    unknown = unknown_variables()
    if not unknown:
        return [Finding("environment", "ok", "every CURB_* variable that is set is known")]
    return [Finding("environment", "warning", line, "correct or unset it") for line in unknown]


def _configuration(settings: Settings) -> list[Finding]:
    try:
        config = load_config(settings.config)
    except ConfigurationError as error:
        return [
            Finding(
                "configuration", "wrong", str(error), "correct the file; `curb policy check` reads it again"
            )
        ]
    if config.path is None:
        found = Finding("configuration", "info", f"no {FILE_NAME} here: defaults, no agents", "write one")
    else:
        found = Finding("configuration", "ok", f"{config.path}: {len(config.agents)} agents")
    return [found, *(_key(each) for each in config.gateway.providers.values())]


async def _channels(settings: Settings) -> list[Finding]:
    """How people are told: every channel of curb.yaml, and what is half set in the environment."""
    try:
        specs = load_config(settings.config).channels
    except ConfigurationError:
        return []  # told already
    async with http_client() as client:
        findings = [_channel(name, spec, settings, client) for name, spec in specs.items()]
    if settings.alert_email and settings.smtp_url is None:
        detail = "CURB_ALERT_EMAIL is set, and no server to send by"
        findings.append(Finding("channel email", "warning", detail, "set CURB_SMTP_URL too"))
    mailed = any(channel_type(name, specs) == "email" for name in specs)
    if settings.smtp_url is not None and not settings.alert_email and not mailed:
        detail = "CURB_SMTP_URL is set, and nobody to send to"
        findings.append(Finding("channel email", "warning", detail, "set CURB_ALERT_EMAIL too"))
    return findings


def _channel(name: str, spec: ChannelSection, settings: Settings, client: AsyncClient) -> Finding:
    kind = channel_type(name, {name: spec})
    try:
        channel_of(name, spec, settings, client)
    except ConfigurationError as error:
        remedy = "a worker with role supervision does not start without it"
        return Finding(f"channel {name}", "warning", str(error), remedy)
    return Finding(f"channel {name}", "ok", f"{kind}; `curb alerts test {name}` tries it")


def _key(provider: Provider) -> Finding:
    name = f"key of {provider.name}"
    if provider.api_key_envs or provider.api_key_files:
        return _keys(f"keys of {provider.name}", provider)
    if provider.api_key_file:
        if os.access(provider.api_key_file, os.R_OK):
            return Finding(name, "ok", f"file {provider.api_key_file}")
        return Finding(name, "warning", f"{provider.api_key_file} cannot be read", "correct api_key_file")
    if not provider.api_key_env:
        return Finding(name, "ok", "needs none")
    if os.environ.get(provider.api_key_env):
        return Finding(name, "ok", f"{provider.api_key_env} is set")
    return Finding(name, "info", f"{provider.api_key_env} is not set", f"set it to use {provider.name}")


def _keys(name: str, provider: Provider) -> Finding:
    """Of a provider with several: it works while one of them is there."""
    try:
        found = [key.source for key in credentials(provider)]
    except ProviderError as error:
        return Finding(name, "info", str(error), f"set one of them to use {provider.name}")
    missing = [each for each in (*provider.api_key_envs, *provider.api_key_files) if each not in found]
    if missing:
        return Finding(name, "warning", f"{', '.join(missing)} cannot be read, or is the same as another")
    return Finding(name, "ok", f"{len(found)}: {', '.join(found)}")


def _stack(directory: Path, running: StackRecord | None) -> Finding:
    if running is None:
        return Finding("embedded stack", "info", f"not running in {directory}", "`curb dev` starts it")
    return Finding("embedded stack", "ok", f"running in {directory}, pid {running.owner_pid}")


async def _valkey(settings: Settings, running: StackRecord | None) -> list[Finding]:
    if settings.redis_url is not None:
        return [
            await _bounded("Valkey", _ask_valkey(settings.redis_url.get_secret_value()), "CURB_REDIS_URL")
        ]
    if running is not None and "redis_url" in running.addresses:
        return [await _bounded("Valkey", _ask_valkey(running.redis_url), "the log in .curb/logs")]
    return [_program("Valkey", valkey.binary)]


async def _ask_valkey(url: str) -> Finding:
    connection = Connection(url, "curb:")
    try:
        await connection.check()
        info = await connection.redis.info("server")
    finally:
        await connection.close()
    version = info.get("valkey_version") or info.get("redis_version")
    return Finding("Valkey", "ok", f"{masked(url)}, version {version}")


async def _postgres(settings: Settings, running: StackRecord | None) -> list[Finding]:
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        return [await _bounded("PostgreSQL", _ask_postgres(url), "CURB_DATABASE_URL")]
    if running is not None and "database_url" in running.addresses:
        return [await _bounded("PostgreSQL", _ask_postgres(running.database_url), "the log in .curb/logs")]
    findings = [_program("PostgreSQL", postgres.binaries)]
    if os.geteuid() == 0 and findings[0].status == "ok":
        findings.append(_account())
    return findings


async def _ask_postgres(url: str) -> Finding:
    async with await psycopg.AsyncConnection.connect(conninfo(url), connect_timeout=5) as connection:
        version = connection.info.server_version // 10_000
    if version < _OLDEST_POSTGRES:
        detail = f"{masked(url)} is version {version}"
        return Finding("PostgreSQL", "wrong", detail, f"use PostgreSQL {_OLDEST_POSTGRES} or later")
    ahead = await asyncio.to_thread(pending, url)
    if ahead:
        detail = f"{masked(url)}, version {version}, {len(ahead)} migrations to run"
        return Finding("PostgreSQL", "warning", detail, "run `curb migrate`")
    return Finding("PostgreSQL", "ok", f"{masked(url)}, version {version}")


def _account() -> Finding:
    account = accounts.existing()
    if account is not None:
        return Finding("PostgreSQL account", "ok", f"as root, PostgreSQL runs as {account}")
    detail = "PostgreSQL does not run as root, and there is no account for it"
    return Finding("PostgreSQL account", "warning", detail, "`curb dev` makes one with useradd where it can")


async def _temporal(settings: Settings, running: StackRecord | None) -> list[Finding]:
    if settings.temporal_address:
        return await _ask_temporal(
            temporal_target(settings), "CURB_TEMPORAL_ADDRESS, _NAMESPACE, _TLS, _API_KEY"
        )
    if running is not None and "temporal_address" in running.addresses:
        target = temporal_target(settings, running.temporal_address)
        return await _ask_temporal(target, "the log in .curb/logs")
    return _ways()


async def _ask_temporal(target: TemporalTarget, remedy: str) -> list[Finding]:
    client = await Client.connect(
        target.address, namespace=target.namespace, tls=target.tls, api_key=target.api_key, lazy=True
    )
    found = await _bounded("Temporal", _ask_namespace(client, target.address), remedy)
    if found.status != "ok":
        return [found]
    attributes = await _bounded(
        "search attributes", _ask_search_attributes(client), "the server's operator API"
    )
    # They are optional: Temporal Cloud, for one, lists them elsewhere.
    return [found, replace(attributes, status="warning") if attributes.status == "wrong" else attributes]


async def _ask_namespace(client: Client, address: str) -> Finding:
    await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    return Finding("Temporal", "ok", f"{address}, namespace {client.namespace}")


async def _ask_search_attributes(client: Client) -> Finding:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    listed = await client.operator_service.list_search_attributes(request)
    absent = sorted(set(SEARCH_ATTRIBUTES) - set(listed.custom_attributes))
    if not absent:
        return Finding("search attributes", "ok", ", ".join(SEARCH_ATTRIBUTES))
    detail = f"not registered: {', '.join(absent)}; runs cannot be searched for by these"
    return Finding("search attributes", "warning", detail, "run `curb migrate`")


def _ways() -> list[Finding]:
    """Each way of getting the dev server: the first that is there is taken."""
    ways = temporal_binary.ways()
    chosen = next((way for way in ways if way.there), None)
    findings = [
        Finding(
            f"Temporal by {way.name}",
            "ok" if way.there else "info",
            way.detail,
            "" if way.there else way.remedy,
        )
        for way in ways
    ]
    if chosen is not None:
        return [Finding("Temporal", "ok", f"dev server by {chosen.name}: {chosen.detail}"), *findings]
    first = next(way for way in ways if way.possible)
    detail = f"no dev server yet; `curb dev` will try {first.name} first"
    return [Finding("Temporal", "warning", detail, "any one of the ways below"), *findings]


def _program(name: str, locate: Callable[[], Path]) -> Finding:
    try:
        return Finding(name, "ok", f"embedded: {locate()}")
    except StackError as error:
        return Finding(name, "wrong", str(error), "see there")


async def _bounded(name: str, question: Awaitable[Finding], remedy: str) -> Finding:
    """The answer to a question to a server; a server that does not answer is a finding too."""
    try:
        async with asyncio.timeout(_SECONDS):
            return await question
    except TimeoutError:
        return Finding(name, "wrong", f"no answer within {_SECONDS:.0f} s", f"check {remedy}")
    except (CurbError, psycopg.Error, OSError, RuntimeError, RPCError) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return Finding(name, "wrong", said, f"check {remedy}")
