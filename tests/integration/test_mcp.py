"""Tools of real MCP servers: one over stdio, one over streamable HTTP."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from activities.toolbox import Toolbox, ToolOutcome, ToolSourceUnavailable
from activities.toolbox.definitions import NAME_PATTERN
from activities.toolbox.mcp_tools import exposed_name
from gateway.agents import Agent, McpServer
from gateway.calls import ToolUse
from gateway.errors import ConfigurationError
from tests.integration.servers import free_port

SCRIPT = str(Path(__file__).parent / "servers" / "mcp_server.py")
STDIO = McpServer(
    name="house", command=(sys.executable, SCRIPT, "stdio"), env={"GREETING": "${CURB_TEST_HI}"}
)


@pytest.fixture
async def box(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Toolbox]:
    monkeypatch.setenv("CURB_TEST_HI", "hi")
    async with Toolbox() as toolbox:
        yield toolbox


def _start(port: int) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, SCRIPT, "http", str(port)])
    transport = httpx.HTTPTransport(retries=10)  # backs off by itself until the port is open
    with httpx.Client(transport=transport) as client:
        assert client.get(f"http://127.0.0.1:{port}/ready").text == "ready"
    return process


@pytest.fixture
def http_server() -> Iterator[McpServer]:
    port = free_port()
    process = _start(port)
    yield McpServer(
        name="web",
        url=f"http://127.0.0.1:{port}/mcp",
        headers={"Authorization": "Bearer ${CURB_TEST_HI}"},
    )
    process.kill()
    process.wait()


async def _call(
    box: Toolbox, server: McpServer, name: str, mode: Literal["live", "shadow"] = "live", **arguments: Any
) -> ToolOutcome:
    return await box.execute(
        ToolUse(id="t", name=exposed_name(server.name, name), arguments=json.dumps(arguments)),
        agent=Agent(name="a", mcp=(server,)),
        mode=mode,
        idempotency_key="key-7",
    )


async def test_tools_of_a_stdio_server(box: Toolbox) -> None:
    tools = await box.resolve(Agent(name="a", tools=("read_file",), mcp=(STDIO,)))

    assert list(tools) == ["read_file", "house__add", "house__order_pizza", "house__fail", "house__key",
                           "house__token", "house__pid", "house__hang", "house__die"]  # fmt: skip
    assert tools["house__add"].spec.description == "Add two numbers."
    assert not tools["house__add"].at_most_once
    assert tools["house__order_pizza"].at_most_once


async def test_calling_over_stdio(box: Toolbox) -> None:
    outcome = await _call(box, STDIO, "add", a=2, b=3)

    assert (outcome.result.content, outcome.result.is_error) == ("5 with hi", False)


async def test_calling_over_http(box: Toolbox, http_server: McpServer) -> None:
    outcome = await _call(box, http_server, "add", a=2, b=3)

    assert (outcome.result.content, outcome.result.is_error) == ("5 with no greeting", False)


async def test_headers_are_filled_in_from_the_environment(box: Toolbox, http_server: McpServer) -> None:
    assert (await _call(box, http_server, "token")).result.content == "Bearer hi"


async def test_the_idempotency_key_travels_with_the_call(box: Toolbox) -> None:
    assert (await _call(box, STDIO, "key")).result.content == "key-7"


async def test_wrong_arguments_never_reach_the_server(box: Toolbox) -> None:
    outcome = await _call(box, STDIO, "add", a=2, b="three")

    assert outcome.result.is_error
    assert outcome.result.content == "The arguments are wrong: b: 'three' is not of type 'integer'"


async def test_a_servers_error_is_an_error_result(box: Toolbox) -> None:
    outcome = await _call(box, STDIO, "fail", reason="no oven")

    assert outcome.result.is_error
    assert "no oven" in outcome.result.content


async def test_shadow_does_not_order(box: Toolbox) -> None:
    outcome = await _call(box, STDIO, "order.pizza", mode="shadow", kind="quattro")

    assert outcome.shadowed
    assert "house__order_pizza(kind='quattro') was not executed" in outcome.result.content


async def test_shadow_reads(box: Toolbox) -> None:
    outcome = await _call(box, STDIO, "add", mode="shadow", a=1, b=1)

    assert (outcome.result.content, outcome.shadowed) == ("2 with hi", False)


async def test_many_calls_share_one_session(box: Toolbox) -> None:
    outcomes = await asyncio.gather(*(_call(box, STDIO, "add", a=i, b=0) for i in range(20)))

    assert [o.result.content for o in outcomes] == [f"{i} with hi" for i in range(20)]


async def test_an_agent_may_name_the_tools_it_wants_of_a_server(box: Toolbox) -> None:
    agent = Agent(name="a", tools=("house.add", "house__fail"), mcp=(STDIO,))

    assert list(await box.resolve(agent)) == ["house__add", "house__fail"]

    with pytest.raises(ConfigurationError, match=r"uses tool 'house.subtract'.*offers: house__add"):
        await box.resolve(Agent(name="a", tools=("house.subtract",), mcp=(STDIO,)))


async def test_a_stdio_server_that_dies_is_started_again(box: Toolbox) -> None:
    died = await _call(box, STDIO, "die")
    after = await _call(box, STDIO, "add", a=1, b=2)

    assert died.result.is_error
    assert "MCP server house failed" in died.result.content
    assert after.result.content == "3 with hi"


@pytest.mark.parametrize("stopped", [False, True])
async def test_after_a_call_that_was_cut_the_next_one_works(
    box: Toolbox, tmp_path: Path, stopped: bool
) -> None:
    """Also when the server itself hangs (SIGSTOP): then it is replaced."""
    pid = int((await _call(box, STDIO, "pid")).result.content)
    started = tmp_path / "started"
    os.mkfifo(started)
    task = asyncio.create_task(_call(box, STDIO, "hang", started=str(started)))
    await asyncio.to_thread(started.read_text)  # until the server opens it too
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    after = await _call(box, STDIO, "pid")

    assert (int(after.result.content) == pid) is not stopped


async def test_an_http_server_that_was_restarted_is_found_again(box: Toolbox, http_server: McpServer) -> None:
    died = await _call(box, http_server, "die")
    port = int(http_server.url.rpartition(":")[2].partition("/")[0])
    process = _start(port)
    after = await _call(box, http_server, "add", a=1, b=2)
    process.kill()
    process.wait()

    assert died.result.is_error
    assert after.result.content == "3 with no greeting"


async def test_a_server_that_does_not_start_stops_only_its_own_tools(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("here")
    gone = McpServer(name="gone", command=(str(tmp_path / "no-such-program"),))
    agent = Agent(name="a", tools=("read_file",), mcp=(gone,), root=str(tmp_path))
    async with Toolbox() as box:
        with pytest.raises(ToolSourceUnavailable, match="MCP server gone failed: FileNotFoundError"):
            await box.resolve(agent)
        read = await box.execute(
            ToolUse(id="t", name="read_file", arguments='{"path": "x.txt"}'),
            agent=agent,
            mode="live",
            idempotency_key="k",
        )
        asked = await _call(box, gone, "anything")

    assert read.result.content == "here"
    assert asked.result.is_error


async def test_nobody_listening_is_said() -> None:
    server = McpServer(name="web", url=f"http://127.0.0.1:{free_port()}/mcp")
    async with Toolbox() as box:
        with pytest.raises(ToolSourceUnavailable, match="MCP server web failed"):
            await box.resolve(Agent(name="a", mcp=(server,)))


async def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    silent = f"import os, sys; open({str(pid)!r}, 'w').write(str(os.getpid())); sys.stdin.read()"
    server = McpServer(name="mute", command=(sys.executable, "-c", silent))
    async with Toolbox(mcp_start_timeout_seconds=1.0) as box:
        with pytest.raises(ToolSourceUnavailable, match="did not answer within 1 s"):
            await box.resolve(Agent(name="a", mcp=(server,)))

    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


async def test_an_unset_variable_is_a_configuration_error() -> None:
    server = McpServer(name="s", command=("true",), env={"TOKEN": "${CURB_TEST_NOT_SET}"})
    async with Toolbox() as box:
        with pytest.raises(ConfigurationError, match="CURB_TEST_NOT_SET is not set"):
            await box.resolve(Agent(name="a", mcp=(server,)))


async def test_a_server_needs_a_command_or_a_url() -> None:
    async with Toolbox() as box:
        with pytest.raises(ConfigurationError, match="either a command or a url"):
            await box.resolve(Agent(name="a", mcp=(McpServer(name="s"),)))


async def test_closing_ends_the_servers_process(box: Toolbox, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    start = f"import os, runpy, sys; open({str(pid)!r}, 'w').write(str(os.getpid())); " \
            f"sys.argv = [{SCRIPT!r}, 'stdio']; runpy.run_path({SCRIPT!r}, run_name='__main__')"  # fmt: skip
    server = McpServer(name="house", command=(sys.executable, "-c", start))
    await box.resolve(Agent(name="a", mcp=(server,)))
    await box.close()

    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("name", ["short", "with.dots and spaces/ü", "long" * 40])
def test_every_name_is_one_that_providers_take(name: str) -> None:
    assert NAME_PATTERN.fullmatch(exposed_name("my.server", name))


def test_long_names_stay_different() -> None:
    assert exposed_name("s", "x" * 80 + "a") != exposed_name("s", "x" * 80 + "b")
