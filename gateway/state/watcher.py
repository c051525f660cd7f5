"""Cuts calls in flight when a switch is set or their run is killed (I7).

Polls, every 100 ms and with one MGET, the switches and runs of the calls that are in flight in
this process. Works on any Redis, with nothing to enable there.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.errors import StateUnavailable
from gateway.state.switches import SwitchBoard

POLL_SECONDS = 0.1
BUDGET_SWITCH = "auto:budget:"  # the day's budget is spent: nothing new, but nothing is cut

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cut:
    """Why a call is cut. name: the switch, or `run:{run id}` for a kill signal."""

    reason: str
    name: str


@dataclass(eq=False, slots=True)
class _Watch:
    names: frozenset[str]
    run_ids: frozenset[str]
    on_cut: Callable[[Cut], None]
    told: bool = False

    def look(self, switches: dict[str, str], runs: dict[str, str]) -> None:
        """Tell of the first cut that concerns this call, once."""
        cut = self._cut(switches, runs)
        if cut is not None and not self.told:
            self.told = True
            # By the loop, so that a callback which fails cannot keep others from being called.
            asyncio.get_running_loop().call_soon(self.on_cut, cut)

    def _cut(self, switches: dict[str, str], runs: dict[str, str]) -> Cut | None:
        for run_id in self.run_ids & runs.keys():
            return Cut(runs[run_id], f"run:{run_id}")
        for name in sorted(self.names & switches.keys()):
            if not switches[name].startswith(BUDGET_SWITCH):
                return Cut(switches[name], name)
        return None


class CallWatcher:
    """One per process. Runs while calls are in flight, and outlives failures of Redis."""

    def __init__(self, switches: SwitchBoard, poll_seconds: float = POLL_SECONDS) -> None:
        self._switches = switches
        self._poll_seconds = poll_seconds
        self._watches: set[_Watch] = set()
        self._last: dict[str, str] = {}
        self._looked = 0.0  # monotonic
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def watching(
        self, names: Collection[str], run_ids: Collection[str], on_cut: Callable[[Cut], None]
    ) -> Iterator[None]:
        """While inside, on_cut is called once, from the event loop, when a switch of `names` is set
        or one of the runs is cut. It must return quickly, for example after cancelling a task."""
        watch = _Watch(frozenset(names), frozenset(run_ids), on_cut)
        self._watches.add(watch)
        if not self.polling:
            self._looked = time.monotonic()
            self._task = asyncio.get_running_loop().create_task(self._poll())
        try:
            yield
        finally:
            self._watches.discard(watch)

    @property
    def polling(self) -> bool:
        """Whether Redis is being asked at the moment: only while calls are in flight."""
        return self._task is not None and not self._task.done()

    @property
    def delay_seconds(self) -> float:
        """How long ago the switches of the calls in flight were read; 0 without any such call."""
        return time.monotonic() - self._looked if self._watches else 0.0

    async def close(self) -> None:
        """Stop polling; calls in flight are not watched any more."""
        self._watches.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _poll(self) -> None:
        while self._watches:
            try:
                await self._look()
            except StateUnavailable as error:
                _log.warning("switches cannot be read, calls in flight go on: %s", error)
            await asyncio.sleep(self._poll_seconds)

    async def _look(self) -> None:
        names = frozenset[str]().union(*(watch.names for watch in self._watches))
        run_ids = frozenset[str]().union(*(watch.run_ids for watch in self._watches))
        switches, runs = await self._switches.watch_values(names, run_ids)
        self._looked = time.monotonic()
        if switches or runs:
            for watch in list(self._watches):
                watch.look(switches, runs)
        changed = {n for n in names if switches.get(n) != self._last.get(n)}
        if changed:
            await self._switches.observe_switches(changed)
        self._last = switches
