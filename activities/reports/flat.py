"""A report as one flat table (CSV) and as JSON: exact, for programs and spreadsheets."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from activities.reports.document import ReportDocument

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NAMED = {
    "agents": "name", "models": "name", "teams": "name", "users": "name", "features": "name",
    "chart": "name", "budgets": "scope", "work": "agent", "latency": "name", "outlooks": "scope",
}  # fmt: skip
Row = tuple[str, str, str, str]


def as_json(report: ReportDocument) -> str:
    """The document as it is kept: dollars as decimal strings."""
    return report.model_dump_json(indent=2) + "\n"


def as_csv(report: ReportDocument) -> str:
    """section,name,metric,value: a row for every number and word of the report.

    Names that a spreadsheet would take for a formula get an apostrophe before them.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(("section", "name", "metric", "value"))
    for row in _rows(report.model_dump(mode="json")):
        writer.writerow([_harmless(each) for each in row])
    return out.getvalue()


def _rows(document: dict[str, Any]) -> Iterator[Row]:
    """Fields of the report itself, then those of its parts, then the lines of its lists."""
    yield from (("report", "", name, _text(value)) for name, value in document.items() if _is_plain(value))
    for section, value in document.items():
        if isinstance(value, dict):
            yield from _part(section, "", value)
        elif isinstance(value, list):
            yield from _lines(section, value)


def _part(section: str, name: str, part: dict[str, Any]) -> Iterator[Row]:
    for metric, value in part.items():
        if isinstance(value, list):
            yield from _lines(f"{section}.{metric}", value)
        elif _is_plain(value):
            yield section, name, metric, _text(value)


def _lines(section: str, lines: list[dict[str, Any]]) -> Iterator[Row]:
    """A line is known by its name where its list is one of names, else by its number."""
    naming = _NAMED.get(section.rpartition(".")[2], "")
    for number, line in enumerate(lines, 1):
        name = str(line.get(naming, "")) if naming else str(number)
        if line.get("others"):
            name = "(others)"
        elif naming and not name:
            name = "(all)" if section == "latency" else "(none)"
        yield from _part(section, name, {key: value for key, value in line.items() if key != naming})


def _is_plain(value: object) -> bool:
    return not isinstance(value, dict | list)


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _harmless(text: str) -> str:
    if not text.startswith(_FORMULA) or _is_number(text):
        return text
    return f"'{text}"


def _is_number(text: str) -> bool:
    return (
        text.removeprefix("-").replace(".", "", 1).isascii()
        and text.removeprefix("-").replace(".", "", 1).isdigit()
    )
