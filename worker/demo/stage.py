"""What the scenes play on: the stack, a worker that may be killed, the provider's invoice, the wire."""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import httpx

from gateway.errors import CurbError
from worker.cli.servers import Desk
from worker.client import Progress
from worker.settings import variables
from worker.stack.processes import find_by_marker

_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 90.0
_TRACES = ("CURB_LANGFUSE_", "LANGFUSE_", "CURB_OTLP_", "OTEL_")


class SceneFailed(CurbError):
    """A scene did not come out as it should; the message says how."""


@dataclass(slots=True)
class Narrator:
    """Says what happens, with the time since the beginning."""

    write: Callable[[str, str], None]
    started: float = field(default_factory=time.monotonic)

    def __call__(self, who: str, what: str) -> None:
        self.write(f"{time.monotonic() - self.started:5.1f} s  {who:<12}", what)


class Worker:
    """`curb worker` as a process of its own, so that it can be killed."""

    def __init__(self, directory: Path, config: Path, *, metrics_port: int = 0) -> None:
        self._directory = directory
        self._config = config
        self._metrics_port = metrics_port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> int:
        """Start it and return its pid. Its log is logs/worker.log."""
        log = self._directory / "logs" / "worker.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "worker.cli", "worker", "--config", str(self._config)),
                cwd=self._directory,
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self._process.pid

    def _environment(self) -> dict[str, str]:
        """Ours, without other servers: the worker must find this stack. Who keeps traces is known to it."""
        ours = {name for name in variables() if not name.startswith(_TRACES)}
        keep = {name: value for name, value in os.environ.items() if name not in ours}
        return keep | {
            "CURB_DATA_DIR": str(self._directory),
            "CURB_METRICS_PORT": str(self._metrics_port),
            "CURB_SHUTDOWN_SECONDS": "5",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end; kill it when it does not."""
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), 15)
        except TimeoutError:
            await self.kill()

    @property
    def ended(self) -> bool:
        return self._process is not None and self._process.returncode is not None


@dataclass(slots=True)
class Stage:
    """Everything that a scene may touch."""

    desk: Desk
    worker: Worker
    say: Narrator
    directory: Path
    console: str

    @property
    def files(self) -> Path:
        return self.directory / "files"

    async def until(self, run_id: str, condition: Callable[[Progress], bool], what: str) -> Progress:
        """Wait for a run to come to something. Raises SceneFailed when it ends without, or takes too long."""
        last: Progress | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                async for last in self.desk.runs.follow(run_id, every_seconds=0.1):
                    if condition(last):
                        return last
        if self.worker.ended:
            raise SceneFailed(f"the worker ended by itself; see {self.directory}/logs/worker.log")
        now = f"{last.status} {last.reason}".strip() if last else "not there"
        raise SceneFailed(f"{run_id}: {what} did not happen; it is {now}")

    async def ended(self, run_id: str) -> Progress:
        """Wait for a run's end."""
        return await self.until(run_id, lambda progress: progress.ended, "its end")

    async def streaming_row(self, run_id: str) -> dict[str, Any]:
        """Wait until the provider is in the middle of an answer for this run; its invoice row."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                record = await self.desk.runs.record(run_id)
                if record is not None and record.temporal_run_id:
                    for row in await self.invoice():
                        mine = str(row["client_request_id"]).startswith(f"run:{record.temporal_run_id}:")
                        if mine and row["state"] == "open" and row["output_tokens"] > 0:
                            return row
                await asyncio.sleep(_POLL_SECONDS)

    async def final_row(self, row_id: str) -> dict[str, Any]:
        """Wait until the provider has stopped producing this answer; the row with its end."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                for row in await self.invoice():
                    if row["id"] == row_id and row["state"] == "final":
                        return row
                await asyncio.sleep(_POLL_SECONDS)

    async def invoice(self) -> list[dict[str, Any]]:
        """The rows of the provider's invoice so far."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            answer = await client.get(f"{self.desk.house.places.simulator_url}/invoice")
        rows: list[dict[str, Any]] = answer.json()["rows"]
        return rows

    async def redis(self, *words: str) -> str:
        """One command over the Redis wire, written by hand: nothing of curb is in between."""
        address = urlsplit(self.desk.house.places.redis_url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write("".join((f"*{len(words)}\r\n", *map(_bulk, words))).encode())
            await writer.drain()
            return (await asyncio.wait_for(reader.readline(), 5)).decode().strip()
        finally:
            writer.close()
            await writer.wait_closed()


def _bulk(word: str) -> str:
    return f"${len(word.encode())}\r\n{word}\r\n"


def clear(directory: Path) -> None:
    """Remove an earlier demo's data. Its servers have been swept before; its worker is ended here."""
    for process in find_by_marker(str(directory / "curb.yaml")):
        process.send(signal.SIGKILL)
    shutil.rmtree(directory, ignore_errors=True)


def furnish(directory: Path, template: str, **values: str) -> Path:
    """Lay out the agents' files and the configuration; returns the latter's path."""
    source = files("worker.demo")
    for name in ("steady", "shadow", "shared"):
        folder = directory / "files" / name
        folder.mkdir(parents=True)
        for each in (source / "files").iterdir():
            (folder / each.name).write_text(each.read_text(encoding="utf-8"), encoding="utf-8")
    config = directory / "curb.yaml"
    text = Template((source / template).read_text(encoding="utf-8"))
    config.write_text(text.substitute(values, files=str(directory / "files")), encoding="utf-8")
    return config
