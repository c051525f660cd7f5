"""The life of one server: adopted or started, asked until it answers, stopped, killed, restarted."""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from worker.stack import ports as port_numbers
from worker.stack.errors import StackError
from worker.stack.kinds import Kind, NotReady, Say, tail
from worker.stack.processes import ServerProcess, find_by_marker
from worker.stack.record import ServerRecord

READY_SECONDS = 60.0
_STOP_SECONDS = 15.0
_ADOPT_SECONDS = 3.0
_ASK_SECONDS = 3.0
_POLL_SECONDS = 0.03
_PORT_SECONDS = 2.0
_TRIES = 3


class Server:
    """One server of a stack. Not safe for use by several tasks at once.

    wanted: preferred ports by name; 0 means any free one. changed: called after the process or
    its ports changed, so that the stack's record can follow.
    """

    def __init__(
        self, kind: Kind, log: Path, *, wanted: Mapping[str, int], say: Say, changed: Callable[[], None]
    ) -> None:
        self.kind = kind
        self.log = log
        self._wanted = dict(wanted)
        self._say = say
        self._changed = changed
        self._process: ServerProcess | None = None
        self.ports: dict[str, int] = {}

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def pid(self) -> int | None:
        """The pid, or None while it is not running."""
        return self._process.pid if self._process is not None and self._process.alive() else None

    @property
    def record(self) -> ServerRecord | None:
        """What the stack's record keeps of it; None before the first start and after stop."""
        if self._process is None:
            return None
        identity = self._process.identity
        return ServerRecord(
            pid=identity.pid,
            started=identity.started,
            command=self.kind.command(self.ports),
            ports=self.ports,
            log=str(self.log),
        )

    async def start(self, survivor: ServerRecord | None = None) -> None:
        """Make it answer: adopt what a dead owner left when it is healthy and ours, else start it.

        Raises StackError with the end of its log when it does not come up.
        """
        if self.pid is not None:
            return
        await asyncio.to_thread(self.kind.prepare, self._say)
        if survivor is not None and await self._adopt(survivor):
            return
        await stop_survivors(self.kind, self._say)
        for attempt in range(1, _TRIES + 1):
            await asyncio.to_thread(self.kind.prepare, self._say)
            self.ports = await self._choose_ports()
            self._spawn()
            failure = await self._until_ready(READY_SECONDS)
            if failure is None:
                return
            alive = self.pid is not None
            await self.stop()
            if alive or attempt == _TRIES:
                raise StackError(
                    f"{self.name} did not come up: {failure}. {self.log} ends:\n{tail(self.log)}"
                )
            self._say(f"{self.name}: ended while starting; trying again")

    async def stop(self) -> None:
        """Ask it to end in good order; kill it when it does not within 15 s. Its data stay."""
        process, self._process = self._process, None
        if process is None:
            return
        await _end(process, self.kind, self._say)
        self._changed()

    async def kill(self) -> None:
        """SIGKILL it, children too, and wait until it is gone. `start` brings it back as it was."""
        if self._process is not None:
            await self._process.kill()

    async def restart(self) -> None:
        """Stop or bury it and start it again on the same ports and data."""
        await self.stop()
        await self.start()

    def send(self, number: signal.Signals) -> None:
        """Signal it, for example SIGSTOP and SIGCONT for a hang."""
        if self._process is not None:
            self._process.send(number)

    async def ask(self) -> None:
        """Its readiness query, once. Raises NotReady."""
        await self.kind.ask(self.ports)

    async def _adopt(self, survivor: ServerRecord) -> bool:
        process = ServerProcess.adopt(survivor.identity, self.kind.marker)
        same_ports = survivor.ports.keys() == self.kind.ports.keys()
        if process is None or not same_ports or self.kind.command(survivor.ports) != survivor.command:
            return False
        self._process, self.ports = process, dict(survivor.ports)
        if await self._until_ready(_ADOPT_SECONDS) is None:
            self._say(f"{self.name}: adopted, it was still running (pid {process.pid})")
            self._changed()
            return True
        self._process = None
        return False

    def _spawn(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._process = ServerProcess.spawn(
            self.kind.command(self.ports), log=self.log, cwd=self.log.parent, user=self.kind.user
        )
        self._changed()

    async def _choose_ports(self) -> dict[str, int]:
        """The ports it had before, else the wanted ones, else free ones, which is said."""
        chosen: dict[str, int] = {}
        for name, by_custom in self.kind.ports.items():
            before = self.ports.get(name, 0)
            if before:
                await _until_free(before)
            wanted = before or self._wanted.get(name, by_custom)
            port = port_numbers.choose(0 if wanted in chosen.values() else wanted)
            if wanted and port != wanted:
                self._say(f"{name}: port {wanted} is taken, using {port}")
            chosen[name] = port
        return chosen

    async def _until_ready(self, seconds: float) -> str | None:
        """Ask until it answers: None, or why it did not within this time (or ended before)."""
        deadline = time.monotonic() + seconds
        reason = "it never answered"
        while time.monotonic() < deadline:
            process = self._process
            if process is None or not process.alive():
                return "it ended"
            try:
                # First the cheap question, which also tells our server from another on this port.
                if process.listens_on(self.ports[self.name]):
                    async with asyncio.timeout(_ASK_SECONDS):
                        await self.kind.ask(self.ports)
                    return None
            except NotReady as error:
                reason = str(error)
            except TimeoutError:
                reason = f"a query was not answered within {_ASK_SECONDS:.0f} s"
            await asyncio.sleep(_POLL_SECONDS)
        return f"no answer within {seconds:.0f} s ({reason})"


async def _until_free(port: int) -> None:
    """Wait a moment for a port: the system closes it a little after its server was killed."""
    deadline = time.monotonic() + _PORT_SECONDS
    while port_numbers.is_taken(port):
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(_POLL_SECONDS)


async def stop_survivors(kind: Kind, say: Say) -> None:
    """Stop every living server of this data directory: two of them would ruin the data."""
    for process in await asyncio.to_thread(find_by_marker, kind.marker):
        say(f"{kind.name}: stopping a server that an earlier start left behind (pid {process.pid})")
        await _end(process, kind, say)


async def _end(process: ServerProcess, kind: Kind, say: Say) -> None:
    process.send(signal.SIGCONT)  # a stopped process would not hear the next signal
    process.send(kind.stop_signal)
    if not await process.wait(_STOP_SECONDS):
        say(f"{kind.name}: did not end within {_STOP_SECONDS:.0f} s, killing it")
        await process.kill()
