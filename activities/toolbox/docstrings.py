"""Reads Google-style docstrings: what a tool does, and what each argument means."""

import inspect
import re
from dataclasses import dataclass, field

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?):\s*$")
_ARGUMENT = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_ARGUMENT_SECTIONS = ("Args", "Arguments", "Parameters")


@dataclass(frozen=True, slots=True)
class Description:
    """summary: everything before the first section. arguments: text by parameter name."""

    summary: str = ""
    arguments: dict[str, str] = field(default_factory=dict)


def describe(function: object) -> Description:
    """What the docstring of a function says; empty if it has none."""
    lines = (inspect.getdoc(function) or "").splitlines()
    starts = [i for i, line in enumerate(lines) if _SECTION.match(line)] or [len(lines)]
    sections = (_section(lines, start) for start in starts if start < len(lines))
    arguments = next((body for title, body in sections if title in _ARGUMENT_SECTIONS), [])
    return Description("\n".join(lines[: starts[0]]).strip(), _arguments(arguments))


def _section(lines: list[str], start: int) -> tuple[str, list[str]]:
    """Title and indented body of the section whose title stands in line `start`."""
    body: list[str] = []
    for line in lines[start + 1 :]:
        if line and not line[0].isspace():
            break
        body.append(line)
    return lines[start].strip().rstrip(":"), inspect.cleandoc("\n".join(["", *body])).splitlines()


def _arguments(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    current = ""
    for line in lines:
        match = None if line[:1].isspace() else _ARGUMENT.match(line)
        if match:
            current = match[1]
            found[current] = match[2].strip()
        elif current and line.strip():
            found[current] = f"{found[current]} {line.strip()}".strip()
    return found
