"""curb switch set|clear|list. A switch is a key in Redis: anyone may set it, with anything."""

import asyncio
from typing import Annotated, Literal

import typer

from worker.cli.errors import Misused
from worker.cli.output import Json
from worker.cli.status import Status

app = typer.Typer(help="Kill switches and throttles.", no_args_is_help=True)

Kind = Literal["global", "agent", "provider", "model", "throttle"]
KindArgument = Annotated[
    Kind, typer.Argument(metavar="KIND", help="What to switch off, or throttle (an agent).")
]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Of the agent (throttle too), provider or model.")
]


@app.command("set")
def set_switch(
    kind: KindArgument,
    name: NameArgument = "",
    reason: Annotated[str, typer.Option(help="Why; becomes part of the switch's value.")] = "by_hand",
    expires: Annotated[str, typer.Option(metavar="DURATION", help="Lifts itself, e.g. after 10m.")] = "",
    json: Json = False,
) -> None:
    """Stop buying at once.

    Calls in flight are cut; runs wait until the switch is lifted.
    """
    from worker.cli.times import duration_seconds

    seconds = duration_seconds(expires, "--expires") if expires else None
    asyncio.run(_set(switch_name(kind, name), reason, seconds, as_json=json))


async def _set(name: str, reason: str, seconds: int | None, *, as_json: bool) -> None:
    from worker.cli import output
    from worker.cli.servers import house, open_books, who
    from worker.desk.switches import SwitchDesk

    async with open_books(house()) as books:
        switch = await SwitchDesk(books.store, books.authority, by=who()).set(name, reason, seconds)
    if as_json:
        document = switch.document()
        output.print_json({each: document[each] for each in ("name", "value", "expires_at")})
    else:
        until = f"until {output.clock(switch.expires_at)}" if seconds else "until `curb switch clear`"
        output.say(f"{name} = {switch.value}, {until}")


@app.command("clear")
def clear_switch(kind: KindArgument, name: NameArgument = "", json: Json = False) -> None:
    """Lift a switch.

    Waiting runs go on where they stood. Exit status 1 if it was not set.
    """
    if not asyncio.run(_clear(switch_name(kind, name), as_json=json)):
        raise typer.Exit(Status.FAILED)


async def _clear(name: str, *, as_json: bool) -> bool:
    from worker.cli import output
    from worker.cli.servers import house, open_books, who
    from worker.desk.switches import SwitchDesk

    async with open_books(house()) as books:
        lifted = await SwitchDesk(books.store, books.authority, by=who()).clear(name)
    if as_json:
        output.print_json({"name": name, "lifted": lifted})
    else:
        output.say(f"{name} is lifted" if lifted else f"{name} was not set")
    return lifted


@app.command("list")
def list_switches(json: Json = False) -> None:
    """The switches that are set, and by whom."""
    asyncio.run(_list(as_json=json))


async def _list(*, as_json: bool) -> None:
    from worker.cli import output
    from worker.cli.servers import house, open_books
    from worker.desk.switches import switches_set
    from worker.upkeep import switch_names

    async with open_books(house()) as books:
        config = books.house.config
        configured = switch_names(config, config.agents)
        found = [each.document() for each in await switches_set(books.store, books.authority, configured)]
    if as_json:
        output.print_json({"switches": found})
        return
    if not found:
        output.console().print("no switch is set")
        return
    rows = output.table("switch", "value", "since", "expires", wrap=("value",))
    for each in found:
        rows.add_row(each["name"], each["value"], each["since"] or "just now", each["expires_at"] or "never")
    output.console().print(rows)


def switch_name(kind: Kind, name: str) -> str:
    """The key in Redis (REQUIREMENTS 2). Raises Misused."""
    if kind == "global":
        if name:
            raise Misused(f"global takes no name, {name!r} was given")
        return "kill:global"
    if not name:
        raise Misused(f"{kind} needs a name, for example `curb switch set {kind} NAME`")
    return f"throttle:agent:{name}" if kind == "throttle" else f"kill:{kind}:{name}"
