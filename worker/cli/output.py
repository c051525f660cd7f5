"""What commands print: one JSON document, or tables for people. Money only ever as exact decimals."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.policy.money import format_usd
from worker.desk.documents import at_text, usd_text

Json = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout; dollars as decimal strings.")
]
Document = Mapping[str, Any]

_COLOURS = {
    "completed": "green",
    "running": "cyan",
    "starting": "cyan",
    "paused": "yellow",
    "stopped": "magenta",
    "killed": "red",
    "failed": "red",
    "expired": "red",
}
_WIDTH = 200
_FULL, _EMPTY = "█", "░"


def print_json(document: object) -> None:
    """Exactly one document."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=_plain) + "\n")
    sys.stdout.flush()


def console() -> Console:
    """Where people read; wide where there is no terminal, so that a file has whole lines."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)


def say(line: str) -> None:
    """A line of progress, beside the data."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def table(*columns: str, right: Sequence[str] = (), wrap: Sequence[str] = ()) -> Table:
    """An empty table in the house's style. right: columns of numbers; wrap: those that give way."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column not in wrap,
        )
    return made


def print_line(text: Text) -> None:
    """One line, cut where the terminal ends."""
    console().print(text, no_wrap=True, overflow="ellipsis", crop=True)


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(status, style=_COLOURS.get(status, ""))


def dollars(nano_usd: int | None) -> str:
    """For people: exact, `-` where there is no amount."""
    return "-" if nano_usd is None else format_usd(nano_usd)


def bar(used: int, limit: int | None, width: int = 20) -> Text:
    """How much of a limit is used."""
    if not limit:
        return Text("")
    share = min(used / limit, 1.0)
    filled = min(width, -(-used * width // limit))
    colour = "red" if share >= 1 else "yellow" if share >= 0.8 else "green"
    return Text(_FULL * filled, style=colour).append(_EMPTY * (width - filled), style="dim")


def clock(moment: datetime | None) -> str:
    """For people: local time, with the date unless it is today's."""
    if moment is None:
        return ""
    local, today = moment.astimezone(), datetime.now().astimezone().date()
    return local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M:%S")


def print_text(text: str) -> None:
    """Somebody else's text as it is, on stdout; a terminal does not get its control characters."""
    shown = printable(text) if sys.stdout.isatty() else text
    sys.stdout.write(shown if shown.endswith("\n") else f"{shown}\n")
    sys.stdout.flush()


def printable(text: str) -> str:
    """Without control characters: a model's answer must not move the cursor or rename the window."""
    return "".join(letter for letter in text if letter in "\n\t" or letter.isprintable())


def shortened(text: str, length: int = 100) -> str:
    """One line of a text."""
    line = " ".join(printable(text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return at_text(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


__all__ = [
    "Document",
    "Json",
    "at_text",
    "bar",
    "clock",
    "console",
    "dollars",
    "print_json",
    "print_line",
    "print_text",
    "printable",
    "say",
    "shortened",
    "status_text",
    "table",
    "usd_text",
]
