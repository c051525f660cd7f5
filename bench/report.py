"""Figures, what they aim at, and how both are printed."""

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. at_most, at_least: the aim, where there is one."""

    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the aim was met; None without one."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least

    @property
    def aim(self) -> str:
        """The aim in words, '' without one."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return "" if self.at_least is None else f">= {self.at_least:g}"

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": round(self.value, 3),
            "unit": self.unit,
            "aim": self.aim,
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Section:
    """The figures of one bench, with the load of the machine before and after."""

    bench: str
    figures: Sequence[Figure]
    seconds: float
    load_before: float
    load_after: float

    def as_json(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds, 1),
            "load_before": round(self.load_before, 2),
            "load_after": round(self.load_after, 2),
            "figures": [figure.as_json() for figure in self.figures],
        }


def load() -> float:
    """Processes that wanted a CPU, over the last minute."""
    return os.getloadavg()[0]


def machine() -> dict[str, Any]:
    """Where and when this was measured."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "temporalio": importlib.metadata.version("temporalio"),
    }


def table(sections: Sequence[Section]) -> None:
    """Print everything for people."""
    where = machine()
    console = Console(width=110, soft_wrap=True)
    console.print(
        f"{where['date']}, {where['cpus']} x {where['cpu']}, Python {where['python']}; "
        "servers, worker and clients share these CPUs"
    )
    for section in sections:
        console.print(_table(section))


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


def _table(section: Section) -> Table:
    load = f"load {section.load_before:.1f} -> {section.load_after:.1f}"
    title = f"{section.bench} ({section.seconds:.0f} s, {load})"
    drawn = Table(title=title, title_justify="left", width=92)
    drawn.add_column("figure", ratio=1)
    for name in ("value", "aim"):
        drawn.add_column(name, justify="right")
    drawn.add_column("met")
    for figure in section.figures:
        met = {None: "", True: "yes", False: "[bold]no[/bold]"}[figure.met]
        drawn.add_row(figure.name, f"{_number(figure.value)} {figure.unit}".rstrip(), figure.aim, met)
    return drawn


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
