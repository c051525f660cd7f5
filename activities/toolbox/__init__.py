"""Tools: what agents may do. Works without Temporal; activities.tools wraps it for runs."""

from activities.toolbox.context import Invocation, ToolContext
from activities.toolbox.definitions import Tool
from activities.toolbox.errors import ArgumentsError, ToolError, ToolSourceUnavailable
from activities.toolbox.execution import ToolOutcome
from activities.toolbox.loading import agents_in, load_module
from activities.toolbox.marks import tool
from activities.toolbox.registry import Toolbox

__all__ = [
    "ArgumentsError",
    "Invocation",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolOutcome",
    "ToolSourceUnavailable",
    "Toolbox",
    "agents_in",
    "load_module",
    "tool",
]
