"""curb dev: the embedded stack with a worker, in the foreground."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any

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
from worker.service import serve
from worker.settings import Settings, load_settings
from worker.stack import Stack, StackRecord
from worker.stack import ports as port_numbers
from worker.wiring import Servers

_SIMULATOR = "simulator"


async def develop(config: Path | None, tools: tuple[str, ...], *, live: bool, as_json: bool) -> None:
    """Run until SIGINT or SIGTERM. A stack that runs already is shown and left alone."""
    settings = load_settings()
    read = load_config(config or settings.config)
    agents = sorted({*read.agents, *agents_of(tools)})
    running = Stack.find(settings.data_dir)
    if running is not None:
        show_places(house_of(settings, read, running), agents, as_json=as_json)
        say(f"this stack runs already (pid {running.owner_pid}); nothing was started")
        return
    logs.configure(settings)
    with stopped_by_signals() as stop:
        stack = new_stack(settings, live=live)
        try:
            await _unless(stop, stack.start())
            if not stop.is_set():
                known = house_of(_with_free_port(settings), read, stack.record)
                note_served(settings.data_dir, agents)
                await _serve(known, tools, agents, stop, as_json=as_json)
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


def _with_free_port(settings: Settings) -> Settings:
    """A port for /metrics that is free; the wanted one if it can be had."""
    if not settings.metrics_port:
        return settings
    port = port_numbers.choose(settings.metrics_port)
    if port != settings.metrics_port:
        say(f"metrics: port {settings.metrics_port} is taken, using {port}")
    return settings.model_copy(update={"metrics_port": port})


def show_places(known: House, agents: Sequence[str], *, as_json: bool) -> None:
    """Where everything is."""
    places, port = known.places, known.settings.metrics_port
    everything = {
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
