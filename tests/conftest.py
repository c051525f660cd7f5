"""Fixtures that every folder shares: the embedded stack, one per test session, on ports of its own.

A server starts when the first test asks for it. Sessions do not see each other: each has its own
data directory and free ports. What a killed session left behind is cleaned by the next one.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from worker.stack import FREE_PORTS, Stack
from worker.stack.temporal import NAMESPACE

_PREFIX = "curb-tests-"

# Shared machines are slow at times; that says nothing about the code.
settings.register_profile("curb", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("curb")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give this session a directory for temporary files that no other session touches.

    pytest's own default is one for all sessions of a user, and each session that starts closes it to
    others: among them the user that PostgreSQL runs as when we are root.
    """
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-tmp-")


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[Stack]:
    """The stack of this test session; nothing runs yet: `await stack.ensure("valkey")`.

    Tests that kill, stop or empty servers make a Stack of their own instead.
    """
    await _sweep_dead_sessions()
    directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{psutil.Process().pid}-"))
    own = Stack(directory, ports=FREE_PORTS)
    own.claim()
    yield own
    await own.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
async def redis_url(stack: Stack) -> str:
    """A Valkey of this test session."""
    await stack.ensure("valkey")
    return stack.redis_url


@pytest.fixture(scope="session")
async def database_url(stack: Stack) -> str:
    """A PostgreSQL of this test session."""
    await stack.ensure("postgres")
    return stack.database_url


@pytest.fixture(scope="session")
async def temporal_address(stack: Stack) -> str:
    """A Temporal dev server of this test session, host:port."""
    await stack.ensure("temporal")
    return stack.temporal_address


@pytest.fixture(scope="session")
async def temporal(temporal_address: str) -> Client:
    """A client of this test session's Temporal, with the data converter that curb's messages need."""
    return await Client.connect(temporal_address, namespace=NAMESPACE, data_converter=pydantic_data_converter)


@pytest.fixture(scope="session")
async def simulator_url(stack: Stack) -> str:
    """The simulated provider of this test session."""
    await stack.ensure("simulator")
    return stack.simulator_url


async def _sweep_dead_sessions() -> None:
    for directory in _dead_sessions():
        await Stack.sweep(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _dead_sessions() -> list[Path]:
    named = {
        path: path.name.removeprefix(_PREFIX).partition("-")[0]
        for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")
    }
    return [path for path, pid in named.items() if pid.isdigit() and not psutil.pid_exists(int(pid))]
