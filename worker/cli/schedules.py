"""curb schedules apply|list|trigger|backfill|pause|resume."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.errors import Misused, Unreachable
from worker.cli.output import Json

if TYPE_CHECKING:
    from rich.text import Text

    from worker.cli.servers import House
    from worker.schedules import WantedSchedule
    from worker.temporal_schedules import Applied, Listed, Schedules

app = typer.Typer(help="Work that is done by the clock: resets, sweeps, reports.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Of the schedule; `curb schedules list` has them all.")
]


@dataclass(frozen=True, slots=True)
class _Office:
    """A connection to Temporal, and what is wanted of it."""

    house: "House"
    schedules: "Schedules"
    wanted: "Sequence[WantedSchedule]"

    def find(self, name: str) -> "WantedSchedule":
        """Raises Misused with the nearest name."""
        from worker.config_errors import suggestion
        from worker.config_schedules import NAMES

        for each in self.wanted:
            if each.name == name:
                return each
        if name in NAMES:
            raise Misused(f"schedule {name} is switched off in curb.yaml (schedules: {{{name}: off}})")
        raise Misused(f"there is no schedule {name}{suggestion(name, NAMES)}")


@app.command("apply")
def apply(json: Json = False) -> None:
    """Bring Temporal's schedules to what curb.yaml wants.

    Workers do so when they start. Paused ones stay paused; schedules that are not curb's are not touched.
    """
    asyncio.run(_apply(as_json=json))


async def _apply(*, as_json: bool) -> None:
    from worker.cli import output

    async with _office() as office:
        done = await office.schedules.apply(office.wanted)
        if done.changed:
            await _audit(office.house, "schedules_apply", "", _applied(done))
    if as_json:
        output.print_json(_applied(done))
        return
    for how, names in _applied(done).items():
        if names and how != "unchanged":
            output.say(f"{_WORDS[how]}: {', '.join(names)}")
    if not done.changed:
        output.say(f"nothing to change: {len(done.unchanged)} schedules are as wanted")


_WORDS = {
    "created": "created",
    "updated": "updated",
    "deleted": "deleted",
    "foreign": "not curb's, left alone (rename or delete them in Temporal)",
}


def _applied(done: "Applied") -> dict[str, list[str]]:
    return {
        how: list(getattr(done, how)) for how in ("created", "updated", "deleted", "unchanged", "foreign")
    }


@app.command("list")
def list_schedules(json: Json = False) -> None:
    """What is done when, when it was done last and how that ended."""
    asyncio.run(_list(as_json=json))


async def _list(*, as_json: bool) -> None:
    from worker.cli import output

    async with _office() as office:
        found = await office.schedules.listed(office.wanted)
    if as_json:
        output.print_json({"schedules": [_row(office.house, each) for each in found]})
        return
    rows = output.table("schedule", "when", "next", "last", "", wrap=("when",))
    for each in found:
        times = output.clock(each.next_at), output.clock(each.last_at)
        rows.add_row(_name(each), each.words, *times, _end(office.house, each))
    output.console().print(rows)
    _print_notes(found)
    if any(each.state in ("missing", "changed", "off") for each in found):
        output.say("some are not as curb.yaml wants them: `curb schedules apply`")


def _print_notes(found: "Sequence[Listed]") -> None:
    """What each does, or why it is paused; below the times, which its length would push apart."""
    from worker.cli import output

    noted = [each for each in found if each.note]
    if not noted:
        return
    rows = output.table("schedule", "note", wrap=("note",))
    for each in noted:
        rows.add_row(each.name, each.note, style="dim")
    output.console().print()
    output.console().print(rows)


def _name(each: "Listed") -> "Text":
    from rich.text import Text

    said = {"applied": "", "foreign": " · not curb's, left alone"}.get(each.state, f" · {each.state}")
    name = Text(each.name, style="bold").append(said, style="red")
    if each.paused:
        name.append(" · paused", style="yellow")
    return name


def _end(known: "House", each: "Listed") -> "Text":
    from rich.text import Text

    from worker.cli.output import status_text

    text = status_text(each.last_status)
    url = known.workflow_url(each.last_workflow_id) if each.last_workflow_id else ""
    return Text.assemble(text, style=f"link {url}") if url else text


def _row(known: "House", each: "Listed") -> dict[str, Any]:
    from worker.cli.output import at_text

    return {
        "name": each.name,
        "id": each.id,
        "when": each.words,
        "note": each.note,
        "state": each.state,
        "paused": each.paused,
        "next_at": at_text(each.next_at),
        "last_at": at_text(each.last_at),
        "last_status": each.last_status or None,
        "last_workflow_id": each.last_workflow_id or None,
        "last_workflow_url": (known.workflow_url(each.last_workflow_id) if each.last_workflow_id else "")
        or None,
    }


@app.command("trigger")
def trigger(name: Name, json: Json = False) -> None:
    """Do it now, for now, beside the schedule."""
    asyncio.run(_trigger(name, as_json=json))


async def _trigger(name: str, *, as_json: bool) -> None:
    async with _office() as office:
        workflow_id = await office.schedules.trigger(office.find(name).name)
        await _audit(office.house, "schedule_trigger", name, {"workflow_id": workflow_id})
    _print_started(office.house, name, [workflow_id], as_json=as_json)


@app.command("backfill")
def backfill(
    name: Name,
    since: Annotated[
        str,
        typer.Option(
            "--from", metavar="T", help="A date or time (UTC unless it says otherwise), or how long ago: 3d."
        ),
    ],
    until: Annotated[str, typer.Option("--to", metavar="T", help="The same; both ends are included.")] = "",
    json: Json = False,
) -> None:
    """Do what was due in a time that is over.

    One after the other, as if each of those times were now. What was done for a time is not done twice.
    """
    from worker.cli.times import moment

    now = datetime.now(UTC)
    first = moment(since, "--from", now)
    last = moment(until, "--to", now) if until else now
    if last > now:
        raise Misused(f"--to {until}: that is in the future")
    if first > last:
        raise Misused(f"--from {since} is after --to {until or 'now'}")
    asyncio.run(_backfill(name, first, last, as_json=json))


async def _backfill(name: str, since: datetime, until: datetime, *, as_json: bool) -> None:
    async with _office() as office:
        ids = await office.schedules.backfill(office.find(name), since, until)
        await _audit(
            office.house, "schedule_backfill", name, {"from": since, "to": until, "workflows": len(ids)}
        )
    _print_started(office.house, name, ids, as_json=as_json)


def _print_started(known: "House", name: str, ids: "Sequence[str]", *, as_json: bool) -> None:
    from worker.cli import output

    if as_json:
        workflows = [{"workflow_id": each, "url": known.workflow_url(each) or None} for each in ids]
        output.print_json({"name": name, "workflows": workflows})
        return
    for each in ids:
        output.print_text(f"{each}  {known.workflow_url(each)}".rstrip())


@app.command("pause")
def pause(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; it is shown in Temporal's UI.")] = "paused by hand",
    json: Json = False,
) -> None:
    """Start nothing by itself any more, until `resume`. Triggers and backfills still work."""
    asyncio.run(_pause(name, reason, as_json=json))


async def _pause(name: str, reason: str, *, as_json: bool) -> None:
    from worker.cli.servers import who

    async with _office() as office:
        await office.schedules.pause(office.find(name).name, f"{who()}: {reason}")
        await _audit(office.house, "schedule_pause", name, {"reason": reason})
    _print_paused(name, paused=True, as_json=as_json)


@app.command("resume")
def resume(name: Name, json: Json = False) -> None:
    """Start it again when it is due. What was due meanwhile is left out; see `backfill`."""
    asyncio.run(_resume(name, as_json=json))


async def _resume(name: str, *, as_json: bool) -> None:
    async with _office() as office:
        wanted = office.find(name)
        await office.schedules.resume(name, wanted.note)
        await _audit(office.house, "schedule_resume", name, {})
    _print_paused(name, paused=False, as_json=as_json)


def _print_paused(name: str, *, paused: bool, as_json: bool) -> None:
    from worker.cli import output

    if as_json:
        output.print_json({"name": name, "paused": paused})
    else:
        output.say(f"{name} is paused" if paused else f"{name} goes on")


@contextlib.asynccontextmanager
async def _office() -> AsyncIterator[_Office]:
    """Raises ServersMissing, Unreachable, ConfigurationError."""
    from temporalio.service import RPCError

    from worker.cli.servers import connect_temporal, house
    from worker.schedules import wanted_schedules
    from worker.temporal_schedules import Schedules

    known = house()
    known.places.need("temporal_address")
    client = await connect_temporal(known)
    try:
        yield _Office(known, Schedules(client), wanted_schedules(known.config))
    except RPCError as error:
        raise Unreachable(f"Temporal: {error.message}") from error


async def _audit(known: "House", action: str, name: str, detail: dict[str, Any]) -> None:
    """Where the database is known: Temporal alone is enough to work schedules."""
    from gateway.store import Store
    from worker.cli.servers import who

    if known.places.database_url:
        async with await Store.connect(known.places.database_url) as store:
            await store.events.audit(who(), action, name, detail)
