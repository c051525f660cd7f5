"""The embedded stack: found, adopted, cleaned, and never two servers on the same data."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from redis.asyncio import Redis

from worker.stack import FREE_PORTS, SERVERS, Stack, StackAlreadyRunning, StackError, record
from worker.stack.processes import find_by_marker
from worker.stack.temporal import SEARCH_ATTRIBUTES


@pytest.fixture
def directory() -> Iterator[Path]:
    """A data directory that needs no other account's leave to be entered (unlike tmp_path)."""
    with tempfile.TemporaryDirectory(prefix="curb-stack-", ignore_cleanup_errors=True) as place:
        yield Path(place)


@pytest.fixture
async def said(directory: Path) -> AsyncIterator[list[str]]:
    """What the stack said; whatever the test left running is stopped at its end."""
    lines: list[str] = []
    yield lines
    await Stack.sweep(directory)


def make(directory: Path, said: list[str], *servers: str) -> Stack:
    return Stack(directory, servers=servers, ports=FREE_PORTS, say=said.append)


async def owner_killed(directory: Path, *servers: str) -> None:
    """Let another process start the stack, and kill -9 it."""
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.stack_owner", str(directory), *servers),
        stdout=asyncio.subprocess.PIPE,
    )
    assert owner.stdout is not None
    assert await owner.stdout.readline() == b"ready\n"
    owner.kill()
    await owner.wait()


async def set_value(stack: Stack, key: str, value: str) -> None:
    async with Redis.from_url(stack.redis_url) as client:
        await client.set(key, value)


async def value(stack: Stack, key: str) -> object:
    async with Redis.from_url(stack.redis_url) as client:
        return await client.get(key)


async def test_all_servers_are_ready(directory: Path, said: list[str]) -> None:
    async with make(directory, said, *SERVERS) as stack:
        assert await value(stack, "nothing") is None
        async with await psycopg.AsyncConnection.connect(stack.database_url) as connection:
            row = await (await connection.execute("SELECT current_database()")).fetchone()
        assert row == ("curb",)
        async with httpx.AsyncClient() as client:
            assert (await client.get(stack.temporal_ui, follow_redirects=True)).status_code == 200
            assert (await client.get(f"{stack.simulator_url}/invoice")).json()["rows"] == []


async def test_temporal_knows_the_search_attributes(directory: Path, said: list[str]) -> None:
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.client import Client

    async with make(directory, said, "temporal") as stack:
        client = await Client.connect(stack.temporal_address)
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace="default")
        )
    assert set(SEARCH_ATTRIBUTES) <= set(listed.custom_attributes)


async def test_a_killed_server_comes_back_with_its_data_on_its_port(directory: Path, said: list[str]) -> None:
    async with make(directory, said, "valkey") as stack:
        url = stack.redis_url
        await set_value(stack, "kept", "yes")
        async with Redis.from_url(url) as client:
            assert await client.waitaof(1, 0, 2000) == [1, 0]
        await stack.server("valkey").kill()
        assert stack.server("valkey").pid is None
        await stack.server("valkey").start()
        assert stack.redis_url == url
        assert await value(stack, "kept") == b"yes"


async def test_postgres_comes_back_after_kill_and_after_stop(directory: Path, said: list[str]) -> None:
    async with make(directory, said, "postgres") as stack:
        postgres, url = stack.server("postgres"), stack.database_url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
            await postgres.kill()
        await postgres.start()
        await postgres.restart()
        assert stack.database_url == url
        async with await psycopg.AsyncConnection.connect(url) as connection:
            assert await (await connection.execute("SELECT one FROM kept")).fetchone() == (1,)


async def test_stack_json_says_where_everything_is(directory: Path, said: list[str]) -> None:
    async with make(directory, said, "valkey") as stack:
        found = record.read(directory)
        assert found is not None
        assert found.redis_url == stack.redis_url
        assert found.servers["valkey"].pid == stack.server("valkey").pid
        assert Path(found.servers["valkey"].log).exists()
    assert record.read(directory) is None


async def test_the_second_start_finds_the_first_and_says_where_it_is(
    directory: Path, said: list[str]
) -> None:
    async with make(directory, said, "valkey") as first:
        found = Stack.find(directory)
        assert found is not None
        assert found.redis_url == first.redis_url
        with pytest.raises(StackAlreadyRunning, match=f"pid {os.getpid()}.*{first.redis_url}"):
            await make(directory, said, "valkey").start()
        assert await value(first, "nothing") is None, "the refused start must not touch the first"
    assert Stack.find(directory) is None


