"""Processes by identity: a pid alone may be stale, or by now be somebody else's.

A process is known by its pid, its start time and an argument of its command line that only a
server of this data directory has (its *marker*, a path).
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_CLOCK_STEP_SECONDS = 2.0  # start times are computed from the boot time, which moves with the clock
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Identity:
    """A pid and when it started (Unix seconds)."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "Identity":
        """The identity of a living process. Raises psutil.NoSuchProcess."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The living process with this identity, or None if it ended or its pid was reused."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started) < _CLOCK_STEP_SECONDS
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def alive(self) -> bool:
        return self.process() is not None


class ServerProcess:
    """One server's process, started by us or adopted from an owner that died."""

    def __init__(self, process: psutil.Process, popen: "subprocess.Popen[bytes] | None" = None) -> None:
        self._process = process
        self._popen = popen
        self.identity = Identity(process.pid, process.create_time())

    @classmethod
    def spawn(cls, command: Sequence[str], *, log: Path, cwd: Path, user: str | None) -> "ServerProcess":
        """Start a server in a session of its own, so that Ctrl-C reaches only its owner.

        Output is appended to `log`. `user` is the account to run as (only root may choose one).
        """
        with log.open("ab") as output:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        return cls(psutil.Process(popen.pid), popen)

    @classmethod
    def adopt(cls, identity: Identity, marker: str) -> "ServerProcess | None":
        """The living process with this identity, if it is the server that the marker names."""
        process = identity.process()
        return cls(process) if process is not None and has_marker(process, marker) else None

    @property
    def pid(self) -> int:
        return self.identity.pid

    def alive(self) -> bool:
        if self._popen is not None:
            return self._popen.poll() is None
        return self.identity.alive()

    def listens_on(self, port: int) -> bool:
        """Whether this process has the port open; True when the system does not let us know."""
        try:
            connections = self._process.net_connections("tcp")
        except psutil.AccessDenied:
            return self.alive()
        except psutil.NoSuchProcess:
            return False
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)

    def send(self, number: signal.Signals) -> None:
        """Signal this very process; nothing happens if it is gone (psutil checks its start time)."""
        with suppress(psutil.NoSuchProcess):
            self._process.send_signal(number)

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait until it has ended; False if it lives on after the timeout."""
        return await _until_gone([self], timeout_seconds)

    async def kill(self) -> None:
        """SIGKILL it and wait until it and its own children have ended."""
        family = [self, *self._children()]
        self.send(signal.SIGKILL)
        if not await _until_gone(family, 5.0):
            for member in family:
                member.send(signal.SIGKILL)
            await _until_gone(family, 5.0)

    def _children(self) -> list["ServerProcess"]:
        try:
            return [ServerProcess(child) for child in self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def is_dead(pid: int) -> bool:
    """Whether no process with this pid runs: there is none, or it ended and nobody reaped it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def has_marker(process: psutil.Process, marker: str) -> bool:
    """Whether the marker is one of the process's arguments."""
    try:
        return marker in process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def find_by_marker(marker: str) -> list[ServerProcess]:
    """All living processes with the marker among their arguments, ourselves excepted."""
    found = []
    for process in psutil.process_iter():
        if process.pid != os.getpid() and has_marker(process, marker):
            with suppress(psutil.NoSuchProcess):
                found.append(ServerProcess(process))
    return found


async def _until_gone(processes: Sequence[ServerProcess], timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while any(process.alive() for process in processes):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True
