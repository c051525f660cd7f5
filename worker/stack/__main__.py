"""`python -m worker.stack install | clean DIRECTORY`: what the Makefile needs before `curb` runs.

install: have the Temporal dev server ready, with progress. clean: stop what a killed `curb dev`
left behind in DIRECTORY; exit status 1 if a living one is there.
"""

import asyncio
import sys
from pathlib import Path

from worker.stack import Stack, StackError
from worker.stack.temporal_binary import find_or_install


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is a command


def main(arguments: list[str]) -> int:
    """Run one of the two commands; returns the exit status."""
    match arguments:
        case ["install"]:
            return _install()
        case ["clean", directory]:
            return _clean(Path(directory))
        case _:
            _say("usage: python -m worker.stack install | clean DIRECTORY")
            return 2


def _install() -> int:
    try:
        _say(f"Temporal dev server: {find_or_install(_say)}")
    except StackError as error:
        _say(str(error))
        return 3
    return 0


def _clean(directory: Path) -> int:
    found = Stack.find(directory)
    if found is not None:
        _say(f"{directory} is in use by a running stack (pid {found.owner_pid}); stop that first")
        return 1
    asyncio.run(Stack.sweep(directory, _say))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
