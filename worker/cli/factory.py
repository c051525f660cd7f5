"""curb dev, doctor, worker, gateway, migrate: the parts that run."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from worker.doctor import Finding

from worker.cli.launching import Config, Tools
from worker.cli.output import Json
from worker.cli.status import Status

_ROLES = ("runs", "gateway", "tools", "supervision")


def dev(
    tools: Tools = None,
    config: Config = None,
    live: Annotated[
        bool, typer.Option("--live", help="Real providers, with your keys, instead of the simulated one.")
    ] = False,
    json: Json = False,
) -> None:
    """Start the stack, a worker, the front door and the simulated provider.

    Ctrl-C stops everything in order; the data stay in .curb.
    """
    from worker.cli import loops
    from worker.cli.development import develop

    loops.run(develop(config, tuple(tools or ()), live=live, as_json=json))


def worker(
    role: Annotated[
        list[str] | None,
        typer.Option("--role", help="Only this role: runs, gateway, tools, supervision; repeatable."),
    ] = None,
    tools: Tools = None,
    config: Config = None,
) -> None:
    """Serve runs until SIGTERM or Ctrl-C.

    What is in flight then is finished or settled.
    """
    from worker.cli import loops

    for each in role or ():
        if each not in _ROLES:
            raise typer.BadParameter(f"{each!r} is none of {', '.join(_ROLES)}", param_hint="--role")
    loops.run(_work(tuple(role or _ROLES), tuple(tools or ()), config))


async def _work(roles: tuple[str, ...], tools: tuple[str, ...], config: Config) -> None:
    from worker.cli import logs, loops
    from worker.cli.output import say
    from worker.cli.servers import connect_temporal, house
    from worker.service import serve
    from worker.wiring import Servers

    known = house(config)
    logs.configure(known.settings)
    known.places.need("redis_url", "database_url", "temporal_address")
    if known.places.simulator_url:
        say(f"every provider is simulated by {known.places.simulator_url}, as `curb dev` says")
    servers = Servers(known.places.redis_url, known.places.database_url)
    client = await connect_temporal(known, measured=True)
    with loops.stopped_by_signals() as stop:
        await serve(
            client,
            servers,
            known.settings,
            known.config,
            stop=stop,
            roles=roles,
            tools=tools,
            temporal_ui=known.places.temporal_ui,
        )


def gateway(
    host: Annotated[
        str, typer.Option("--host", help="Where to listen (CURB_HTTP_HOST). Default: this machine only.")
    ] = "",
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65_535, help="CURB_HTTP_PORT; 0: any free one.")
    ] = None,
    config: Config = None,
) -> None:
    """Serve clients of OpenAI and Anthropic until SIGTERM or Ctrl-C.

    Every call needs a key (`curb keys create`). Works without Temporal; the admin API's runs need it.
    """
    from worker.cli import loops

    loops.run(_serve_clients(host, port, config))


async def _serve_clients(host: str, port: int | None, config: Config) -> None:
    from worker.cli import logs, loops
    from worker.cli.output import say
    from worker.cli.servers import connect_temporal, house
    from worker.front_door import Beside, Place, serve_front_door
    from worker.wiring import Servers

    known = house(config)
    logs.configure(known.settings)
    known.places.need("redis_url", "database_url")
    if known.places.simulator_url:
        say(f"every provider is simulated by {known.places.simulator_url}, as `curb dev` says")
    settings = known.settings
    place = Place(host or settings.http_host, settings.http_port if port is None else port)
    servers = Servers(known.places.redis_url, known.places.database_url)
    temporal = await connect_temporal(known, lazily=True) if known.places.temporal_address else None
    with loops.stopped_by_signals() as stop:
        await serve_front_door(
            servers,
            settings,
            known.config,
            place,
            stop=stop,
            beside=Beside(temporal, known.places.temporal_ui),
            on_ready=lambda url: say(f"the front door is at {url}; Ctrl-C closes it"),
        )


def migrate(json: Json = False) -> None:
    """Bring Postgres and Temporal to this version of curb.

    Tables in Postgres; search attributes in Temporal, where its address is known.
    """
    asyncio.run(_migrate(as_json=json))


async def _migrate(*, as_json: bool) -> None:
    from gateway.store.migrate import migrate as upgrade
    from worker.cli import output
    from worker.cli.search import register
    from worker.cli.servers import connect_temporal, house

    known = house()
    known.places.need("database_url")
    revision = await asyncio.to_thread(upgrade, known.places.database_url)
    added: list[str] | None = None
    if known.places.temporal_address:
        added = await register(await connect_temporal(known))
    if as_json:
        output.print_json({"revision": revision, "search_attributes_added": added})
        return
    output.say(f"Postgres is at revision {revision}")
    if added is None:
        output.say("Temporal: no address is known, so search attributes were not looked at")
    else:
        output.say(f"Temporal: registered {', '.join(added)}" if added else "Temporal: nothing to register")


def doctor(json: Json = False) -> None:
    """What is there, what is missing, and how to get it.

    Exit status 3 when something is missing.
    """
    from worker.cli import output
    from worker.doctor import examine, is_healthy

    findings = asyncio.run(examine())
    healthy = is_healthy(findings)
    if json:
        rows = [
            {"name": f.name, "status": f.status, "detail": f.detail, "remedy": f.remedy} for f in findings
        ]
        output.print_json({"healthy": healthy, "findings": rows})
    else:
        _print_findings(findings, healthy=healthy)
    raise typer.Exit(Status.DONE if healthy else Status.MISSING)


def _print_findings(findings: "list[Finding]", *, healthy: bool) -> None:
    from rich.text import Text

    from worker.cli import output

    marks = {"ok": ("✓", "green"), "info": ("·", "dim"), "warning": ("!", "yellow"), "wrong": ("✗", "red")}
    rows = output.table("", "", "", wrap=("",))
    for each in findings:
        mark, colour = marks[each.status]
        remedy = f"\n→ {each.remedy}" if each.remedy and each.status != "ok" else ""
        rows.add_row(Text(mark, style=colour), each.name, Text(each.detail).append(remedy, style="dim"))
    output.console().print(rows)
    warned = sum(each.status == "warning" for each in findings)
    told = f"; see what is marked ! ({warned})" if warned else ""
    output.console().print(
        f"[green]nothing is missing[/green]{told}" if healthy else "[red]something is missing[/red]"
    )
