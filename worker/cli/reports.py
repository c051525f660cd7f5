"""curb report daily|weekly: prints a stored report, makes one that is due, or shows how it looks so far."""

import asyncio
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli.errors import Failed, Misused
from worker.cli.output import Json

if TYPE_CHECKING:
    from activities.reports.document import ReportDocument
    from gateway.policy.periods import Calendar
    from gateway.policy.report_periods import ReportPeriod
    from worker.cli.servers import Books, House

Kind = Literal["daily", "weekly"]
Format = Literal["md", "html", "json", "csv"]
_SUFFIXES: dict[str, Format] = {".md": "md", ".html": "html", ".htm": "html", ".json": "json", ".csv": "csv"}
_DAYS_AGO = {"today": 0, "yesterday": 1}


def report(
    kind: Annotated[Kind, typer.Argument(help="A day, or a week from Monday to Sunday.")],
    day: Annotated[
        str,
        typer.Option(
            "--date",
            metavar="DATE",
            help="A day in the period: YYYY-MM-DD, today, yesterday. Default: the last one over.",
        ),
    ] = "",
    format: Annotated[
        Format | None, typer.Option("--format", help="md by default, or what --output ends with.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there.")] = None,
    close: Annotated[
        bool, typer.Option("--close", help="Close the running day early, and report it, preliminarily.")
    ] = False,
    json: Json = False,
) -> None:
    """Print the cost report of a day or a week.

    A stored report is printed as it was made. One that is due is made and stored; of a period that is
    not over you see how it looks so far, and nothing is stored; after --close, the report of that.
    """
    wanted = _format(format, output, as_json=json)
    if close and (kind != "daily" or day not in ("", "today")):
        raise Misused("--close closes the running day: `curb report daily --close`")
    asyncio.run(_report(kind, "today" if close else day, wanted, output, close=close))


def _format(format: Format | None, output: Path | None, *, as_json: bool) -> Format:
    if as_json:
        if format not in (None, "json"):
            raise Misused(f"--json and --format {format} contradict each other; give one of them")
        return "json"
    if format is not None:
        return format
    return _SUFFIXES.get(output.suffix.lower(), "md") if output else "md"


async def _report(kind: Kind, day: str, format: Format, output: Path | None, *, close: bool) -> None:
    from activities.reports.gathering import BooksLag
    from gateway.errors import NotFound
    from worker.cli import logs
    from worker.cli.servers import house, open_books, who
    from worker.desk.reports import ReportDesk

    known = house()
    logs.configure(known.settings)
    async with open_books(known) as books:
        desk = ReportDesk(books.store, books.authority, known.config)
        try:
            if close:
                found = await desk.close_today(by=who())
            else:
                found = await desk.found(await _period(books, kind, day, desk.calendar))
        except BooksLag as error:
            raise Failed(f"{error}; is a worker running? `curb doctor` says what is missing") from error
        except NotFound as error:
            raise Failed(str(error)) from error
    _print(found, format, output, known)


async def _period(books: "Books", kind: Kind, day: str, calendar: "Calendar") -> "ReportPeriod":
    """The period that is asked for. Raises Misused for a date that is none, or has not begun."""
    from gateway.policy.report_periods import NoSuchDay, holding, last_complete, running

    now_ms = await books.authority.clock_ms()
    if not day:
        return last_complete(kind, calendar, now_ms)
    today = running("daily", calendar, now_ms).first_day
    try:
        period = holding(kind, calendar, _date(day, today))
    except NoSuchDay as error:
        raise Misused(f"--date {day}: {error}") from error
    if period.starts_ms > now_ms:
        raise Misused(f"--date {day}: {period.name} has not begun; today is {today}")
    return period


def _date(text: str, today: date) -> date:
    from worker.cli.times import day_of

    if text in _DAYS_AGO:
        return today - timedelta(days=_DAYS_AGO[text])
    return day_of(text, "--date", today)


def _print(found: "ReportDocument", format: Format, output: Path | None, known: "House") -> None:
    import sys

    from worker.cli.output import console, say
    from worker.desk.reports import rendered

    text = rendered(found, format, known.workflow_url)
    if output is not None:
        try:
            output.write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise Failed(f"--output {output}: {error.strerror}") from error
        say(f"{found.kind} report of {found.period} is in {output}")
    elif format == "md" and sys.stdout.isatty():
        from rich.markdown import Markdown

        console().print(Markdown(text))
    else:
        sys.stdout.write(text)
