"""curb report daily|weekly: prints a stored report, makes one that is due, or shows how it looks so far."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli.errors import Failed, Misused
from worker.cli.output import Json

if TYPE_CHECKING:
    from activities.reports.document import ReportDocument
    from activities.reports.gathering import Reporter
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
    from worker.cli import logs
    from worker.cli.servers import house, open_books

    known = house()
    logs.configure(known.settings)
    async with open_books(known) as books:
        if close:
            found = await close_today(books)
        else:
            reporter = _reporter(books)
            found = await _found(books, reporter, await _period(books, kind, day, reporter.calendar))
    _print(found, format, output, known)


def _reporter(books: "Books") -> "Reporter":
    from activities.reports.gathering import Reporter

    known = books.house
    return Reporter(books.store, books.authority, _calendar(known), known.config.reports)


def _calendar(known: "House") -> "Calendar":
    from zoneinfo import ZoneInfo

    from gateway.policy.periods import Calendar

    return Calendar(ZoneInfo(known.config.gateway.timezone), known.config.gateway.day_start_seconds)


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


async def _found(books: "Books", reporter: "Reporter", period: "ReportPeriod") -> "ReportDocument":
    """What is stored, unless it was preliminary and the period is over by now; else made."""
    from activities.reports.keeping import made_and_kept, stored_document

    stored = await stored_document(books.store, period.kind, period.name)
    now_ms = await books.authority.clock_ms()
    is_over = period.ends_ms <= now_ms
    if stored is not None and (stored.state == "final" or not is_over):
        return stored
    await _until_booked(reporter, min(period.ends_ms, now_ms))
    if not is_over:
        return await reporter.make(period, datetime.now(UTC))
    first = await books.store.figures.first_day()
    if first is None or period.last_day < first:
        since = f"; the first day on the books is {first}" if first else ""
        raise Failed(f"nothing is on the books for {period.name}{since}")
    return await made_and_kept(reporter, books.store, period, datetime.now(UTC))


async def close_today(books: "Books") -> "ReportDocument":
    """Close the running day before its end, and keep its report until the real one comes."""
    from activities.reports.keeping import made_and_kept
    from gateway.closing import close_day
    from gateway.policy.report_periods import running
    from worker.cli.servers import who

    reporter = _reporter(books)
    period = running("daily", reporter.calendar, await books.authority.clock_ms())
    await _until_booked(reporter, await books.authority.clock_ms())
    await close_day(books.authority, books.store, reporter.calendar, period.first_day, preliminary=True)
    await books.store.events.audit(who(), "day_close", period.name, {"preliminary": True})
    return await made_and_kept(reporter, books.store, period, datetime.now(UTC), preliminary=True)


async def _until_booked(reporter: "Reporter", at_ms: int) -> None:
    from activities.reports.gathering import BooksLag

    try:
        await reporter.booked_until(at_ms)
    except BooksLag as error:
        raise Failed(f"{error}; is a worker running? `curb doctor` says what is missing") from error


def _print(found: "ReportDocument", format: Format, output: Path | None, known: "House") -> None:
    import sys

    from worker.cli.output import console, say

    text = rendered(found, format, known)
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


def rendered(found: "ReportDocument", format: Format, known: "House") -> str:
    """A report as text of this format."""
    from activities.reports.flat import as_csv, as_json
    from activities.reports.html import html
    from activities.reports.markdown import markdown
    from activities.reports.overview import page_of

    match format:
        case "json":
            return as_json(found)
        case "csv":
            return as_csv(found)
        case "html":
            return html(page_of(found), known.workflow_url)
        case "md":
            return markdown(page_of(found), known.workflow_url)
