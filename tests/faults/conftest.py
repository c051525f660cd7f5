"""A scene per test module: its servers are killed, so nobody else may use them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.scene import Scene, open_scene


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """The servers, without workers."""
    directory: Path = tmp_path_factory.mktemp("faults")
    async with open_scene(directory) as scene:
        yield scene


@pytest.fixture
async def scene(servers: Scene) -> AsyncIterator[Scene]:
    """The servers with everything up and open; workers that the test started are gone afterwards."""
    yield servers
    await servers.dismiss_workers()
    for gate in (servers.provider_gate, servers.temporal_gate):
        await gate.open()
    await servers.stack.ensure("valkey", "postgres", "temporal")
