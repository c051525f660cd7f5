"""The cache of answers: what was bought once is not bought again, where that is wanted.

    looked = await cache.look(call, request)     # None: not to be cached; looked.hit: the answer, if any
    await cache.keep(call, looked, completion)   # after it was bought

A cached answer is an attempt of its own that cost nothing: admitted (switches and rates hold), booked
with what it saved. What fails here is told and means a miss; a call is never lost for its cache.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from gateway.cache_keys import Likeness, exact_key, likeness, may_be_cached
from gateway.calls import Call, Completion, Request
from gateway.config import CacheRules, SemanticRules
from gateway.embeddings import Embedded, Vector, embed
from gateway.errors import CurbError
from gateway.providers.errors import ProviderError
from gateway.store.cached import CachedAnswer

if TYPE_CHECKING:
    from gateway.gateway import Gateway

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Looked:
    """What looking came to. key: the answer's name. alike, vector: where similar ones count, too."""

    key: str
    hit: CachedAnswer | None = None
    alike: Likeness | None = None
    vector: Vector | None = None


class AnswerCache:
    """Looks for answers and keeps them, in Postgres."""

    def __init__(self, gateway: "Gateway", rules: CacheRules) -> None:
        self._gateway = gateway
        self._store = gateway.store.cached
        self._rules = rules

    async def look(self, call: Call, request: Request) -> Looked | None:
        """Look for an answer; None where there is to be none. Never raises for what is down."""
        if self._rules.off or not may_be_cached(call.cache, request):
            return None
        key = exact_key(call, request, shared=self._rules.shared)
        try:
            hit = await self._store.find(key)
            if hit is not None or call.cache != "semantic" or self._rules.semantic is None:
                return Looked(key, hit)
            return await self._similar(call, request, key, self._rules.semantic)
        except (CurbError, ProviderError, ValueError) as error:
            log.warning("the cache is not asked", error=str(error)[:300])
            return None

    async def keep(self, call: Call, looked: Looked, completion: Completion) -> None:
        """Keep what was bought, if it is whole, asks for no tools, and its price is known."""
        if not completion.settled or completion.finish_reason != "stop" or completion.message.tool_uses:
            return
        answer = CachedAnswer(
            key=looked.key,
            message=completion.message,
            deployment=completion.deployment,
            rendered=completion.rendered,
            cost_nano_usd=completion.cost_nano_usd,
            agent=call.caller.agent,
        )
        if answer.size > self._rules.most_bytes:
            return
        try:
            await self._store.keep(answer, self._rules.ttl_seconds)
            if looked.alike is not None and looked.vector is not None:
                partition = self._partition(looked.alike)
                await self._store.keep_vector(partition, looked.key, looked.vector)
        except CurbError as error:
            log.warning("an answer is not kept", error=str(error)[:300])

    async def _similar(self, call: Call, request: Request, key: str, rules: SemanticRules) -> Looked:
        alike = likeness(call, request, shared=self._rules.shared)
        if alike is None:
            return Looked(key)
        embedded = await embed(
            self._gateway,
            call.caller,
            rules.deployment,
            [alike.text[: rules.most_characters]],
            key=f"{call.key}/cache",
            dimensions=rules.dimensions,
            timeout_seconds=rules.timeout_seconds,
        )
        if not isinstance(embedded, Embedded):
            log.info("the cache is not asked for similar answers", refused=str(embedded)[:300])
            return Looked(key)
        [vector] = embedded.vectors
        found = await self._store.similar(self._partition(alike), vector, rules.threshold)
        hit = None if found is None else replace(found, similar=True)
        return Looked(key, hit, alike, vector)

    def _partition(self, alike: Likeness) -> str:
        """Vectors of different models, or lengths, cannot be compared."""
        rules = self._rules.semantic
        assert rules is not None
        return f"{alike.partition}/{rules.deployment}/{rules.dimensions}"
