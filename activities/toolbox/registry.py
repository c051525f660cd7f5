"""Toolbox: every tool this process knows, and which of them an agent may use."""

import asyncio
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType, TracebackType

import httpx

from activities.toolbox.builtin import BUILTINS
from activities.toolbox.builtin.allowlist import AllowList
from activities.toolbox.context import Invocation, ToolContext
from activities.toolbox.definitions import Tool, function_tool
from activities.toolbox.errors import ToolSourceUnavailable
from activities.toolbox.execution import Mode, ToolOutcome, failed, perform
from activities.toolbox.loading import load_module, marked, unmarked
from activities.toolbox.marks import ToolFunction
from activities.toolbox.mcp_tools import McpSource, exposed_name
from activities.toolbox.threads import Threads
from gateway.agents import Agent, McpServer
from gateway.calls import ToolSpec, ToolUse
from gateway.errors import ConfigurationError

_MAX_PREFIX = 32


class Toolbox:
    """The tools of one process. Built-ins are there from the start; use it in one event loop.

    mcp_start_timeout_seconds: from starting an MCP server to its list of tools.
    max_threads: sync tools at a time.
    """

    def __init__(self, *, mcp_start_timeout_seconds: float = 20.0, max_threads: int = 32) -> None:
        self._threads = Threads(max_threads)
        self._tools: dict[str, Tool] = {}
        self._candidates: dict[str, ToolFunction] = {}
        self._sources: dict[str, McpSource] = {}
        self._mcp_start_timeout = mcp_start_timeout_seconds
        self._http: httpx.AsyncClient | None = None
        for function in BUILTINS:
            self.add(function)

    async def __aenter__(self) -> "Toolbox":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends MCP servers and connections. Idempotent; the toolbox can be used again."""
        sources, self._sources = self._sources, {}
        await asyncio.gather(*(source.close() for source in sources.values()))
        client, self._http = self._http, None
        if client is not None:
            await client.aclose()

    def add(self, function: ToolFunction) -> Tool:
        """Makes a callable a tool; without `@tool` it counts as side-effecting, not idempotent.

        Raises ConfigurationError if it cannot be described, or its name is taken.
        """
        tool = function_tool(function, self._threads)
        known = self._tools.get(tool.name)
        if known is not None and known.source != tool.source:
            raise ConfigurationError(
                f"Two tools are called {tool.name!r}: {known.source} and {tool.source}; "
                "name one of them with @tool(name=...)"
            )
        self._tools[tool.name] = tool
        return tool

    def load(self, source: str) -> ModuleType:
        """`--tools module-or-file`: adds what is marked; what is not, an agent may name.

        Raises ConfigurationError that names the source and the cause.
        """
        module = load_module(source)
        self.add_module(module)
        return module

    def add_module(self, module: ModuleType) -> tuple[Tool, ...]:
        """Adds the tools of a module; returns the marked ones."""
        self._candidates |= {function.__name__: function for function in unmarked(module)}
        return tuple(self.add(function) for function in marked(module))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tools known now, without those of MCP servers."""
        return tuple(sorted({*self._tools, *self._candidates}))

    def check(self, agent: Agent) -> None:
        """Raises ConfigurationError for tools that nobody defined and hosts that are none.

        Starts nothing: that an MCP server has the tool of a name is seen when it is used.
        """
        AllowList.parse(agent.http_allow)
        _check_servers(agent)
        for name in agent.tools:
            if _server_of(agent, name) is None:
                self._known(agent, name)

    async def resolve(self, agent: Agent) -> dict[str, Tool]:
        """The agent's tools by name: those it names, and all of its MCP servers.

        An agent that names tools of a server (`server.tool`) gets only those of that server.
        Raises ConfigurationError, ToolSourceUnavailable.
        """
        own = self._own(agent)
        served = await asyncio.gather(*(self._served(agent, server) for server in agent.mcp))
        return _by_name(agent, [*own, *(tool for tools in served for tool in tools)])

    async def specs(self, agent: Agent) -> tuple[ToolSpec, ...]:
        """The agent's tools as a model sees them, in a stable order (prompt caches like that)."""
        return tuple(tool.spec for tool in (await self.resolve(agent)).values())

    async def execute(
        self,
        tool_use: ToolUse,
        *,
        agent: Agent,
        mode: Mode,
        idempotency_key: str,
        context: Invocation | None = None,
    ) -> ToolOutcome:
        """Does what the model asked for, or in shadow mode says what it would have done.

        Whatever goes wrong is an error result that the model can read; only cancellation and
        ConfigurationError (the agent itself is wrong) are raised.
        """
        try:
            tools = await self._tools_for(agent, tool_use.name)
        except ToolSourceUnavailable as error:
            return failed(tool_use, f"{tool_use.name} cannot be used now: {error}")
        tool = tools.get(tool_use.name)
        if tool is None:
            return failed(tool_use, _no_such_tool(tool_use.name, tools))
        position = context or Invocation()
        return await perform(tool, tool_use, self._context(agent, idempotency_key, position), mode)

    def _own(self, agent: Agent) -> list[Tool]:
        self.check(agent)
        return [self._known(agent, name) for name in agent.tools if _server_of(agent, name) is None]

    async def _tools_for(self, agent: Agent, name: str) -> dict[str, Tool]:
        """The agent's tools, as far as needed to find one: a dead server stops only its own."""
        own = self._own(agent)
        servers = [server for server in agent.mcp if name.startswith(exposed_name(server.name, ""))]
        served = await asyncio.gather(*(self._served(agent, server) for server in servers))
        return _by_name(agent, [*own, *(tool for tools in served for tool in tools)])

    def _known(self, agent: Agent, name: str) -> Tool:
        if name not in self._tools and name in self._candidates:
            self.add(self._candidates[name])
        if name in self._tools:
            return self._tools[name]
        close = get_close_matches(name, self.names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(
            f"Agent {agent.name} uses tool {name!r}, which nobody defined{hint} "
            f"Known: {', '.join(self.names)}. Your own come in with --tools module-or-file."
        )

    async def _served(self, agent: Agent, server: McpServer) -> list[Tool]:
        key = server.model_dump_json()
        if key not in self._sources:
            self._sources[key] = McpSource(server, start_timeout_seconds=self._mcp_start_timeout)
        offered = {tool.name: tool for tool in await self._sources[key].tools()}
        named = [name for name in agent.tools if _server_of(agent, name) == server.name]
        if not named:
            return list(offered.values())
        return [_offered(agent, server, offered, name) for name in named]

    def _context(self, agent: Agent, idempotency_key: str, position: Invocation) -> ToolContext:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=30.0)
        return ToolContext(
            run_id=position.run_id,
            step=position.step,
            idempotency_key=idempotency_key,
            agent=agent,
            root=Path(agent.root).expanduser().absolute(),
            http=self._http,
            heartbeat=position.heartbeat,
        )


