"""`--tools module-or-file`: what a user's module brings for the worker, beside its tools."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from temporalio import activity, workflow

from activities.toolbox import Toolbox, agents_in
from gateway.agents import Agent
from gateway.errors import ConfigurationError


@dataclass
class Loaded:
    """Agents by name, workflow classes and activities, of all modules together."""

    agents: dict[str, Agent] = field(default_factory=dict)
    workflows: list[type] = field(default_factory=list)
    activities: list[Callable[..., Any]] = field(default_factory=list)


def load(toolbox: Toolbox, sources: Sequence[str], configured: dict[str, Agent]) -> Loaded:
    """Import each source, put its tools into the toolbox, and collect the rest with what is configured.

    Raises ConfigurationError for a source that cannot be imported and for names that are taken.
    """
    loaded = Loaded(agents=dict(configured))
    for source in sources:
        module = toolbox.load(source)
        for agent in agents_in(module):
            if agent.name in loaded.agents:
                raise ConfigurationError(f"{source}: an agent {agent.name!r} is configured already")
            loaded.agents[agent.name] = agent
        loaded.workflows += (found for found in workflows_in(module) if found not in loaded.workflows)
        loaded.activities += (found for found in activities_in(module) if found not in loaded.activities)
    return loaded


def workflows_in(module: ModuleType) -> list[type]:
    """The classes that the module itself marks with `@workflow.defn`."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and workflow._Definition.from_class(value) is not None
    ]


def activities_in(module: ModuleType) -> list[Callable[..., Any]]:
    """The functions that the module itself marks with `@activity.defn`."""
    return [
        value
        for value in vars(module).values()
        if callable(value)
        and getattr(value, "__module__", "") == module.__name__
        and activity._Definition.from_callable(value) is not None
    ]
