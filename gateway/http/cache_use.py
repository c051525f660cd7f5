"""What a client says of the cache: `X-Curb-Cache: off`, `exact`, or `semantic` where its agent may."""

from collections.abc import Mapping

from gateway.agents import Agent
from gateway.config import CacheUse
from gateway.http.fields import BadRequest
from gateway.http.identity import CACHE

_WORDS: Mapping[str, CacheUse] = {"off": "off", "exact": "exact", "semantic": "semantic"}


def cache_use(headers: Mapping[str, str], agent: Agent | None) -> CacheUse:
    """Whether the answer may come from the cache: as the client says, else as its agent is configured.

    Raises BadRequest for other words, and for `semantic` of an agent that is not configured so.
    """
    configured: CacheUse = "auto" if agent is None else agent.cache
    said = headers.get(CACHE, "").strip().lower()
    if not said:
        return configured
    if said == "semantic" and configured != "semantic":
        raise BadRequest("`semantic` needs an agent with `cache: semantic` in curb.yaml", CACHE)
    if said not in _WORDS:
        raise BadRequest("is off, exact or semantic", CACHE)
    return _WORDS[said]
