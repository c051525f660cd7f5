"""The front door as a process: keys, limits, and the upkeep that every process shares.

`curb gateway` is this alone, without Temporal; `curb dev` opens the same door beside its worker.
"""

import asyncio
import contextlib
import gc
import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import structlog

from gateway.agents import Agent
from gateway.errors import ConfigurationError
from gateway.http.app import build_app
from gateway.http.endpoint import KeyHolder, Limits
from gateway.keys import KeyRing, Principal
from gateway.tokens import prefix_of
from worker.config import Config, gateway_config
from worker.keys import open_key_ring
from worker.listening import listening
from worker.settings import Settings
from worker.upkeep import metrics, switch_names, upkeep
from worker.wiring import Parts, Servers, open_parts

log = structlog.get_logger(__name__)

DEVELOPER = Principal("dev", "dev", rate_tier="")
"""Who calls the open door of `curb dev` without a key of curb's."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the door is. is_open: whoever comes without a key of curb's is the developer."""

    host: str
    port: int
    is_open: bool = False

    @property
    def url(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


async def serve_front_door(
    servers: Servers,
    settings: Settings,
    config: Config,
    place: Place,
    *,
    stop: asyncio.Event,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until `stop` is set, then finish or settle what is in flight. on_ready is told the URL.

    Raises ConfigurationError, StateUnavailable, StoreUnavailable when it cannot start.
    """
    async with (
        open_parts(gateway_config(config, settings), servers) as parts,
        upkeep(parts, switch_names(config, config.agents)),
        metrics(settings, parts),
        front_door(place, parts, config.agents, settings) as url,
    ):
        _spare_the_collector()
        log.info("front door open", url=url, process_id=parts.process_id)
        if on_ready is not None:
            on_ready(url)
        await stop.wait()
        log.info("front door closing", process_id=parts.process_id)


@contextlib.asynccontextmanager
async def front_door(
    place: Place, parts: Parts, agents: Mapping[str, Agent], settings: Settings
) -> AsyncIterator[str]:
    """Open the door while the block runs; yields its URL. Raises ConfigurationError."""
    if place.is_open and not is_loopback(place.host):
        raise ConfigurationError(
            f"{place.host} can be reached by others: an open front door is for loopback only"
        )
    ring = await open_key_ring(parts.store, settings, parts.gateway.config.rate_limits)
    keys: KeyHolder = _OpenKeys(ring) if place.is_open else ring
    limits = Limits(upgrade_url=settings.upgrade_url)
    app = build_app(parts.gateway, keys, agents=agents, limits=limits)
    try:
        async with listening(app, place.host, place.port, grace_seconds=settings.shutdown_seconds) as url:
            yield url
    finally:
        await ring.close()


def _spare_the_collector() -> None:
    """What is there at the start stays: looking through it again and again stops everybody for 0.15 s."""
    gc.collect()
    gc.freeze()


class _OpenKeys:
    """Keys of curb's are checked; every other caller is the developer (clients must send something)."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def authenticate(self, token: str, address: str = "") -> Principal:
        return await self._ring.authenticate(token, address) if prefix_of(token) else DEVELOPER


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host of this name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
