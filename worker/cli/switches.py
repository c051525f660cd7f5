"""curb switch set|clear|list. A switch is a key in Redis: anyone may set it, with anything."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from worker.cli.errors import Misused
from worker.cli.output import Json
from worker.cli.status import Status

if TYPE_CHECKING:
    from worker.cli.servers import Books

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

    value = f"manual:{who()}:{reason}"
    async with open_books(house()) as books:
        await books.authority.set_switch(name, value, seconds * 1000 if seconds else None)
        await books.store.events.audit(who(), "switch_set", name, {"value": value, "seconds": seconds})
    ends = datetime.now(UTC) + timedelta(seconds=seconds) if seconds else None
    if as_json:
        output.print_json({"name": name, "value": value, "expires_at": output.at_text(ends)})
    else:
        until = f"until {output.clock(ends)}" if ends else "until `curb switch clear`"
        output.say(f"{name} = {value}, {until}")


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

    async with open_books(house()) as books:
        lifted = await books.authority.clear_switch(name)
        if lifted:
            await books.store.events.audit(who(), "switch_clear", name)
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

    async with open_books(house()) as books:
        found = await _found(books)
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


async def _found(books: "Books") -> list[dict[str, Any]]:
    """Every configured name is asked for; others when a worker has noticed them."""
    from worker.cli.output import at_text
    from worker.upkeep import switch_names

    config = books.house.config
    names = {*switch_names(config, config.agents), *await books.authority.known_switches()}
    present = await books.authority.read_switches(sorted(names))
    found = []
    for name, value in sorted(present.items()):
        last = await books.store.events.switch_changes(name, limit=1)
        noticed = last[0] if last and last[0].new == value else None
        found.append(
            {
                "name": name,
                "value": value,
                "since": at_text(noticed.at) if noticed else None,
                "expires_at": at_text(noticed.expires_at) if noticed else None,
            }
        )
    return found


def switch_name(kind: Kind, name: str) -> str:
    """The key in Redis (REQUIREMENTS 2). Raises Misused."""
    if kind == "global":
        if name:
            raise Misused(f"global takes no name, {name!r} was given")
        return "kill:global"
    if not name:
        raise Misused(f"{kind} needs a name, for example `curb switch set {kind} NAME`")
    return f"throttle:agent:{name}" if kind == "throttle" else f"kill:{kind}:{name}"
