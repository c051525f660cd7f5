"""curb ledger verify|resolve, curb policy check|apply|show."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.output import Json
from worker.cli.status import Status

if TYPE_CHECKING:
    from gateway.aggregated.follow import SumReport
    from gateway.policy.money import NanoUsd
    from gateway.policy.scopes import Period
    from gateway.reconcile import Report
    from worker.cli.servers import Books, House
    from worker.config import Config

ledger = typer.Typer(help="The books: counters, ledger and invoice.", no_args_is_help=True)
policy = typer.Typer(help="Budgets and agents of a curb.yaml.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A curb.yaml.")]
_SHOWN = 50


# -- ledger --------------------------------------------------------------------------------------


@ledger.command("verify")
def verify(json: Json = False) -> None:
    """Counters = ledger = invoice? Changes nothing; exit status 1 and the rows on any difference."""
    _reconcile(resolving=False, min_age=0, as_json=json)


@ledger.command("resolve")
def resolve(
    min_age: Annotated[
        str, typer.Option(metavar="DURATION", help="Leave doubts and usage rows alone that are younger.")
    ] = "5m",
    json: Json = False,
) -> None:
    """Resolve what is in doubt against the providers' usage, by postings, then verify."""
    from worker.cli.times import duration_seconds

    seconds = 0 if min_age in ("0", "0s") else duration_seconds(min_age, "--min-age")
    _reconcile(resolving=True, min_age=seconds, as_json=json)


def _reconcile(*, resolving: bool, min_age: float, as_json: bool) -> None:
    from worker.cli import output

    report, sums = asyncio.run(_report(resolving=resolving, min_age=min_age))
    if as_json:
        output.print_json(report_document(report, sums, resolving=resolving))
    else:
        print_report(report, sums, resolving=resolving)
    raise typer.Exit(Status.DONE if report.ok else Status.FAILED)


async def _report(*, resolving: bool, min_age: float) -> "tuple[Report, SumReport | None]":
    from gateway import reconcile
    from worker.cli.servers import house, open_books

    known = house()
    async with open_books(known) as books:
        if not resolving:
            return await reconcile.verify(books.authority, books.store, known.usage()), None
        sums = await _follow_sums(known, books)
        report = await reconcile.resolve(
            books.authority,
            books.store,
            known.usage(),
            min_age_seconds=min_age,
            estimate_after_seconds=known.config.gateway.doubt_settles_after_seconds,
        )
        report.settled += sums.settled
        report.adjusted += sums.adjusted
        return report, sums


async def _follow_sums(known: "House", books: "Books") -> "SumReport":
    """What providers tell in sums comes first: afterwards old doubts settle at their estimates."""
    from gateway.aggregated.follow import bucket_sources, follow_sums

    config = known.config
    sources, unavailable = bucket_sources(config.gateway)
    sums = await follow_sums(
        books.authority, books.store, sources, config.gateway, config.reconcile, now=datetime.now(UTC)
    )
    sums.unavailable |= unavailable
    return sums


def report_document(report: "Report", sums: "SumReport | None" = None, *, resolving: bool) -> dict[str, Any]:
    """A report for programs."""
    from worker.cli.output import usd_text

    document: dict[str, Any] = {
        "ok": report.ok,
        "ledger_usd": usd_text(report.ledger_nano_usd),
        "invoice_usd": usd_text(report.invoice_nano_usd),
        "in_doubt_usd": usd_text(report.in_doubt_nano_usd),
        "pending_usd": usd_text(report.pending_nano_usd),
        "overspend_usd": usd_text(report.overspend_nano_usd),
        "counters": report.counters,
        "undrained": report.undrained,
        "dead_events": report.dead_events,
        "differences": [
            {
                "what": each.what,
                "subject": each.subject,
                "ledger_usd": usd_text(each.ledger_nano_usd),
                "other_usd": usd_text(each.other_nano_usd),
                "note": each.note,
            }
            for each in report.differences
        ],
    }
    if resolving:
        done = ("settled", "adjusted", "adopted", "left_open")
        document["resolved"] = {name: getattr(report, name) for name in done}
    if sums is not None:
        document["provider_usage"] = {
            "followed": sums.followed,
            "unavailable": sums.unavailable,
            "left_in_doubt": dict(sums.undecided),
            "unattributed_usd": usd_text(sums.unattributed_nano_usd),
        }
    return document


def print_report(report: "Report", sums: "SumReport | None" = None, *, resolving: bool) -> None:
    """A report for people."""
    from worker.cli.output import console, dollars, table

    out = console()
    if resolving:
        out.print(
            f"resolved: {report.settled} settled, {report.adjusted} adjusted, {report.adopted} adopted, "
            f"{report.left_open} left open"
        )
    if sums is not None:
        _print_sums(sums)
    rows = table("", "amount", right=("amount",))
    invoice = "no usage to be had" if report.invoice_nano_usd is None else dollars(report.invoice_nano_usd)
    rows.add_row("ledger", dollars(report.ledger_nano_usd))
    rows.add_row("invoice", invoice)
    rows.add_row("in doubt, at most", dollars(report.in_doubt_nano_usd))
    rows.add_row("in flight, at most", dollars(report.pending_nano_usd))
    out.print(rows)
    if report.undrained:
        out.print(
            f"[yellow]{report.undrained} events are not in the ledger yet: is a worker running?[/yellow]"
        )
    if report.dead_events:
        out.print(f"[red]{report.dead_events} events cannot be booked (table dead_events)[/red]")
    _print_differences(report)
    compared = "counters = ledger" if report.invoice_nano_usd is None else "counters = ledger = invoice"
    verdict = f"[green]{compared}[/green] ({report.counters} counters)"
    out.print(verdict if report.ok else "[red]the books differ[/red]")


