"""curb alerts list|ack|silence|test: what fires, who looks after it, who wants quiet."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.channel_test import try_channel
from worker.cli.errors import Failed, Misused
from worker.cli.output import Json

if TYPE_CHECKING:
    from temporalio.client import Client

    from gateway.policy.alerts import AlertRecord
    from gateway.store import Store
    from worker.cli.servers import House

app = typer.Typer(help="Alerts: what fires, and who was told.", no_args_is_help=True)

AlertId = Annotated[str, typer.Argument(metavar="ID", help="The alert's id, or how it begins.")]


@app.command("list")
def list_alerts(
    ended: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    silences: Annotated[bool, typer.Option("--silences", help="The silences instead.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 200,
    json: Json = False,
) -> None:
    """What fires, who was told, and who looks after it."""
    asyncio.run(_silences(as_json=json) if silences else _list(limit, ended=ended, as_json=json))


@app.command("ack")
def acknowledge(
    alert: AlertId,
    note: Annotated[str, typer.Option(help="What you know about it.")] = "",
    json: Json = False,
) -> None:
    """Say that you look after it.

    It is not told again and not escalated, unless it gets worse.
    """
    asyncio.run(_acknowledge(alert, note, as_json=json))


@app.command("silence")
def silence(
    rule: Annotated[str, typer.Option(help="Of this rule, e.g. velocity_*.")] = "",
    scope: Annotated[str, typer.Option(help="Of this scope, e.g. run:nightly-*.")] = "",
    agent: Annotated[str, typer.Option(help="Of this agent.")] = "",
    team: Annotated[str, typer.Option(help="Of this team.")] = "",
    lasts: Annotated[str, typer.Option("--for", metavar="DURATION", help="For so long, e.g. 2h.")] = "",
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    end: Annotated[str, typer.Option(metavar="ID", help="End this silence instead.")] = "",
    json: Json = False,
) -> None:
    """Hear nothing of what matches, for a while.

    It is written down all the same, and told afterwards if it still fires. Patterns are globs.
    """
    matchers = {"rule": rule, "scope": scope, "agent": agent, "team": team}
    if end:
        if any(matchers.values()) or lasts:
            raise Misused("--end takes nothing but the silence's id")
        asyncio.run(_end_silence(end, as_json=json))
        return
    asyncio.run(_silence(matchers, _checked(matchers, lasts), reason, as_json=json))


app.command("test")(try_channel)


def _checked(matchers: dict[str, str], lasts: str) -> int:
    """How many seconds. Raises Misused."""
    from worker.cli.times import duration_seconds
    from worker.desk.alerts import unheard_of

    if not any(matchers.values()):
        raise Misused("say what to silence: --rule, --scope, --agent or --team")
    if not lasts:
        raise Misused("--for is missing; say for how long, for example --for 2h")
    if problem := unheard_of(matchers["rule"]):
        raise Misused(f"--rule {problem}")
    return duration_seconds(lasts, "--for")


async def _list(limit: int, *, ended: bool, as_json: bool) -> None:
    from gateway.policy.alert_routes import silence_of
    from worker.cli import output
    from worker.cli.alert_view import print_alerts
    from worker.cli.servers import house
    from worker.desk.alerts import alert_document

    now = datetime.now(UTC)
    async with await _store(house()) as store:
        alerts = await store.alerts.recent(ended=ended, limit=limit)
        told = await store.alerts.deliveries([alert.id for alert in alerts])
        silences = await store.alerts.silences(now)
    quiet = {a.id: silence_of(a, silences, now) for a in alerts if a.status != "resolved"}
    if as_json:
        output.print_json({"alerts": [alert_document(a, told[a.id], quiet.get(a.id)) for a in alerts]})
    elif not alerts:
        output.console().print("nothing fires" if not ended else "there was no alert yet")
    else:
        print_alerts(alerts, told, quiet)


async def _acknowledge(prefix: str, note: str, *, as_json: bool) -> None:
    from worker.cli import output
    from worker.cli.servers import house, who
    from worker.desk import alerts as desk

    known = house()
    async with await _store(known) as store:
        meant = await _one(store, prefix)
        was_open = meant.status == "firing"
        temporal = await _temporal(known) if was_open else None
        alert, signalled = await desk.acknowledge(store, temporal, meant.id, by=who(), note=note)
    if alert.status == "resolved":
        raise Failed(f"{alert.id} is over already ({alert.title})")
    if as_json:
        output.print_json({"id": alert.id, "acknowledged_by": alert.acknowledged_by, "signalled": signalled})
        return
    output.say(f"{alert.id}: {alert.acknowledged_by} looks after it ({alert.title})")
    if was_open and not signalled:
        output.say("  Temporal was not reached; it is written down, and a worker will notice")


async def _silence(matchers: dict[str, str], seconds: int, reason: str, *, as_json: bool) -> None:
    from worker.cli import output
    from worker.cli.alert_view import matchers_text
    from worker.cli.servers import house, who
    from worker.desk import alerts as desk

    async with await _store(house()) as store:
        made, covered = await desk.silence(store, matchers, seconds, by=who(), reason=reason)
    if as_json:
        output.print_json({"silence": desk.silence_document(made), "alerts": covered})
    else:
        output.say(f"silence {made.id}: {matchers_text(made)}, until {output.clock(made.until)}")
        output.say(f"  {len(covered)} open alerts match; `curb alerts silence --end {made.id}` ends it")


async def _end_silence(prefix: str, *, as_json: bool) -> None:
    from worker.cli import output
    from worker.cli.alert_view import matchers_text
    from worker.cli.servers import house, who
    from worker.desk import alerts as desk

    async with await _store(house()) as store:
        ended = await desk.end_silence(store, prefix, by=who())
    if as_json:
        output.print_json({"silence": desk.silence_document(ended)})
    else:
        output.say(f"silence {ended.id} is over ({matchers_text(ended)})")


async def _silences(*, as_json: bool) -> None:
    from worker.cli import output
    from worker.cli.alert_view import matchers_text
    from worker.cli.servers import house
    from worker.desk.alerts import silence_document

    async with await _store(house()) as store:
        found = await store.alerts.silences(datetime.now(UTC))
    if as_json:
        output.print_json({"silences": [silence_document(each) for each in found]})
        return
    if not found:
        output.console().print("nothing is silenced")
        return
    rows = output.table("id", "what", "until", "by", "reason", wrap=("what", "reason"))
    for each in found:
        rows.add_row(each.id, matchers_text(each), output.clock(each.until), each.by, each.reason)
    output.console().print(rows)


async def _one(store: "Store", prefix: str) -> "AlertRecord":
    """The one alert that is meant; open ones first. Raises Failed, Misused."""
    found = await store.alerts.beginning(prefix)
    meant = [alert for alert in found if alert.id == prefix]
    meant = meant or [alert for alert in found if alert.status != "resolved"] or found
    if not meant:
        raise Failed(f"there is no alert {prefix}; see `curb alerts list`")
    if len(meant) > 1:
        raise Misused(f"{prefix}: {', '.join(alert.id for alert in meant)} begin so; write more of it")
    return meant[0]


async def _temporal(known: "House") -> "Client | None":
    """None where it is not to be had: what counts is in Postgres."""
    from worker.cli.errors import Unreachable
    from worker.cli.servers import connect_temporal

    if not known.places.temporal_address:
        return None
    try:
        return await connect_temporal(known)
    except Unreachable:
        return None


async def _store(known: "House") -> "Store":
    """Postgres alone: alerts can be followed while everything else is down."""
    from gateway.store import Store

    known.places.need("database_url")
    return await Store.connect(known.places.database_url, pool_size=2)
