"""curb dev: the embedded stack with a worker and the front door, in the foreground."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any

from gateway.errors import PortTaken
from gateway.store.migrate import migrate
from worker.cli import logs
from worker.cli.book import apply_policy
from worker.cli.loops import stopped_by_signals
from worker.cli.output import console, print_json, say, table
from worker.cli.servers import (
    House,
    agents_of,
    connect_temporal,
    note_served,
    open_books,
    places_of,
    who,
)
from worker.config import Config, load_config, on_simulator
from worker.front_door import DEVELOPER, Place
from worker.listening import is_loopback
from worker.service import serve
from worker.settings import Settings, load_settings
from worker.stack import Stack, StackRecord
from worker.stack import ports as port_numbers
from worker.wiring import Servers

_SIMULATOR = "simulator"
_DOOR = "front_door_port"
_TRIES = 3


async def develop(config: Path | None, tools: tuple[str, ...], *, live: bool, as_json: bool) -> None:
    """Run until SIGINT or SIGTERM. A stack that runs already is shown and left alone."""
    settings = load_settings()
    read = load_config(config or settings.config)
    agents = sorted({*read.agents, *agents_of(tools)})
    running = Stack.find(settings.data_dir)
    if running is not None:
        show_places(house_of(_with_door(settings), read, running), agents, as_json=as_json)
        say(f"this stack runs already (pid {running.owner_pid}); nothing was started")
        return
    logs.configure(settings)
    with stopped_by_signals() as stop:
        stack = new_stack(settings, live=live)
        try:
            await _unless(stop, stack.start())
            if not stop.is_set():
                note_served(settings.data_dir, agents)
                await _serve_somewhere(settings, read, stack.record, tools, agents, stop, as_json=as_json)
        finally:
            say("stopping the servers")
            await stack.stop()
    say(f"stopped; the data stay in {settings.data_dir}")


def new_stack(settings: Settings, *, live: bool = False) -> Stack:
    """The servers that the environment gives no address for, and the simulated provider unless live."""
    servers = (*settings.embedded, *(() if live else (_SIMULATOR,)))
    return Stack(settings.data_dir, servers=servers, say=say)


def house_of(settings: Settings, config: Config, record: StackRecord) -> House:
    """The house of this stack; the simulator, where there is one, plays every provider."""
    places = places_of(settings, record)
    played = on_simulator(config, places.simulator_url) if places.simulator_url else config
    return House(settings, played, places)


async def prepare(known: House) -> None:
    """Migrate, and write the policy down before anybody computes budgets from it."""
    await asyncio.to_thread(migrate, known.places.database_url)
    async with open_books(known) as books:
        await apply_policy(books, known.config, by=f"{who()} (curb dev)")


async def _serve_somewhere(
    settings: Settings,
    config: Config,
    record: StackRecord,
    tools: tuple[str, ...],
    agents: Sequence[str],
    stop: asyncio.Event,
    *,
    as_json: bool,
) -> None:
    """Serve on ports that are free; on others when somebody takes them between the look and the start."""
    for attempt in range(1, _TRIES + 1):
        known = house_of(_with_free_ports(settings), config, record)
        _note_door(known.settings)
        try:
            await _serve(known, tools, agents, stop, as_json=as_json)
            break
        except PortTaken as error:
            if attempt == _TRIES:
                raise
            say(f"{error}; trying again")


async def _serve(
    known: House, tools: tuple[str, ...], agents: Sequence[str], stop: asyncio.Event, *, as_json: bool
) -> None:
    await prepare(known)
    client = await connect_temporal(known)
    servers = Servers(known.places.redis_url, known.places.database_url)
    ready = asyncio.Event()
    async with _announcing(known, agents, ready, as_json=as_json):
        await serve(
            client,
            servers,
            known.settings,
            known.config,
            stop=stop,
            tools=tools,
            temporal_ui=known.places.temporal_ui,
            place=_place(known.settings),
            on_ready=ready.set,
        )


@contextlib.asynccontextmanager
async def _announcing(
    known: House, agents: Sequence[str], ready: asyncio.Event, *, as_json: bool
) -> AsyncIterator[None]:
    """Show where everything is as soon as it is ready."""

    async def announce() -> None:
        await ready.wait()
        show_places(known, agents, as_json=as_json)
        if (place := _place(known.settings)) is not None and place.is_open:
            say(f"the front door is open: who comes without a key is the agent {DEVELOPER.name}")
        say("ready; Ctrl-C stops everything in order")

    task = asyncio.create_task(announce())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do some work, and give it up when `stop` is set meanwhile."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not working.done():
            working.cancel()
        await asyncio.wait({working})
    if not working.cancelled():
        working.result()


def _with_free_ports(settings: Settings) -> Settings:
    """Ports for /metrics and the front door that are free; the wanted ones if they can be had."""
    chosen = {"metrics_port": settings.metrics_port, "http_port": settings.http_port}
    for name, wanted in chosen.items():
        if not wanted:
            continue
        chosen[name] = port_numbers.choose(wanted)
        if chosen[name] != wanted:
            said = {"metrics_port": "metrics", "http_port": "front door"}[name]
            say(f"{said}: port {wanted} is taken, using {chosen[name]}")
    return settings.model_copy(update=chosen)


def _note_door(settings: Settings) -> None:
    """Leave word of the front door's port, for a second `curb dev` that only shows where everything is."""
    (settings.data_dir / _DOOR).write_text(str(settings.http_port), encoding="utf-8")


def _with_door(settings: Settings) -> Settings:
    """The port that the `curb dev` which runs here left word of."""
    try:
        port = int((settings.data_dir / _DOOR).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return settings
    return settings.model_copy(update={"http_port": port})


def _place(settings: Settings) -> Place | None:
    """Where the front door is: open on loopback, for keys only where others can reach it."""
    if not settings.http_port:
        return None
    return Place(settings.http_host, settings.http_port, is_open=is_loopback(settings.http_host))


def show_places(known: House, agents: Sequence[str], *, as_json: bool) -> None:
    """Where everything is."""
    places, port, door = known.places, known.settings.metrics_port, _place(known.settings)
    everything = {
        "front_door": door.url if door else "",
        "console": f"{door.url}/console" if door else "",
        "temporal_ui": places.temporal_ui,
        "temporal": places.temporal_address,
        "redis": places.redis_url,
        "postgres": places.database_url,
        "simulator": places.simulator_url,
        "metrics": f"http://{known.settings.metrics_host}:{port}/metrics" if port else "",
        "data": str(places.directory.resolve()),
    }
    if as_json:
        print_json({**everything, "agents": list(agents)})
        return
    rows = table("", "", wrap=("",))
    for name, place in everything.items():
        rows.add_row(name.replace("_", " "), place or "not here")
    rows.add_row("agents", ", ".join(agents) or "none: write a curb.yaml")
    console().print(rows)