def _print_sums(sums: "SumReport") -> None:
    from worker.cli.output import console, dollars

    out = console()
    for name in sums.followed:
        out.print(f"{name}: its usage was read")
    for reason in sums.unavailable.values():
        out.print(reason, style="yellow", markup=False)
    for reason, times in sorted(sums.undecided.items()):
        out.print(f"left in doubt, {times} times: {reason}")
    if sums.unattributed_nano_usd:
        amount = dollars(sums.unattributed_nano_usd)
        out.print(f"[yellow]providers report {amount} of usage that no attempt explains[/yellow]")


def _print_differences(report: "Report") -> None:
    from worker.cli.output import console, dollars, table

    if not report.differences:
        return
    out = console()
    rows = table("what", "of", "ledger", "other", "note", right=("ledger", "other"), wrap=("of", "note"))
    for each in report.differences[:_SHOWN]:
        amounts = (dollars(each.ledger_nano_usd), dollars(each.other_nano_usd))
        rows.add_row(each.what.replace("_", " "), each.subject, *amounts, each.note)
    out.print(rows)
    if len(report.differences) > _SHOWN:
        out.print(f"... and {len(report.differences) - _SHOWN} more (--json has all)")
    if any(each.what == "in_doubt" for each in report.differences):
        out.print("what is in doubt: `curb ledger resolve`")


# -- policy --------------------------------------------------------------------------------------


@policy.command("check")
def check(file: File, json: Json = False) -> None:
    """Read a file and say what is wrong with it, line by line; changes nothing."""
    from worker.config import load_config

    _print_policy(load_config(file), None, as_json=json)


@policy.command("apply")
def apply(file: File, json: Json = False) -> None:
    """Put a file's budgets in force in all processes, within a second."""
    from worker.config import load_config

    asyncio.run(_apply(load_config(file), as_json=json))


async def _apply(config: "Config", *, as_json: bool) -> None:
    from worker.cli.servers import house, open_books, who

    async with open_books(house()) as books:
        version = await apply_policy(books, config, by=who())
        await books.store.events.audit(who(), "policy_apply", str(config.path or ""), {"version": version})
    _print_policy(config, version, as_json=as_json)


async def apply_policy(books: "Books", config: "Config", *, by: str) -> int:
    """Write the limits down, then tell the authority; returns the version that holds."""
    from gateway.limits import announce_limits

    await books.store.budgets.apply_policy(config.limits, source=config.source, applied_by=by)
    return await announce_limits(books.store, books.authority)


@policy.command("show")
def show(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Show a file instead.")] = None,
    json: Json = False,
) -> None:
    """Show the budgets that are in force, or those of a file."""
    if file is not None:
        from worker.config import load_config

        _print_policy(load_config(file), None, as_json=json)
    else:
        asyncio.run(_show(as_json=json))


async def _show(*, as_json: bool) -> None:
    from worker.cli import output
    from worker.cli.servers import house, open_books

    async with open_books(house()) as books:
        version, limits = await books.store.budgets.current_limits()
        history = await books.store.budgets.history(limit=1)
    by = history[0] if history else None
    if as_json:
        output.print_json(
            {
                "version": version,
                "applied_by": by.applied_by if by else None,
                "applied_at": output.at_text(by.applied_at) if by else None,
                "limits": _limits_document(limits),
            }
        )
        return
    out = output.console()
    out.print(
        f"version {version}, by {by.applied_by} at {output.clock(by.applied_at)}" if by else "no policy yet"
    )
    _print_limits(limits)


def _limits_document(
    limits: "dict[tuple[str, Period], NanoUsd] | dict[tuple[str, Period], int]",
) -> list[dict[str, Any]]:
    from worker.cli.output import usd_text

    return [
        {"scope": scope, "period": period.value, "limit_usd": usd_text(limit)}
        for (scope, period), limit in sorted(limits.items())
    ]


def _print_limits(limits: "dict[tuple[str, Period], NanoUsd] | dict[tuple[str, Period], int]") -> None:
    from worker.cli.output import console, dollars, table

    rows = table("scope", "per", "limit", right=("limit",))
    for (scope, period), limit in sorted(limits.items()):
        rows.add_row(scope, period.value, dollars(limit))
    console().print(rows)


def _print_policy(config: "Config", version: int | None, *, as_json: bool) -> None:
    from worker.cli import output

    if as_json:
        output.print_json(
            {
                "ok": True,
                "file": str(config.path) if config.path else None,
                "version": version,
                "agents": [_agent_document(agent) for agent in config.agents.values()],
                "limits": _limits_document(config.limits),
            }
        )
        return
    out = output.console()
    out.print(f"{config.path}: good" if version is None else f"version {version} is in force")
    rows = output.table(
        *("agent", "tier", "run budget", "on budget", "mode", "tools"), right=("run budget",), wrap=("tools",)
    )
    for agent in config.agents.values():
        budget = output.dollars(agent.run_budget_nano_usd)
        rows.add_row(agent.name, agent.tier, budget, agent.on_budget, agent.mode, ", ".join(agent.tools))
    if config.agents:
        out.print(rows)
    _print_limits(config.limits)


def _agent_document(agent: Any) -> dict[str, Any]:
    from worker.cli.output import usd_text

    return {
        "name": agent.name,
        "tier": agent.tier,
        "mode": agent.mode,
        "tools": list(agent.tools),
        "on_budget": agent.on_budget,
        "on_switch": agent.on_switch,
        "run_budget_usd": usd_text(agent.run_budget_nano_usd),
        "max_steps": agent.limits.max_steps,
    }
