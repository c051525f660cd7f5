"""The tools of an MCP server, as curb's tools."""

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from activities.toolbox.context import ToolContext
from activities.toolbox.definitions import Tool, Values
from activities.toolbox.errors import ArgumentsError, ToolError
from activities.toolbox.mcp_session import McpConnection, ServerRefused
from activities.toolbox.schema import parse_object
from gateway.agents import McpServer
from gateway.calls import ToolSpec

if TYPE_CHECKING:  # see mcp_session
    from mcp.types import CallToolResult
    from mcp.types import Tool as ServedTool

_MAX_NAME = 64
_MAX_PROBLEM_CHARACTERS = 500


def exposed_name(server: str, name: str) -> str:
    """What the model calls a server's tool: `{server}__{tool}`, in letters every provider takes.

    Longer than 64 characters: cut, and made unique by a hash of the whole.
    """
    whole = f"{server}__{name}"
    clean = re.sub(r"[^a-zA-Z0-9_-]", "_", whole)
    if len(clean) <= _MAX_NAME:
        return clean
    return f"{clean[: _MAX_NAME - 9]}_{sha256(whole.encode()).hexdigest()[:8]}"


class McpSource:
    """The tools of one configured server. Starts it at first use; close() when done."""

    def __init__(self, server: McpServer, *, start_timeout_seconds: float) -> None:
        self._server = server
        self._connection = McpConnection(server, start_timeout_seconds=start_timeout_seconds)

    async def tools(self) -> tuple[Tool, ...]:
        """What the server offers. Raises ToolSourceUnavailable, ConfigurationError."""
        session = await self._connection.session()
        return tuple(self._tool(served) for served in session.served)

    async def close(self) -> None:
        await self._connection.close()

    def _tool(self, served: "ServedTool") -> Tool:
        read_only = bool(served.annotations and served.annotations.read_only_hint)
        schema: dict[str, object] = {"properties": {}, **served.input_schema, "type": "object"}

        async def call(values: Values, context: ToolContext) -> object:
            return await self._call(served.name, values, context)

        return Tool(
            spec=ToolSpec(
                name=exposed_name(self._server.name, served.name),
                description=served.description or served.title or "",
                input_schema=schema,
            ),
            parse=lambda arguments: _checked(parse_object(arguments), schema),
            call=call,
            source=f"{served.name} of MCP server {self._server.name}",
            side_effects=not read_only,
            idempotent=read_only,
        )

    async def _call(self, name: str, values: Values, context: ToolContext) -> str:
        meta: dict[str, object] = {"curb/idempotency-key": context.idempotency_key}
        try:
            return _text_of(await self._connection.call(name, dict(values), meta))
        except ServerRefused as error:
            raise ToolError(f"MCP server {self._server.name} refused {name}: {error}") from error


def _checked(values: dict[str, object], schema: Mapping[str, object]) -> dict[str, object]:
    """The values, if they fit the schema. Raises ArgumentsError."""
    problem = _problem(values, schema)
    if problem:
        raise ArgumentsError(f"The arguments are wrong: {problem}")
    return values


def _problem(values: dict[str, object], schema: Mapping[str, object]) -> str:
    """What does not fit; '' also for a schema that cannot be understood: its server decides."""
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
    from jsonschema.exceptions import SchemaError, best_match  # type: ignore[import-untyped]
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # A registry of its own: the default one would fetch remote references.
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        validator.check_schema(schema)
        found = best_match(validator.iter_errors(values))
    except (SchemaError, Unresolvable, re.error):
        return ""
    if found is None:
        return ""
    where = ".".join(map(str, found.absolute_path))
    return (f"{where}: " if where else "") + str(found.message)[:_MAX_PROBLEM_CHARACTERS]


def _text_of(result: "CallToolResult") -> str:
    """All text of a result; what is not text is named. Raises ToolError for error results."""
    lines = [_block(block) for block in result.content]
    if not lines and result.structured_content is not None:
        lines = [json.dumps(result.structured_content, ensure_ascii=False)]
    text = "\n".join(lines) or "(done; no result)"
    if result.is_error:
        raise ToolError(text)
    return text


def _block(block: Any) -> str:
    if block.type == "text":
        return str(block.text)
    if block.type == "resource":
        inner = getattr(block.resource, "text", None)
        return f"[resource {block.resource.uri}, not text]" if inner is None else str(inner)
    if block.type == "resource_link":
        return f"[resource {block.uri}]"
    return f"[{block.type} {getattr(block, 'mime_type', '')}, not shown]"
