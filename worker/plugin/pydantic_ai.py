"""pydantic-ai: the models of a worker's agents send through curb.

Agents are found as PydanticAIPlugin finds them, by `__pydantic_ai_agents__` of the worker's workflows. Their
models keep everything but the HTTP client of their provider. A model that cannot be supervised is an error
when the worker is made, so that none slips by.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.errors import ConfigurationError

_CLIENTS = ("AsyncOpenAI", "AsyncAnthropic")


def supervise(workflows: Iterable[type]) -> None:
    """Give the models of these workflows' agents a supervised client. Raises ConfigurationError."""
    for workflow in workflows:
        for agent in getattr(workflow, "__pydantic_ai_agents__", ()):
            for model in _models_of(agent):
                _supervise(str(getattr(agent, "name", "")), model)


def _models_of(agent: Any) -> Iterator[Any]:
    """The agent's own model and those registered for it, without the wrappers around them."""
    seen: set[int] = set()
    waiting = [agent.model, *_registered(agent)]
    while waiting:
        model = waiting.pop()
        if model is None or id(model) in seen:
            continue
        seen.add(id(model))
        if isinstance(model, str):
            raise ConfigurationError(
                f"agent {getattr(agent, 'name', '')}: the model {model!r} is made anew in every activity, "
                "where curb cannot supervise it; give the agent a model object: OpenAIChatModel(...)"
            )
        inside = [*getattr(model, "models", ()), getattr(model, "wrapped", None)]
        waiting += [each for each in inside if each is not None]
        if not any(each is not None for each in inside):
            yield model


def _registered(agent: Any) -> list[Any]:
    from pydantic_ai.durable_exec.temporal import TemporalDurability

    durability = (
        TemporalDurability.from_agent(agent) if not hasattr(agent, "temporal_activities") else agent.model
    )
    return list(getattr(durability, "_models_by_id", {}).values())


def _supervise(agent: str, model: Any) -> None:
    provider: Any = getattr(model, "provider", None)
    client = getattr(provider, "client", None)
    if type(client).__name__ not in _CLIENTS or not hasattr(provider, "_set_http_client"):
        raise ConfigurationError(
            f"agent {agent}: {type(model).__name__} does not call OpenAI's or Anthropic's client, so curb "
            "cannot supervise it; use OpenAIChatModel or AnthropicModel, whatever the provider"
        )
    from worker.plugin.transport import supervised_async_http_client

    # As after a client that was passed in: the provider then never makes another one in its place.
    provider._own_http_client = None
    provider._set_http_client(supervised_async_http_client())
