"""The front door as a process: keys, limits, and the upkeep that every process shares.

`curb gateway` is this alone, without Temporal; `curb dev` opens the same door beside its worker.
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send
from temporalio.client import Client

from gateway.agents import Agent
from gateway.errors import ConfigurationError
from gateway.http.app import build_app
from gateway.http.counted import Counted
from gateway.http.endpoint import KeyHolder, Limits
from gateway.keys import KeyRing, Principal
from gateway.metrics import Metrics
from gateway.tokens import prefix_of
from worker.api.app import PATHS, build_api
from worker.api.office import Office
from worker.batches import batch_starter
from worker.config import Config, gateway_config
from worker.console.app import PATH as CONSOLE
from worker.console.app import build_console
from worker.keys import key_secrets, open_key_ring
from worker.listening import is_loopback, listening
from worker.settings import Settings
from worker.shared_metrics import SharedState, shared_state
from worker.upkeep import metrics, switch_names, upkeep
from worker.wiring import Parts, Servers, open_parts

_COLLECT_AFTER = 20_000  # objects

log = structlog.get_logger(__name__)

DEVELOPER = Principal("dev", "dev", rate_tier="", roles=frozenset({"call", "admin"}))
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


@dataclass(frozen=True, slots=True)
class Beside:
    """What the admin API has beside the gateway. temporal: None where this process knows none."""

    temporal: Client | None = None
    temporal_ui: str = ""

    def workflow_url(self, run_id: str) -> str:
        """The run in the Temporal UI; '' where no UI is known."""
        if not self.temporal_ui or self.temporal is None:
            return ""
        return f"{self.temporal_ui}/namespaces/{self.temporal.namespace}/workflows/{quote(run_id, safe='')}"


class Doors:
    """The model endpoints, and beside them the admin API and the console: an ASGI application."""

    def __init__(self, models: ASGIApp, admin: ASGIApp, console: ASGIApp) -> None:
        self._models = models
        self._admin = admin
        self._console = console

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", ""))
        if path == CONSOLE or path.startswith(f"{CONSOLE}/"):
            await self._console(scope, receive, send)
            return
        is_admin = any(path == each or path.startswith(f"{each}/") for each in PATHS)
        await (self._admin if is_admin else self._models)(scope, receive, send)


async def serve_front_door(
    servers: Servers,
    settings: Settings,
    config: Config,
    place: Place,
    *,
    stop: asyncio.Event,
    beside: Beside | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until `stop` is set, then finish or settle what is in flight. on_ready is told the URL.

    Raises ConfigurationError, StateUnavailable, StoreUnavailable when it cannot start.
    """
    async with (
        open_parts(
            gateway_config(config, settings), servers, metrics=Metrics(max_users=settings.metrics_users)
        ) as parts,
        upkeep(parts, switch_names(config, config.agents)),
        shared_state(parts.metrics.registry, parts.authority, parts.store, config, config.agents) as shared,
        metrics(settings, parts),
        front_door(place, parts, config, config.agents, settings, beside, shared) as url,
    ):
        _spare_the_collector()
        log.info("front door open", url=url, process_id=parts.process_id)
        if on_ready is not None:
            on_ready(url)
        await stop.wait()
        log.info("front door closing", process_id=parts.process_id)


@contextlib.asynccontextmanager
async def front_door(
    place: Place,
    parts: Parts,
    config: Config,
    agents: Mapping[str, Agent],
    settings: Settings,
    beside: Beside | None = None,
    shared: SharedState | None = None,
) -> AsyncIterator[str]:
    """Open the door while the block runs; yields its URL. agents: of config, and those of --tools.

    Raises ConfigurationError.
    """
    if place.is_open and not is_loopback(place.host):
        raise ConfigurationError(
            f"{place.host} can be reached by others: an open front door is for loopback only"
        )
    ring = await open_key_ring(parts.store, settings, parts.gateway.config.rate_limits)
    keys: KeyHolder = _OpenKeys(ring) if place.is_open else ring
    limits = Limits(upgrade_url=settings.upgrade_url)
    known = beside or Beside()
    batches = batch_starter(known.temporal)
    models = build_app(parts.gateway, keys, agents=agents, limits=limits, batches=batches)
    office = Office(
        store=parts.store,
        authority=parts.authority,
        config=config,
        agents=agents,
        keys=keys,
        secrets=await key_secrets(parts.store, settings),
        temporal=known.temporal,
        workflow_url=known.workflow_url,
        is_open=place.is_open,
        registry=parts.metrics.registry,
        before_scrape=shared.fresh if shared is not None else None,
    )
    admin = Counted(build_api(office), parts.metrics, otherwise="admin")
    console = Counted(build_console(office), parts.metrics, otherwise="console")
    app = Doors(models, admin, console)
    try:
        async with listening(app, place.host, place.port, grace_seconds=settings.shutdown_seconds) as url:
            yield url
    finally:
        await ring.close()


def _spare_the_collector() -> None:
    """What is there at the start stays: looking through it again and again stops everybody for 0.15 s.

    A request makes thousands of objects and hardly a cycle: looking after every 700 took 5 % of the CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


class _OpenKeys:
    """Keys of curb's are checked; every other caller is the developer (clients must send something)."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def authenticate(self, token: str, address: str = "") -> Principal:
        return await self._ring.authenticate(token, address) if prefix_of(token) else DEVELOPER
