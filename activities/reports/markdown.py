"""A report as Markdown, for terminals and for places that render it."""

import re
from collections.abc import Sequence

from activities.reports.page import Bar, Cell, Column, Link, Page, Section, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#])")
_FULL, _PARTS = "█", " ▏▎▍▌▋▊▉"
_WIDTH = 16
_STEPS = "▁▂▃▄▅▆▇█"


def markdown(page: Page, link: Link = lambda _: "") -> str:
    """The whole text."""
    blocks = [
        f"# {_escaped(page.title)}",
        _escaped(page.subtitle),
        *([f"**{_escaped(page.badge)}**"] if page.badge else []),
        "\n".join(
            f"- {_escaped(each.label)}: **{_escaped(each.value)}** ({_escaped(each.note)})"
            for each in page.figures
        ),
        _escaped(" ".join(page.summary)),
        *(block for section in page.sections for block in _section(section, link)),
        f"*{_escaped(page.footnote)}*",
    ]
    return "\n\n".join(blocks) + "\n"


def _section(section: Section, link: Link) -> list[str]:
    blocks = [f"## {_escaped(section.title)}"]
    if section.note:
        blocks.append(_escaped(section.note))
    if section.chart:
        blocks.append(_chart(section.chart))
    if section.table is not None:
        blocks.append(_table(section.table, link))
    if section.after:
        blocks.append(_escaped(section.after))
    return blocks


def _chart(bars: Sequence[Bar]) -> str:
    """Bars of text: a line each where all have labels, else one line of them all."""
    if all(bar.label for bar in bars):
        columns = (Column("Day"), Column("Spend"), Column("", right=True))
        rows = [[Cell(bar.label), Cell("", bar=bar.share), Cell(bar.value)] for bar in bars]
        return _table(Table(columns, rows), lambda _: "")
    labels, width = "", 0
    for number, bar in enumerate(bars):
        if bar.label and number >= width:
            labels = f"{labels:<{number}}{bar.label} "
            width = len(labels)
    return f"```\n{''.join(_step(bar.share) for bar in bars)}\n{labels.rstrip()}\n```"


def _step(share: float) -> str:
    return _STEPS[min(round(share * (len(_STEPS) - 1)), len(_STEPS) - 1)] if share > 0 else " "


def _table(table: Table, link: Link) -> str:
    rows = [*table.rows, *([table.total] if table.total is not None else [])]
    lines = [
        _line([_escaped(column.title) for column in table.columns]),
        _line(["---:" if column.right else "---" for column in table.columns]),
        *(_line([_cell(cell, link) for cell in row]) for row in rows),
    ]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell, link: Link) -> str:
    if cell.bar is not None:
        return _bar(cell.bar)
    address = link(cell.workflow_id) if cell.workflow_id else ""
    if address.startswith(("https://", "http://")):
        return f"[{_escaped(cell.text)}](<{address.replace('<', '%3C').replace('>', '%3E')}>)"
    return _escaped(cell.text)


def _bar(share: float) -> str:
    eighths = round(min(max(share, 0.0), 1.0) * _WIDTH * 8)
    full, rest = divmod(max(eighths, 1) if share > 0 else 0, 8)
    return f"{_FULL * full}{_PARTS[rest] if rest else ''}"


def _escaped(text: str) -> str:
    """One line in which nothing is markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
