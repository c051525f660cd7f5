"""A real MCP server: `mcp_server.py stdio` or `mcp_server.py http PORT`."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

server = MCPServer("house", log_level="WARNING")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return f"{a + b} with {os.environ.get('GREETING', 'no greeting')}"


@server.tool(name="order.pizza")
def order(kind: str) -> str:
    """Order a pizza."""
    return f"ordered {kind}"


@server.tool()
def fail(reason: str) -> str:
    raise ToolError(reason)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def key(context: Context[Any, Any]) -> str:
    """The idempotency key that came with the call."""
    return str((context.request_context.meta or {}).get("curb/idempotency-key"))


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def token(context: Context[Any, Any]) -> str:
    """The authorization header that came with the call."""
    request = context.request_context.request
    return str(request.headers.get("authorization")) if request is not None else "no request"


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def pid() -> str:
    """The server's process id."""
    return str(os.getpid())


@server.tool()
async def hang(started: str) -> str:
    """Write to the pipe `started`, and never answer."""
    Path(started).write_text("started")
    await asyncio.Event().wait()
    return ""


@server.tool()
def die() -> str:
    """End the server at once, in the middle of the call."""
    os._exit(1)


@server.custom_route("/ready", methods=["GET"])  # type: ignore[untyped-decorator]
async def ready(request: Request) -> Response:
    del request
    return PlainTextResponse("ready")


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", port=int(sys.argv[2]))
