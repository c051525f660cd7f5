"""The programs of Prometheus: checkers that are run, and servers that run beside the block."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.integration.servers import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules"
WAIT_SECONDS = 60.0


def program(*names: str) -> str:
    """The path of the first that is there."""
    found = next(filter(None, map(shutil.which, names)), None)
    assert found is not None, f"{names[0]} is missing; `make test-metrics` brings it"
    return found


def run(name: str, *arguments: str | Path) -> str:
    """Run a checker; what it says. It must not fail."""
    done = subprocess.run(
        (program(name), *map(str, arguments)), capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Server:
    """A server of Prometheus's kind. api: where it is asked, with a slash at its end."""

    def __init__(self, url: str, api: str) -> None:
        self.url = url
        self._client = httpx.AsyncClient(base_url=f"{url}{api}", timeout=30)

    async def get(self, path: str, **parameters: str) -> Any:
        answer = await self._client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, document: object) -> None:
        answer = await self._client.post(path, json=document)
        assert answer.status_code == 200, answer.text

    async def query(self, expression: str) -> list[Any]:
        """The samples of an expression now."""
        found: list[Any] = (await self.get("query", query=expression))["data"]["result"]
        return found

    async def close(self) -> None:
        await self._client.aclose()


@contextlib.asynccontextmanager
async def prometheus(config: Path, directory: Path) -> AsyncIterator[Server]:
    """A real Prometheus that keeps its data in the directory."""
    arguments = (
        f"--config.file={config}",
        f"--storage.tsdb.path={directory}",
        "--enable-feature=exemplar-storage",
    )
    async with _running((program("prometheus"), *arguments), "/api/v1/") as server:
        yield server


@contextlib.asynccontextmanager
async def alertmanager(config: Path, directory: Path) -> AsyncIterator[Server]:
    """A real Alertmanager, alone."""
    command = (
        program("alertmanager", "prometheus-alertmanager"),
        f"--config.file={config}",
        f"--storage.path={directory}",
        "--cluster.listen-address=",
    )
    async with _running(command, "/api/v2/") as server:
        yield server


@contextlib.asynccontextmanager
async def _running(command: Sequence[str], api: str) -> AsyncIterator[Server]:
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        *command,
        f"--web.listen-address={address}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    server = Server(f"http://{address}", api)
    try:
        await _ready(server.url, process)
        yield server
    finally:
        await server.close()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(WAIT_SECONDS), httpx.AsyncClient() as client:
        while process.returncode is None:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"{url}/-/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.1)
    raise AssertionError(f"it ended by itself, with {process.returncode}")
