"""What the stack must know about a kind of server; one module per kind implements it."""

import importlib.util
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

Say = Callable[[str], None]
"""Takes one line for a person: what is being done, or what was changed."""


class NotReady(Exception):
    """The server does not answer its question yet; the message says what came instead."""


class Kind(Protocol):
    """One kind of server.

    ports: the names of its ports with the numbers it has by custom; the first is its own.
    marker: an argument of its command line that is this data directory's alone.
    user: the account it runs as; None for ours.
    """

    name: str
    ports: Mapping[str, int]
    marker: str
    user: str | None
    stop_signal: signal.Signals

    def prepare(self, say: Say) -> None:
        """Everything up to a start: find or install the program, make the data directory.

        Called only while no server of this data directory is known to run, except one that may
        be adopted. Quick when it was done before. Raises StackError with the remedy. Blocking.
        """

    def command(self, ports: Mapping[str, int]) -> tuple[str, ...]:
        """The command line that serves on these ports."""

    async def ask(self, ports: Mapping[str, int]) -> None:
        """A real query. Raises NotReady until the server of this data directory answers it."""


def silent(_line: str) -> None:
    """A Say for those who do not want to know."""


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


def wheel_directory(package: str) -> Path | None:
    """Where an installed package lies, found without importing it; None if it is not installed."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None
