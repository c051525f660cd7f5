"""A front door for tests: the real server on a port of its own, over a world that buys."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx
import openai
import redis.asyncio as redis

from gateway.agents import Agent
from gateway.batches.opening import BatchStarter
from gateway.config import GatewayConfig
from gateway.http.app import build_app
from gateway.http.endpoint import Limits
from gateway.keys import KeyRing, Principal
from gateway.tokens import TokenSecrets
from tests.integration.waiting import until
from tests.integration.world import World, open_world
from tests.simulated import SimulatedProvider
from worker.listening import listening
from worker.wiring import Servers

ANYBODY = Principal("ktest", "tester", rate_tier="")


class OneKey:
    """Everybody is the same principal."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal

    async def authenticate(self, token: str, address: str = "") -> Principal:
        return self.principal


@dataclass
class Front:
    """A front door at `url`, and the world behind it. openai, anthropic: the real clients, asking once."""

    url: str
    world: World
    keys: OneKey
    openai: openai.AsyncOpenAI
    anthropic: anthropic.AsyncAnthropic

    async def post(
        self, path: str, body: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """A request as curl would send it."""
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            if isinstance(body, bytes):
                return await client.post(path, content=body, headers=headers)
            return await client.post(path, json=body, headers=headers)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """The same, with the answer still coming."""
        async with (
            httpx.AsyncClient(base_url=self.url, timeout=30) as client,
            client.stream("POST", path, json=body, headers=headers) as answer,
        ):
            yield answer

    async def booked(self, *, adopted: int = 0) -> int:
        """The ledger in nano-dollars, once doubts are resolved: it equals the provider's invoice, and the
        counters equal it. adopted: so many requests went past curb."""
        return await self.world.booked(adopted=adopted)

    async def held(self) -> int:
        """Everything that is held or in doubt, over all counters."""
        return await self.world.held()

    async def until_held(self, agent: str) -> int:
        """Wait until something is held for this agent; how much."""

        async def held() -> int:
            return (await self.world.parts.authority.utilization(agent)).held_nano_usd

        await until(held)
        return await held()

    async def attempts_of_agent(self, agent: str) -> list[dict[str, Any]]:
        """The rows of one agent's attempts, the latest first."""
        await self.world.ledger()
        rows = await self.world.parts.store.attempts.recent(limit=100)
        return [dict(row) for row in rows if row["agent"] == agent]

    async def attempts(self, call_key: str) -> list[dict[str, Any]]:
        """The rows of one call's attempts."""
        await self.world.ledger()
        rows: Sequence[dict[str, Any]] = await self.world.parts.store.attempts.of_call(call_key)
        return list(rows)


@contextlib.asynccontextmanager
async def open_front(
    config: GatewayConfig,
    servers: Servers,
    simulator: SimulatedProvider,
    *,
    agents: Sequence[Agent] = (),
    limits: Limits | None = None,
    keyring: TokenSecrets | None = None,
    batches: BatchStarter | None = None,
) -> AsyncIterator[Front]:
    """Empty Redis, then a world and its front door, until the block ends.

    keyring: real keys, under these secrets; without it everybody is ANYBODY. batches: has them followed.
    """
    async with redis.from_url(servers.redis_url) as client:
        await client.flushdb()
    async with open_world(config, servers, simulator) as world:
        keys = OneKey(ANYBODY)
        ring = KeyRing(world.parts.store.keys, keyring) if keyring is not None else None
        known = {agent.name: agent for agent in agents}
        app = build_app(world.parts.gateway, ring or keys, agents=known, limits=limits, batches=batches)
        async with (
            listening(app, "127.0.0.1", 0, grace_seconds=2) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="curb", max_retries=0) as chat,
            anthropic.AsyncAnthropic(base_url=url, api_key="curb", max_retries=0) as messages,
        ):
            yield Front(url, world, keys, chat, messages)
        if ring is not None:
            await ring.close()


async def in_thread(work: Any, *arguments: Any) -> Any:
    """A synchronous client beside the event loop that serves it."""
    return await asyncio.to_thread(work, *arguments)
