"""How commands find the servers, and the connections they work with.

An address in the environment wins; else `stack.json` of a running `curb dev`; else the command
ends with exit status 3 and says what to do.
"""

import contextlib
import getpass
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import ConfigurationError
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.usage import SimulatorInvoice, UsageSource, invoice_source
from worker.cli.errors import ServersMissing, Unreachable
from worker.config import Config, load_config, on_simulator
from worker.settings import Settings, load_settings
from worker.stack.record import StackRecord
from worker.stack.stack import Stack

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.runtime import Runtime

    from gateway.agents import Agent
    from worker.client import Runs
    from worker.temporal_target import TemporalTarget

_SERVED = "agents.json"
_NAMES = {
    "redis_url": ("Redis", "CURB_REDIS_URL"),
    "database_url": ("PostgreSQL", "CURB_DATABASE_URL"),
    "temporal_address": ("Temporal", "CURB_TEMPORAL_ADDRESS"),
}


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is. '' for what is not known.

    simulator_url: only beside an embedded server, so that a stack somebody tries things with in the
    same directory never plays the providers of a production worker.
    """

    redis_url: str
    database_url: str
    temporal_address: str
    temporal_ui: str
    simulator_url: str
    directory: Path

    def need(self, *names: str) -> None:
        """Raises ServersMissing that names what is not known and how to get it."""
        absent = [_NAMES[name] for name in names if not getattr(self, name)]
        if not absent:
            return
        servers = ", ".join(server for server, _ in absent)
        variables = ", ".join(variable for _, variable in absent)
        raise ServersMissing(
            f"{servers}: no address is known. Start `curb dev` (no stack runs in {self.directory}), "
            f"or set {variables}"
        )


def find_places(settings: Settings) -> Places:
    """Look at the environment, then at a running embedded stack."""
    return places_of(settings, Stack.find(settings.data_dir))


def places_of(settings: Settings, record: StackRecord | None) -> Places:
    """The environment's addresses, else those of this stack."""
    known = record.addresses if record is not None else {}
    redis, database = settings.redis_url, settings.database_url
    return Places(
        redis_url=redis.get_secret_value() if redis else known.get("redis_url", ""),
        database_url=database.get_secret_value() if database else known.get("database_url", ""),
        temporal_address=settings.temporal_address or known.get("temporal_address", ""),
        temporal_ui="" if settings.temporal_address else known.get("temporal_ui", ""),
        simulator_url=known.get("simulator_url", "") if settings.embedded else "",
        directory=settings.data_dir,
    )


@dataclass(frozen=True, slots=True)
class House:
    """What a command knows before it connects to anything."""

    settings: Settings
    config: Config
    places: Places

    def temporal_target(self) -> "TemporalTarget":
        from worker.temporal_target import temporal_target

        return temporal_target(self.settings, self.places.temporal_address)

    def usage(self) -> UsageSource | None:
        """Where the providers' usage can be had: the simulator's invoice, or one that is configured."""
        if self.places.simulator_url:
            return SimulatorInvoice(self.places.simulator_url)
        return invoice_source(self.config.gateway)

    def workflow_url(self, run_id: str) -> str:
        """The run in the Temporal UI; '' where no UI is known."""
        ui, namespace = self.places.temporal_ui, self.temporal_target().namespace
        return f"{ui}/namespaces/{namespace}/workflows/{run_id}" if ui else ""


def house(config: Path | None = None) -> House:
    """Read the environment and curb.yaml. Raises ConfigurationError."""
    settings = load_settings()
    places = find_places(settings)
    read = load_config(config or settings.config)
    return House(settings, on_simulator(read, places.simulator_url) if places.simulator_url else read, places)


@dataclass(frozen=True, slots=True)
class Books:
    """Connections to state and store."""

    house: House
    authority: Authority
    store: Store


