"""A session with one MCP server: started at first use, started again when it went away.

The SDK's sessions must be closed by the task that opened them, so each has a task of its own,
which other tasks call through.
"""

import asyncio
import os
import re
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activities.toolbox.errors import ToolSourceUnavailable
from activities.toolbox.texts import error_text
from gateway.agents import McpServer
from gateway.errors import ConfigurationError

if TYPE_CHECKING:  # importing it takes most of a second, which only agents with MCP servers pay
    from mcp import Client
    from mcp.types import CallToolResult
    from mcp.types import Tool as ServedTool

MAX_TOOLS = 500
_MAX_PAGES = 50
_CHECK_SECONDS = 5.0
_RESTART_AFTER_SECONDS = 2.0
_CLOSE_SECONDS = 10.0
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Session:
    """A live session and what the server offered when it began."""

    client: "Client"
    served: "tuple[ServedTool, ...]"


class ServerRefused(Exception):
    """The server is there and answered with a protocol error."""


class McpConnection:
    """Keeps one session open. Any task of the loop may use it; close() when done."""

    def __init__(self, server: McpServer, *, start_timeout_seconds: float) -> None:
        self.server = server
        self._start_timeout = start_timeout_seconds
        self._lock = asyncio.Lock()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._session: Session | None = None
        self._doubted: Session | None = None
        self._failure: Exception | None = None
        self._failed_at = float("-inf")

    async def session(self) -> Session:
        """The live session. Raises ToolSourceUnavailable, ConfigurationError."""
        async with self._lock:
            if self._session is not None and self._doubted is self._session:
                self._doubted = None
                if not await _answers(self._session):
                    await self._end()
            if self._session is None or self._task is None or self._task.done():
                await self._end()
                self._session = await self._start()
            return self._session

    async def call(
        self, name: str, arguments: dict[str, object], meta: dict[str, object]
    ) -> "CallToolResult":
        """Calls a tool, once. Raises ServerRefused, ToolSourceUnavailable."""
        from mcp import MCPError

        session = await self.session()
        try:
            return await session.client.call_tool(name, arguments, meta=_meta(meta))
        except asyncio.CancelledError:
            self._doubted = session  # it may hang: the next call asks before it relies on it
            raise
        except MCPError as error:
            if await _answers(session):
                raise ServerRefused(error.message) from error
            await self._forget(session)
            raise self._unavailable(error) from error
        except Exception as error:
            await self._forget(session)
            raise self._unavailable(error) from error

    async def close(self) -> None:
        """Ends the session and the server's process. Idempotent."""
        async with self._lock:
            await self._end()

    async def _start(self) -> Session:
        if self._failure is not None and time.monotonic() < self._failed_at + _RESTART_AFTER_SECONDS:
            raise self._failure
        self._stop, self._failure = asyncio.Event(), None
        ready: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(ready, self._stop), name=f"mcp-{self.server.name}")
        try:
            return await asyncio.shield(ready)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        except Exception as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise

    async def _end(self) -> None:
        task, self._task, self._session = self._task, None, None
        if task is None:
            return
        self._stop.set()
        _, pending = await asyncio.wait([task], timeout=_CLOSE_SECONDS)
        if pending:
            task.cancel()
            await asyncio.wait([task], timeout=_CLOSE_SECONDS)

    async def _forget(self, session: Session) -> None:
        async with self._lock:
            if self._session is session:
                await self._end()

    async def _hold(self, ready: "asyncio.Future[Session]", stop: asyncio.Event) -> None:
        """Opens the session, hands it out, and closes it when told, all in this one task."""
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._start_timeout):
                    session = await _open(self.server, stack)
                if not ready.done():
                    ready.set_result(session)
                await stop.wait()
        except Exception as error:  # noqa: BLE001 - whatever a foreign server brings about is reported as ours
            if not ready.done():
                ready.set_exception(self._unavailable(error))
        finally:
            ready.cancel()

    def _unavailable(self, error: Exception) -> Exception:
        cause = _innermost(error)
        if isinstance(cause, ConfigurationError | ToolSourceUnavailable):
            return cause
        late = isinstance(cause, TimeoutError)
        what = f"did not answer within {self._start_timeout:g} s" if late else f"failed: {error_text(cause)}"
        unavailable = ToolSourceUnavailable(f"MCP server {self.server.name} {what}")
        unavailable.__cause__ = error
        return unavailable


async def _open(server: McpServer, stack: AsyncExitStack) -> Session:
    from mcp import Client

    transport = await _transport(server, stack)
    client = await stack.enter_async_context(Client(transport, cache=None))
    return Session(client, await _listed(client))


async def _transport(server: McpServer, stack: AsyncExitStack) -> Any:
    if bool(server.command) == bool(server.url):
        raise ConfigurationError(f"MCP server {server.name}: give either a command or a url")
    if server.url:
        return await _http_transport(server, stack)
    from mcp import StdioServerParameters, stdio_client

    command, *arguments = (_filled(server, word) for word in server.command)
    env = {name: _filled(server, value) for name, value in server.env.items()}
    return stdio_client(StdioServerParameters(command=command, args=arguments, env=env))


async def _http_transport(server: McpServer, stack: AsyncExitStack) -> Any:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    headers = {name: _filled(server, value) for name, value in server.headers.items()}
    timeout = httpx2.Timeout(30.0, read=300.0)  # a server may hold a stream open
    client = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=timeout))
    return streamable_http_client(_filled(server, server.url), http_client=client)


def _filled(server: McpServer, text: str) -> str:
    """`${NAME}` replaced from the environment."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ConfigurationError(f"MCP server {server.name}: environment variable {match[1]} is not set")
        return os.environ[match[1]]

    return _VARIABLE.sub(value, text)


async def _listed(client: "Client") -> "tuple[ServedTool, ...]":
    """All tools of a server, page by page, bounded."""
    found: list[ServedTool] = []
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        found.extend(page.tools)
        cursor = page.next_cursor
        if cursor is None:
            break
    return tuple(found[:MAX_TOOLS])


async def _answers(session: Session) -> bool:
    """Whether the server behind a session still answers."""
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await session.client.list_tools()
    except Exception:  # noqa: BLE001 - whatever it is, a new session is the remedy
        return False
    return True


def _meta(meta: dict[str, object]) -> Any:
    return meta  # the SDK types it as a closed dictionary of its own keys


def _innermost(error: BaseException) -> BaseException:
    """The first cause inside of exception groups, which says more than the group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