async def test_what_a_killed_owner_left_is_adopted(directory: Path, said: list[str]) -> None:
    await owner_killed(directory, "valkey", "postgres", "temporal")
    left = record.read(directory)
    assert left is not None
    assert Stack.find(directory) is None, "its owner is dead"
    async with make(directory, said, "valkey", "postgres", "temporal") as stack:
        assert {name: stack.server(name).pid for name in left.servers} == {
            name: server.pid for name, server in left.servers.items()
        }
        assert stack.record.addresses == left.addresses
        await stack.server("postgres").kill()
        await stack.server("postgres").start()
    assert not any(server.identity.alive() for server in left.servers.values())
    assert sum("adopted" in line for line in said) == 3


async def test_a_survivor_that_does_not_answer_is_replaced(directory: Path, said: list[str]) -> None:
    await owner_killed(directory, "valkey")
    left = record.read(directory)
    assert left is not None
    os.kill(left.servers["valkey"].pid, signal.SIGSTOP)
    async with make(directory, said, "valkey") as stack:
        assert stack.server("valkey").pid != left.servers["valkey"].pid
        assert await value(stack, "nothing") is None
        assert len(find_by_marker(str(directory.resolve() / "valkey"))) == 1


async def test_a_survivor_is_found_without_its_record(directory: Path, said: list[str]) -> None:
    await owner_killed(directory, "valkey")
    record.remove(directory)
    async with make(directory, said, "valkey") as stack:
        servers = find_by_marker(str(directory.resolve() / "valkey"))
        assert [server.pid for server in servers] == [stack.server("valkey").pid]
    assert any("left behind" in line for line in said)


async def test_a_reused_pid_is_neither_adopted_nor_stopped(directory: Path, said: list[str]) -> None:
    bystander = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=-1)
    await owner_killed(directory, "valkey")
    left = record.read(directory)
    assert left is not None
    await Stack.sweep(directory)
    stale = left.servers["valkey"].model_copy(update={"pid": bystander.pid})
    record.write(directory, left.model_copy(update={"servers": {"valkey": stale}}))
    async with make(directory, said, "valkey") as stack:
        assert stack.server("valkey").pid != bystander.pid
        assert bystander.returncode is None
    assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()


async def test_a_port_that_is_taken_is_replaced_and_said(directory: Path, said: list[str]) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        stack = Stack(directory, servers=["valkey"], ports={"valkey": taken}, say=said.append)
        async with stack:
            assert await value(stack, "nothing") is None
            assert stack.server("valkey").ports["valkey"] != taken
    assert any(f"port {taken} is taken" in line for line in said)


async def test_a_failing_start_leaves_nothing_running_and_shows_the_log(
    directory: Path, said: list[str]
) -> None:
    (directory / "valkey").mkdir()
    (directory / "valkey" / "appendonlydir").mkdir()
    manifest = directory / "valkey" / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_text("file nonsense\n")
    with pytest.raises(StackError, match=r"valkey did not come up(?s:.)*(AOF|manifest)"):
        await make(directory, said, "valkey", "postgres").start()
    for name in ("valkey", "postgres"):
        assert find_by_marker(str(directory.resolve() / name)) == []
    assert Stack.find(directory) is None


async def clean(directory: Path) -> tuple[int, str]:
    """`python -m worker.stack clean`, what `make clean` runs: exit status and messages."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker.stack", "clean", str(directory)), stderr=asyncio.subprocess.PIPE
    )
    _, messages = await process.communicate()
    assert process.returncode is not None
    return process.returncode, messages.decode()


async def test_make_clean_stops_what_was_left_and_lets_a_running_stack_be(
    directory: Path, said: list[str]
) -> None:
    async with make(directory, said, "valkey") as stack:
        status, messages = await clean(directory)
        assert (status, str(os.getpid()) in messages) == (1, True)
        assert await value(stack, "nothing") is None
    await owner_killed(directory, "valkey")
    status, messages = await clean(directory)
    assert (status, "stopping a server" in messages) == (0, True)
    assert find_by_marker(str(directory.resolve() / "valkey")) == []


def test_an_unknown_server_is_refused(directory: Path) -> None:
    with pytest.raises(StackError, match="no such server: mysql"):
        Stack(directory, servers=["mysql"])


async def test_a_server_outside_of_the_stack_is_named(directory: Path, said: list[str]) -> None:
    async with make(directory, said) as stack:
        with pytest.raises(StackError, match="redis_url"):
            _ = stack.redis_url
