"""Worker processes, to be killed, stopped and continued."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_READY_SECONDS = 120.0
_END_SECONDS = 15.0


class WorkerProcess:
    """One `python -m MODULE`. log: where its output goes."""

    def __init__(
        self, arguments: Sequence[str], directory: Path, name: str, module: str = "tests.faults.worker"
    ) -> None:
        self.log = directory / f"{name}.log"
        self._ready = directory / f"{name}.ready"
        command = [sys.executable, "-m", module, *arguments, str(self._ready)]
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def until_ready(self) -> None:
        """Wait until it works; fails with its log when it ends before."""
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ready.exists():
            assert self.alive, f"the worker ended:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"the worker is not ready:\n{self.log.read_text()}"
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """kill -9."""
        self.send(signal.SIGKILL)
        await asyncio.to_thread(self._process.wait, _END_SECONDS)

    async def stop(self) -> int:
        """SIGTERM, and wait for the end. Returns its exit status."""
        self.send(signal.SIGTERM)
        return await asyncio.to_thread(self._process.wait, _END_SECONDS)

    def freeze(self) -> None:
        """SIGSTOP: alive, but it does nothing."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        if self.alive:
            os.kill(self.pid, number)
