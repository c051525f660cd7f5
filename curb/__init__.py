"""The names a user imports.

from curb import Agent, tool, supervised_model_call, SupervisorPlugin
"""

from typing import TYPE_CHECKING, Any

from activities.toolbox import ToolContext, tool
from gateway.agents import Agent, McpServer
from gateway.policy.limits import LoopRules, RunLimits
from gateway.policy.money import usd
from workflows.supervised import SupervisedAnswer, supervised_model_call

if TYPE_CHECKING:
    from worker.ledger_callback import LedgerCallback
    from worker.plugin.plugin import SupervisorPlugin
    from worker.plugin.transport import supervised_async_http_client, supervised_http_client

# Brought in when somebody asks for them: a worker's parts, and packages that curb does without.
_LATER = {
    "LedgerCallback": "worker.ledger_callback",
    "SupervisorPlugin": "worker.plugin.plugin",
    "supervised_async_http_client": "worker.plugin.transport",
    "supervised_http_client": "worker.plugin.transport",
}

__all__ = [
    "Agent",
    "LedgerCallback",
    "LoopRules",
    "McpServer",
    "RunLimits",
    "SupervisedAnswer",
    "SupervisorPlugin",
    "ToolContext",
    "supervised_async_http_client",
    "supervised_http_client",
    "supervised_model_call",
    "tool",
    "usd",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATER[name]), name)
