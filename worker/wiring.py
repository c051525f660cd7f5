"""Wiring: builds the parts of one process from its configuration, and takes them down in order."""

import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from activities.dependencies import Dependencies
from activities.snapshot import Snapshots
from activities.toolbox import Toolbox
from gateway.agents import Agent
from gateway.config import GatewayConfig
from gateway.drainer import Drainer
from gateway.gateway import Gateway
from gateway.metrics import Metrics
from gateway.prices import PriceBook
from gateway.providers import family
from gateway.providers.http import Http
from gateway.rebuild import Rebuilder
from gateway.state.authority import Authority
from gateway.store import Store


@dataclass(frozen=True, slots=True)
class Servers:
    """Where state and store are."""

    redis_url: str
    database_url: str


def new_process_id() -> str:
    """A name for this process that no other has: host, pid and chance."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one process that do not need Temporal."""

    process_id: str
    gateway: Gateway
    authority: Authority
    store: Store
    metrics: Metrics
    rebuilder: Rebuilder
    drainer: Drainer


@contextlib.asynccontextmanager
async def open_parts(
    config: GatewayConfig, servers: Servers, *, metrics: Metrics | None = None
) -> AsyncIterator[Parts]:
    """Connect, adopt or rebuild the authority's epoch, and drain the outbox while the block runs."""
    process_id = new_process_id()
    metrics = metrics or Metrics()
    store = await Store.connect(servers.database_url)
    try:
        authority = await Authority.connect(servers.redis_url, process_id=process_id, config=config)
        try:
            gateway = Gateway(
                config=config,
                authority=authority,
                store=store,
                prices=PriceBook(config.prices_overlay),
                families=family,
                http=Http(),
                metrics=metrics,
                process_id=process_id,
            )
            if config.cache.semantic is not None and not config.cache.off:
                await store.cached.prepare()
            rebuilder = Rebuilder(authority, store, process_id, config=config)
            drainer = Drainer(authority, store, process_id)
            try:
                yield Parts(process_id, gateway, authority, store, metrics, rebuilder, drainer)
            finally:
                await gateway.close()
        finally:
            await authority.close()
    finally:
        await store.close()


def dependencies(
    parts: Parts, toolbox: Toolbox, agents: Mapping[str, Agent], *, search_attributes: bool
) -> Dependencies:
    """What the activities work with."""
    return Dependencies(
        gateway=parts.gateway,
        authority=parts.authority,
        store=parts.store,
        toolbox=toolbox,
        agents=agents,
        metrics=parts.metrics,
        snapshots=Snapshots(parts.store),
        search_attributes=search_attributes,
    )
