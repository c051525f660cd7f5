"""curb budgets, costs, batches."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.errors import Misused
from worker.cli.output import Json

if TYPE_CHECKING:
    from gateway.state.authority import BudgetState


def budgets(
    scope: Annotated[str, typer.Option(help="Only scopes that begin so, for example agent:coder.")] = "",
    runs: Annotated[bool, typer.Option("--runs", help="The runs' own budgets too.")] = False,
    json: Json = False,
) -> None:
    """Limit, spent, held and left per scope, now."""
    asyncio.run(_budgets(scope, runs, as_json=json))


async def _budgets(scope: str, runs: bool, *, as_json: bool) -> None:
    from worker.cli import output
    from worker.cli.servers import house, open_books
    from worker.desk.budgets import budget_document, current_budgets

    async with open_books(house()) as books:
        current = await current_budgets(books.store, books.authority)
    states = [s for s in current if s.scope.startswith(scope)]
    shown = [s for s in states if runs or not s.scope.startswith("run:") or scope.startswith("run:")]
    if as_json:
        output.print_json({"budgets": [budget_document(state) for state in shown]})
    elif shown:
        _print_budgets(shown)
    else:
        output.console().print("nothing has been spent, and no limits are applied (`curb policy apply FILE`)")


def _print_budgets(states: "list[BudgetState]") -> None:
    from worker.cli.output import bar, console, dollars, table

    numbers = ("limit", "spent", "held", "in doubt", "left")
    rows = table("scope", "per", *numbers, "used", right=numbers)
    for state in states:
        used = state.spent_nano_usd + state.held_nano_usd + state.in_doubt_nano_usd
        amounts = (state.limit_nano_usd, state.spent_nano_usd, state.held_nano_usd, state.in_doubt_nano_usd)
        texts = [dollars(amount) for amount in (*amounts, state.left_nano_usd)]
        rows.add_row(state.scope, state.period.value, *texts, bar(used, state.limit_nano_usd))
    console().print(rows)


def costs(
    by: Annotated[
        str, typer.Option(help="agent, model, team, user, run, hour, endpoint, feature, and others.")
    ] = "agent",
    since: Annotated[str, typer.Option(metavar="T", help="24h, 7d, or a date. Default: all.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many rows.")] = 100,
    json: Json = False,
) -> None:
    """What was spent, by one dimension, dearest first."""
    from worker.cli.times import moment

    begin = moment(since, "--since", datetime.now(UTC)) if since else None
    asyncio.run(_costs(by, begin, limit, as_json=json))


async def _costs(by: str, since: datetime | None, limit: int, *, as_json: bool) -> None:
    from gateway.store.attempts import DIMENSIONS
    from worker.cli import output
    from worker.cli.servers import house, open_books

    if by not in DIMENSIONS:
        raise Misused(f"--by {by}: take one of {', '.join(sorted(DIMENSIONS))}")
    async with open_books(house()) as books:
        found = await books.store.attempts.spend(by, since=since, limit=limit)
    total = sum(each.cost_nano_usd for each in found)
    if as_json:
        rows = [_cost(each, by) for each in found]
        output.print_json(
            {"by": by, "since": output.at_text(since), "total_usd": output.usd_text(total), "costs": rows}
        )
        return
    numbers = ("cost", "share", "attempts", "errors", "tokens in", "tokens out")
    rows_ = output.table(by, *numbers, right=numbers)
    for each in found:
        prompt = each.input_tokens + each.cache_read_tokens + each.cache_write_tokens
        share = f"{each.cost_nano_usd * 100 / total:.0f} %" if total else ""
        counts = (str(n) for n in (each.attempts, each.errors, prompt, each.output_tokens))
        rows_.add_row(each.name or "(none)", output.dollars(each.cost_nano_usd), share, *counts)
    rows_.add_section()
    rows_.add_row("total", output.dollars(total))
    output.console().print(rows_)


def _cost(each: Any, by: str) -> dict[str, Any]:
    from worker.cli.output import usd_text

    return {
        by: each.name,
        "cost_usd": usd_text(each.cost_nano_usd),
        "attempts": each.attempts,
        "errors": each.errors,
        "input_tokens": each.input_tokens,
        "output_tokens": each.output_tokens,
        "cache_read_tokens": each.cache_read_tokens,
        "cache_write_tokens": each.cache_write_tokens,
    }


def batches(
    ended: Annotated[bool, typer.Option("--ended", help="Those that are over too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many rows.")] = 100,
    json: Json = False,
) -> None:
    """The batches that are under way at providers, of every key, the latest first."""
    asyncio.run(_batches(ended, limit, as_json=json))


async def _batches(ended: bool, limit: int, *, as_json: bool) -> None:
    from worker.cli import output
    from worker.cli.servers import house, open_books
    from worker.desk.batches import batch_documents

    async with open_books(house()) as books:
        found = await batch_documents(books.store, ended=ended, limit=limit)
    if as_json:
        output.print_json({"batches": found})
        return
    if not found:
        output.console().print("no batch is under way (`curb batches --ended` shows those that are over)")
        return
    numbers = ("done", "held", "cost")
    rows = output.table("batch", "agent", "deployment", "state", *numbers, "since", right=numbers)
    for each in found:
        state = "cancelling" if each["cancel_asked"] and not each["ended_at"] else each["state"]
        amounts = (f"${each['held_usd']}", f"${each['cost_usd']}")
        done = f"{each['done']} of {each['requests']}"
        rows.add_row(each["id"], each["agent"], each["deployment"], state, done, *amounts, each["created_at"])
    output.console().print(rows)
