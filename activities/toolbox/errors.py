"""The errors of tools.

CurbError
├── ToolError                 a tool says no; the model reads the message as it stands
│   └── ArgumentsError        the model's arguments do not fit the tool's schema
└── ToolSourceUnavailable     an MCP server cannot be started or reached
"""

from gateway.errors import CurbError


class ToolError(CurbError):
    """A tool says no on purpose; the model reads the message as it stands."""


class ArgumentsError(ToolError):
    """The model's arguments are not JSON, or do not fit the tool's schema."""


class ToolSourceUnavailable(CurbError):
    """An MCP server cannot be started or reached, or went away."""
