"""The embedded stack of one directory: real servers, started together, found again, cleaned up."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from worker.stack import record as records
from worker.stack.errors import StackAlreadyRunning, StackError
from worker.stack.kinds import Kind, Say, silent
from worker.stack.lock import OwnerLock
from worker.stack.postgres import Postgres
from worker.stack.processes import Identity
from worker.stack.record import StackRecord
from worker.stack.server import Server, stop_survivors
from worker.stack.simulator import Simulator
from worker.stack.temporal import Temporal
from worker.stack.valkey import Valkey

SERVERS = ("valkey", "postgres", "temporal", "simulator")
FREE_PORTS: Mapping[str, int] = {
    name: 0 for kind in (Valkey, Postgres, Temporal, Simulator) for name in kind.ports
}
"""Ports for a stack that must not care who else is on this machine, for example a test session."""

_KINDS: Mapping[str, Callable[[Path], Kind]] = {
    "valkey": Valkey,
    "postgres": Postgres,
    "temporal": Temporal,
    "simulator": Simulator,
}


class Stack:
    """The servers of one directory (by custom `.curb/`): data, logs and `stack.json` lie there.

        async with Stack(Path(".curb")) as stack:
            print(stack.redis_url, stack.database_url, stack.temporal_address, stack.simulator_url)

    servers: which of SERVERS to start (the others are yours, by CURB_* settings).
    ports: preferred ports by name (valkey, postgres, temporal, temporal_ui, simulator); 0 means
    any free one; those not named are by custom 6379, 5432, 7233, 8233, 8787, or what this
    directory had last time. A port that is taken is replaced, and `say` is told.
    """

    def __init__(
        self,
        directory: Path,
        *,
        servers: Sequence[str] = SERVERS,
        ports: Mapping[str, int] | None = None,
        say: Say = silent,
    ) -> None:
        unknown = set(servers) - set(SERVERS)
        if unknown:
            raise StackError(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(SERVERS)}")
        self.directory = directory.resolve()
        self._names = tuple(name for name in SERVERS if name in servers)
        self._ports = dict(ports or {})
        self._say = say
        self._lock = OwnerLock(self.directory / "lock")
        self._servers: dict[str, Server] = {}
        self._left: StackRecord | None = None
        self._owner = Identity.of(os.getpid())
        self._claimed = False

    @staticmethod
    def find(directory: Path) -> StackRecord | None:
        """The stack that another living process runs in this directory, or None."""
        found = records.read(directory)
        return found if found is not None and found.owner.alive() else None

    @staticmethod
    async def sweep(directory: Path, say: Say = silent) -> None:
        """Stop what a killed owner left behind in this directory; a living owner is let be."""
        stack = Stack(directory, say=say)
        if not stack.directory.is_dir():
            return
        try:
            if not stack._lock.take():
                return
        except FileNotFoundError:  # another sweeper was quicker, and has removed the directory since
            return
        try:
            for kind in _kinds(stack.directory).values():
                await stop_survivors(kind, say)
            records.remove(stack.directory)
        finally:
            stack._lock.give()

    async def __aenter__(self) -> "Stack":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start all servers together. On failure none is left running.

        Raises StackAlreadyRunning when another living process has this directory, and
        StackError when a server cannot be had or does not come up.
        """
        self.claim()
        try:
            await self.ensure(*self._names)
        except BaseException:
            await self.stop()
            raise

    def claim(self) -> None:
        """Become the owner of the directory without starting anything yet."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self._lock.take():
            raise StackAlreadyRunning(_already_running(self.directory))
        self._claimed = True
        self._left = records.read(self.directory)
        kinds = _kinds(self.directory)
        for name in self._names:
            self._servers[name] = self._server(kinds[name])

    async def ensure(self, *names: str) -> None:
        """Start these servers, together, those that do not run yet."""
        left = self._left.servers if self._left else {}
        tasks = [
            asyncio.create_task(self.server(name).start(left.get(name)))
            for name in names
            if self.server(name).pid is None
        ]
        try:
            for task in asyncio.as_completed(tasks):
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Stop all servers and give the directory free. Data and logs stay."""
        if not self._claimed:
            return
        await asyncio.gather(*(server.stop() for server in self._servers.values()))
        self._servers.clear()
        self._claimed = False
        records.remove(self.directory)
        self._lock.give()

    def server(self, name: str) -> Server:
        """One server, to stop, start, restart or kill. Raises StackError if it is not part of this stack."""
        try:
            return self._servers[name]
        except KeyError:
            raise StackError(f"{name}: that server is not part of the stack in {self.directory}") from None

    @property
    def record(self) -> StackRecord:
        """Where everything is, as `stack.json` says it."""
        running = {name: server.record for name, server in self._servers.items()}
        servers = {name: found for name, found in running.items() if found is not None}
        ports = {name: port for found in servers.values() for name, port in found.ports.items()}
        return StackRecord(
            directory=str(self.directory),
            owner_pid=self._owner.pid,
            owner_started=self._owner.started,
            servers=servers,
            addresses=records.addresses(ports),
        )

    @property
    def redis_url(self) -> str:
        return self.record.redis_url

    @property
    def database_url(self) -> str:
        return self.record.database_url

    @property
    def temporal_address(self) -> str:
        return self.record.temporal_address

    @property
    def temporal_ui(self) -> str:
        return self.record.temporal_ui

    @property
    def simulator_url(self) -> str:
        return self.record.simulator_url

    def _server(self, kind: Kind) -> Server:
        before = self._left.servers.get(kind.name) if self._left else None
        return Server(
            kind,
            self.directory / "logs" / f"{kind.name}.log",
            wanted={**(before.ports if before else {}), **self._ports},
            say=self._say,
            changed=self._write,
        )

    def _write(self) -> None:
        records.write(self.directory, self.record)


def _kinds(directory: Path) -> dict[str, Kind]:
    return {name: kind(directory / name) for name, kind in _KINDS.items()}


def _already_running(directory: Path) -> str:
    found = records.read(directory)
    if found is None:
        return f"the stack in {directory} is being started by another process; try again in a moment"
    places = ", ".join(f"{name} {place}" for name, place in found.addresses.items())
    return f"the stack in {directory} is already running (pid {found.owner_pid}): {places}"