@dataclass(frozen=True, slots=True)
class Desk(Books):
    """The same, and Temporal."""

    temporal: "Client"
    runs: "Runs"


@contextlib.asynccontextmanager
async def open_books(known: House) -> AsyncIterator[Books]:
    """Connect to Redis and Postgres. Raises ServersMissing, StateUnavailable, StoreUnavailable."""
    known.places.need("redis_url", "database_url")
    async with await Store.connect(known.places.database_url) as store:
        authority = await Authority.connect(
            known.places.redis_url, process_id=f"cli-{who()}", config=known.config.gateway
        )
        try:
            epoch, seq = await store.ledger.mark()
            authority.note_seen(epoch, seq)
            yield Books(known, authority, store)
        finally:
            await authority.close()


@contextlib.asynccontextmanager
async def open_desk(known: House, *, tools: tuple[str, ...] = ()) -> AsyncIterator[Desk]:
    """Connect to everything. tools: modules whose agents may be launched too."""
    from worker.client import Runs

    known.places.need("redis_url", "database_url", "temporal_address")
    client = await connect_temporal(known)
    served = dict.fromkeys(_served(known.places.directory) if known.places.temporal_ui else ())
    agents: dict[str, object] = {**served, **known.config.agents, **agents_of(tools)}
    async with open_books(known) as books:
        runs = Runs(client, books.store, books.authority, agents=agents)
        yield Desk(known, books.authority, books.store, client, runs)


async def connect_temporal(known: House, *, lazily: bool = False, measured: bool = False) -> "Client":
    """lazily: only when it is first asked. measured: serve the SDK's own metrics, where the settings say.

    Raises Unreachable with the address and the remedy, ConfigurationError.
    """
    from temporalio.client import Client
    from temporalio.contrib.pydantic import pydantic_data_converter

    target = known.temporal_target()
    runtime = _measuring(known.settings) if measured and known.settings.temporal_metrics_port else None
    try:
        # Not worker.temporal.connect: that brings the whole worker in, a third of a second.
        return await Client.connect(
            target.address,
            namespace=target.namespace,
            api_key=target.api_key,
            tls=target.tls,
            data_converter=pydantic_data_converter,
            lazy=lazily,
            runtime=runtime,
        )
    except RuntimeError as error:
        raise Unreachable(
            f"Temporal does not answer at {target.address}: start it, or set CURB_TEMPORAL_ADDRESS; "
            "`curb doctor` says what is missing"
        ) from error


def _measuring(settings: Settings) -> "Runtime":
    """A core of Temporal's SDK that tells Prometheus what it counts: its threads live as long as we do."""
    from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

    host, port = settings.metrics_host, settings.temporal_metrics_port
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    metrics = PrometheusConfig(bind_address=address, counters_total_suffix=True, durations_as_seconds=True)
    try:
        return Runtime(telemetry=TelemetryConfig(metrics=metrics))
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"CURB_TEMPORAL_METRICS_PORT {port} of CURB_METRICS_HOST {host} (an IP address): {error}"
        ) from error


def agents_of(sources: tuple[str, ...]) -> "dict[str, Agent]":
    """The agents that modules of --tools define, by name. Raises ConfigurationError."""
    from activities.toolbox import agents_in
    from activities.toolbox.loading import load_module

    return {agent.name: agent for source in sources for agent in agents_in(load_module(source))}


def note_served(directory: Path, agents: Iterable[str]) -> None:
    """Leave word of the agents that this `curb dev` serves, those of its --tools too."""
    (directory / _SERVED).write_text(json.dumps(sorted(agents)), encoding="utf-8")


def _served(directory: Path) -> list[str]:
    try:
        names = json.loads((directory / _SERVED).read_bytes())
    except (OSError, ValueError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def who() -> str:
    """The person at the keyboard, for switches, top-ups and the audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return "unknown"


__all__ = ["Books", "Desk", "House", "Places", "find_places", "house", "open_books", "open_desk", "who"]
