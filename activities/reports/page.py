"""A report as a reader sees it, before any markup: figures, tables, charts. Texts are plain, not escaped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Link = Callable[[str], str]
"""A workflow id to its address in the Temporal UI, '' where no UI is known."""
Tone = Literal["", "good", "bad", "warn", "muted"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell. bar: a share of 1 to draw beside (or instead of) the text; workflow_id: what it links to."""

    text: str
    tone: Tone = ""
    bar: float | None = None
    workflow_id: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. minor: left out where there is little room (a phone). brief: never broken. width: in
    percent, 0 as it comes.
    """

    title: str
    right: bool = False
    minor: bool = False
    brief: bool = False
    width: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, one per column; total is the last line, set apart."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    total: Sequence[Cell] | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart: what stands below it ('' for most), what it says, and its share of the tallest."""

    label: str
    value: str
    share: float


@dataclass(frozen=True, slots=True)
class Month:
    """A month's spend as it grew, and where it may go: shares of the highest value shown.

    grown: at the end of each day so far. ends: low, expected, high. limit: None without a budget.
    """

    grown: Sequence[float]
    days: int
    ends: tuple[float, float, float]
    limit: float | None
    first: str
    caption: str
    last: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what stands under it. note: a sentence under the heading."""

    title: str
    note: str = ""
    table: Table | None = None
    chart: Sequence[Bar] = ()
    month: Month | None = None
    after: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the numbers that matter. bar: a share of 1."""

    label: str
    value: str
    note: str
    tone: Tone = ""
    bar: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report. summary: what one would say about it in two or three sentences."""

    title: str
    subject: str
    subtitle: str
    badge: str
    figures: Sequence[Figure]
    summary: Sequence[str]
    sections: Sequence[Section]
    footnote: str