def _check_servers(agent: Agent) -> None:
    prefixes = [exposed_name(server.name, "") for server in agent.mcp]
    for server, prefix in zip(agent.mcp, prefixes, strict=True):
        if not server.name or len(prefix) > _MAX_PREFIX:
            raise ConfigurationError(
                f"Agent {agent.name}: MCP server {server.name!r} needs a name of 1 to 30 characters"
            )
        if prefixes.count(prefix) > 1:
            raise ConfigurationError(f"Agent {agent.name} has two MCP servers called {server.name!r}")


def _server_of(agent: Agent, name: str) -> str | None:
    """Which of the agent's MCP servers a name in `tools` means: `server.tool` or `server__tool`."""
    for server in agent.mcp:
        if name.startswith((f"{server.name}.", exposed_name(server.name, ""))):
            return server.name
    return None


def _offered(agent: Agent, server: McpServer, offered: Mapping[str, Tool], name: str) -> Tool:
    plain = name.removeprefix(f"{server.name}.")
    exposed = name if plain == name else exposed_name(server.name, plain)
    if exposed in offered:
        return offered[exposed]
    raise ConfigurationError(
        f"Agent {agent.name} uses tool {name!r}, but MCP server {server.name} offers: "
        f"{', '.join(offered) or 'nothing'}"
    )


def _by_name(agent: Agent, tools: Iterable[Tool]) -> dict[str, Tool]:
    found: dict[str, Tool] = {}
    for tool in tools:
        known = found.setdefault(tool.name, tool)
        if known.source != tool.source:
            raise ConfigurationError(
                f"Agent {agent.name} has two tools called {tool.name!r}: {known.source} and {tool.source}"
            )
    return found


def _no_such_tool(name: str, tools: Mapping[str, Tool]) -> str:
    return f"There is no tool {name!r}. You have: {', '.join(tools) or 'none'}."
