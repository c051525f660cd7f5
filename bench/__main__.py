"""`python -m bench [BENCH ...] [--json] [--quick]`: measure, then print a table or JSON."""

import argparse
import asyncio
import json
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import structlog
import uvloop

from bench import alerts, authority, door, history, kill, memory, observing, similar, steps
from bench.report import Figure, Section, load, machine, table
from bench.rivals import rounds as rivals

Bench = Callable[[bool], Awaitable[Sequence[Figure]]]
_BENCHES: dict[str, Bench] = {
    "authority": authority.measure,
    "steps": steps.measure,
    "kill": kill.measure,
    "history": history.measure,
    "memory": memory.measure,
    "alerts": alerts.measure,
    "door": door.measure,
    "similar": similar.measure,
    "observing": observing.measure,
    "rivals": rivals.measure,
}
_ON_DEMAND = {"rivals"}  # installs programs of others


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("bench", nargs="*", choices=[[], *_BENCHES], help="which; by default all but rivals")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--quick", action="store_true", help="a fifth of the work: for trying it out")
    given = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    names = given.bench or [name for name in _BENCHES if name not in _ON_DEMAND]
    try:
        sections = uvloop.run(_until_told(_run(names, given.quick)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    if given.json:
        json.dump(_document(sections), sys.stdout, indent=2)
        print()
    else:
        table(sections)


async def _until_told(work: Coroutine[Any, Any, list[Section]]) -> list[Section]:
    """SIGTERM is as good as Ctrl-C: the servers that were started end with the work."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


async def _run(names: Sequence[str], quick: bool) -> list[Section]:
    sections = []
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        before, started = load(), time.monotonic()
        figures = await _BENCHES[name](quick)
        sections.append(Section(name, figures, time.monotonic() - started, before, load()))
    return sections


def _document(sections: Sequence[Section]) -> dict[str, Any]:
    return {"machine": machine(), "benches": {section.bench: section.as_json() for section in sections}}


if __name__ == "__main__":
    main()
