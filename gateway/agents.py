"""Agents: named, configured things. A run snapshots one and works on that copy (I11)."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.config import CacheUse
from gateway.policy.limits import LoopRules, RunLimits
from gateway.policy.money import NanoUsd


class McpServer(BaseModel):
    """A source of tools that speaks MCP: a command (stdio) or a URL (streamable HTTP).

    env: for the command. headers: for the URL. `${NAME}` in these, in the command and in the URL
    is filled in from the worker's environment at the moment of connecting, so that secrets stand
    neither in configuration nor in what a run snapshots.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    env: dict[str, str] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)


class Agent(BaseModel):
    """One agent. Money in nano-dollars (configuration reads dollars, see worker.config).

    tools: names of registered tools. agents: names of agents it may delegate to (child runs).
    cost_aware: take a cheaper tier while little is left of the agent's day (under half: at most
    `balanced`; under a fifth: `quick`).
    on_budget: what happens when the run's own budget is exhausted.
    on_switch: whether a kill switch pauses the run (the default) or ends it.
    root: the directory that the built-in file tools are confined to.
    cache: whether answers bought before may be given again. auto: at the front door where chance plays no
    part (temperature 0), in runs never.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    instructions: str = ""
    tier: str = "balanced"
    tools: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    mcp: tuple[McpServer, ...] = ()
    team: str = ""
    run_budget_nano_usd: NanoUsd | None = None
    daily_budget_nano_usd: NanoUsd | None = None
    cost_aware: bool = False
    on_budget: Literal["fail", "pause", "ask"] = "fail"
    on_switch: Literal["wait", "stop"] = "wait"
    mode: Literal["live", "shadow"] = "live"
    max_output_tokens: int = Field(default=1024, gt=0)
    temperature: float | None = Field(default=None, ge=0, le=2)
    prompt_version: str = ""
    limits: RunLimits = Field(default_factory=RunLimits)
    root: str = "."
    http_allow: tuple[str, ...] = ()
    feature: str = ""
    value_per_task_nano_usd: NanoUsd | None = None
    cache: CacheUse = "auto"


__all__ = ["Agent", "LoopRules", "McpServer", "RunLimits"]
