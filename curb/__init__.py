"""The names a user imports.

from curb import Agent, tool, supervised_model_call
"""

from activities.toolbox import ToolContext, tool
from gateway.agents import Agent, McpServer
from gateway.policy.limits import LoopRules, RunLimits
from gateway.policy.money import usd
from workflows.supervised import SupervisedAnswer, supervised_model_call

__all__ = [
    "Agent",
    "LoopRules",
    "McpServer",
    "RunLimits",
    "SupervisedAnswer",
    "ToolContext",
    "supervised_model_call",
    "tool",
    "usd",
]
