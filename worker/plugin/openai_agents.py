"""OpenAI Agents: its model activity, with curb's provider in the place of the worker's.

Nothing of the package is imported before one of its activities runs.
"""

import copy
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents import ModelProvider

_OWNER = "ModelActivity"


def supervised(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same activity buying from curb, whatever provider the worker gave it; others as they are.

    The worker's own object is left alone: a copy of it, with another provider, is called.
    """
    owner: Any = getattr(fn, "__self__", None)
    if type(owner).__name__ != _OWNER or not hasattr(owner, "_model_provider"):
        return fn
    mine = copy.copy(owner)
    mine._model_provider = _provider()
    bound: Callable[..., Any] = getattr(mine, fn.__name__)
    return bound


@functools.cache
def _provider() -> "ModelProvider":
    """Chat completions over the supervised client; asking again is Temporal's to do."""
    from agents import OpenAIProvider
    from openai import AsyncOpenAI

    from worker.plugin.transport import supervised_async_http_client

    client = AsyncOpenAI(
        api_key="curb", base_url="http://curb/v1", max_retries=0, http_client=supervised_async_http_client()
    )
    return OpenAIProvider(openai_client=client, use_responses=False)
