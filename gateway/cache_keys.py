"""When two calls ask for the same: canonical requests, and what they are kept apart by.

Exact: everything that the answer may depend on is the same, the model asked for and the way of
answering (streamed or not) included. Similar: everything but the words of the last thing said.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.calls import Call, Message, ModelRequest, Request, Text, Untranslatable, WireRequest
from gateway.config import CacheUse
from gateway.errors import CurbError

# What changes nothing in an answer: who asks, and what the provider is told for its own sake.
_IDLE = frozenset(
    (
        *("user", "metadata", "safety_identifier", "store", "prompt_cache_key", "prompt_cache_retention"),
        *("service_tier", "model"),  # the model asked for is the call's, whatever name it has here
    )
)
_USUAL: Mapping[str, object] = {"n": 1, "stream": False, "parallel_tool_calls": True, "tool_choice": "auto"}


@dataclass(frozen=True, slots=True)
class Likeness:
    """partition: all but `text`, which is the last thing that was said, is the same within one."""

    partition: str
    text: str


def may_be_cached(use: CacheUse, request: Request) -> bool:
    """Whether an answer may come from the cache, or go there: by itself only where chance plays no part."""
    if use == "off" or request.n != 1:
        return False
    if isinstance(request, WireRequest) and request.api == "embeddings":
        return False
    return use != "auto" or request.temperature == 0


def exact_key(call: Call, request: Request, *, shared: bool) -> str:
    """The name of this call's answer in the cache."""
    if isinstance(request, WireRequest):
        way = [request.family, request.api, request.max_output_tokens, dict(request.headers)]
        said: object = [*way, _plain(request.document)]
    else:
        said = ["neutral", request.model_dump(mode="json", exclude={"end_user"})]
    return _digest([_owner(call, shared=shared), call.tier, said])


def likeness(call: Call, request: Request, *, shared: bool) -> Likeness | None:
    """What a similar call must share, and what it is compared by. None where the last thing said is not
    a user's words alone."""
    try:
        neutral = request.neutral() if isinstance(request, WireRequest) else request
    except (Untranslatable, CurbError):
        return None
    last = neutral.messages[-1] if neutral.messages else None
    if last is None or last.role != "user" or not all(isinstance(part, Text) for part in last.parts):
        return None
    if not last.text.strip():
        return None
    return Likeness(_partition(call, request, neutral, last, shared=shared), last.text)


def _partition(call: Call, request: Request, neutral: ModelRequest, last: Message, *, shared: bool) -> str:
    """Users are kept apart even where keys are not: what is similar may still be about somebody."""
    before = neutral.model_copy(update={"messages": neutral.messages[:-1], "end_user": ""})
    way: object = "neutral"
    if isinstance(request, WireRequest):
        way = [request.family, request.api, request.streamed, request.document.get("stream_options")]
        way.append(dict(request.headers))
    rest = [len(last.parts), before.model_dump(mode="json")]
    return _digest([_owner(call, shared=shared), call.caller.user, call.tier, way, rest])


def _owner(call: Call, *, shared: bool) -> str:
    """Whose answers these are: a key's, or, of runs, an agent's."""
    if shared:
        return "shared"
    caller = call.caller
    return f"key:{caller.key_id}" if caller.key_id else f"agent:{caller.agent}"


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in document.items()
        if name not in _IDLE and value is not None and _USUAL.get(name, _NOTHING) != value
    }


_NOTHING = object()


def _digest(said: object) -> str:
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
