"""Named SQL: queries/*.sql hold statements under `-- name: this_is_it` lines."""

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def statements() -> dict[str, str]:
    """Every named statement of the package; read once, when first asked for."""
    found: dict[str, str] = {}
    for source in sorted((files("gateway.store") / "queries").iterdir(), key=lambda entry: entry.name):
        if source.name.endswith(".sql"):
            _, *parts = _NAME.split(source.read_text(encoding="utf-8"))
            found |= {name: _statement(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}
    return found


def statement(name: str) -> str:
    """One named statement, parameters as `%(name)s`; KeyError names it when there is none."""
    return statements()[name]


def _statement(body: str) -> str:
    """The text up to the comment of the next statement, which stands at the end of this part."""
    return re.sub(r"(\n--[^\n]*)+\s*$", "", body.rstrip()).strip()
