"""One tool call, from the model's JSON to a result that the model can read.

What goes wrong inside a tool is a result too: only cancellation leaves this module as an
exception, so that a run never fails because a tool did.
"""

import asyncio
from dataclasses import dataclass
from typing import Literal

from activities.toolbox.context import ToolContext
from activities.toolbox.definitions import Body, Tool, Values
from activities.toolbox.errors import ToolError, ToolSourceUnavailable
from activities.toolbox.texts import as_text, bounded, call_text, error_text
from gateway.calls import ToolResult, ToolUse

Mode = Literal["live", "shadow"]
_DESCRIPTION_BYTES = 4_000


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a tool call came to.

    shadowed: it was not executed, because the run is in shadow mode.
    description: the call, or what it would have done, bounded. It quotes arguments: it belongs
    in the store and not into workflow history or logs (I12).
    """

    result: ToolResult
    shadowed: bool
    description: str


async def perform(tool: Tool, use: ToolUse, context: ToolContext, mode: Mode) -> ToolOutcome:
    """Executes one call, or in shadow mode tells what it would have done."""
    try:
        values = tool.parse(use.arguments)
    except ToolError as error:
        return failed(use, str(error))
    described = call_text(tool.name, values)
    if tool.handled_by_workflow:
        return failed(use, f"{tool.name} is answered by people, and there is nobody to ask here", described)
    if mode == "shadow" and tool.side_effects:
        return await _shadowed(tool, use, values, context, described)
    content, is_error = await _result(tool, tool.call, values, context)
    return ToolOutcome(_answer(use, content, is_error), shadowed=False, description=described)


def failed(use: ToolUse, message: str, description: str = "") -> ToolOutcome:
    """An outcome that tells the model what was wrong."""
    description = description or f"{use.name}: {message}"
    return ToolOutcome(_answer(use, message, True), False, bounded(description, _DESCRIPTION_BYTES))


async def _shadowed(
    tool: Tool, use: ToolUse, values: Values, context: ToolContext, described: str
) -> ToolOutcome:
    told = "It has side effects; go on as if it had succeeded."
    if tool.shadow is not None:
        text, is_error = await _result(tool, tool.shadow, values, context)
        told = f"What it would have done is not known: {text}" if is_error else text
    note = f"In shadow mode: {described} was not executed. {told}"
    return ToolOutcome(_answer(use, note, False), True, bounded(note, _DESCRIPTION_BYTES))


async def _result(tool: Tool, body: Body, values: Values, context: ToolContext) -> tuple[str, bool]:
    """Text of the result, and whether it is an error."""
    try:
        async with asyncio.timeout(tool.timeout_seconds) as deadline:
            return as_text(await body(values, context)), False
    except ToolError as error:
        return str(error), True
    except ToolSourceUnavailable as error:
        return f"{tool.name} cannot be used now: {error}", True
    except TimeoutError as error:
        if deadline.expired():
            return f"{tool.name} took longer than {tool.timeout_seconds:g} s and was given up", True
        return f"{tool.name} failed: {error_text(error)}", True
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a tool is foreign code; its errors are results
        return f"{tool.name} failed: {error_text(error)}", True
    finally:
        context.cancelled.set()


def _answer(use: ToolUse, content: str, is_error: bool) -> ToolResult:
    return ToolResult(tool_use_id=use.id, name=use.name, content=bounded(content), is_error=is_error)
