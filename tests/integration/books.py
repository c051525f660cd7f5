"""An authority and a store of a test's own, and calls that go through them."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

import redis.asyncio

from gateway.calls import Settlement
from gateway.config import GatewayConfig
from gateway.events import Opened
from gateway.policy.periods import windows
from gateway.policy.scopes import BudgetLine, Period, Scope, ScopeKind
from gateway.state.authority import Ask, Authority, Reservation
from gateway.store import Store


def config(**changes: Any) -> GatewayConfig:
    return GatewayConfig(providers={}, deployments={}, tiers=(), **changes)


@dataclass(frozen=True)
class Books:
    """One process's authority and store. prefix: of its keys in the shared Redis."""

    authority: Authority
    store: Store
    redis: "redis.asyncio.Redis"
    prefix: str
    agent: str

    def ask(self, call_key: str, amount: int, **changes: Any) -> Ask:
        now_ms = time.time_ns() // 1_000_000
        scopes = [
            (Scope(ScopeKind.AGENT, self.agent), Period.DAY),
            (Scope(ScopeKind.GLOBAL), Period.DAY),
            (Scope(ScopeKind.GLOBAL), Period.MONTH),
            (Scope(ScopeKind.RUN, f"{self.prefix}run"), Period.RUN),
        ]
        lines = tuple(
            BudgetLine(scope, period, windows(period, now_ms, ZoneInfo("UTC"))) for scope, period in scopes
        )
        values: dict[str, Any] = {"run_id": f"{self.prefix}run", "step": 1, **changes}
        opened = Opened(
            "", call_key, 0, self.authority.process_id, self.agent, "balanced", "sim/steady", "sim",
            "steady", amount, **values,
        )  # fmt: skip
        return Ask(opened, lines)

    async def admit(self, call_key: str, amount: int = 1000, *, provider: str = "sim") -> Reservation:
        ask = self.ask(call_key, amount)
        ask = replace(ask, opened=replace(ask.opened, provider=provider))
        reservation = await self.authority.admit(ask)
        assert isinstance(reservation, Reservation), reservation
        return reservation

    async def settle(self, reservation: Reservation, cost: int, **changes: Any) -> str:
        return await self.authority.close_attempt(settlement(reservation.attempt_id, cost, **changes))

    async def counters(self) -> dict[str, tuple[int, int, int]]:
        """(spent, held, in doubt) of every counter."""
        return {
            b.counter: (b.spent_nano_usd, b.held_nano_usd, b.in_doubt_nano_usd)
            for b in await self.authority.budgets()
        }

    async def forget(self) -> None:
        """Redis loses everything that curb keeps there."""
        keys = [key async for key in self.redis.scan_iter(match=f"{self.prefix}*", count=1000)]
        if keys:
            await self.redis.delete(*keys)


def settlement(attempt_id: str, cost: int = 0, state: str = "settled", **changes: Any) -> Settlement:
    values = {"basis": "usage", "status": "success", **changes}
    return Settlement(attempt_id=attempt_id, state=state, cost_nano_usd=cost, **values)


@asynccontextmanager
async def open_books(
    redis_url: str, database_url: str, *, prefix: str = "", process_id: str = "", **changes: Any
) -> AsyncIterator[Books]:
    """Connect; a new prefix is a new and empty Redis as far as curb can see."""
    prefix = prefix or f"t{secrets.token_hex(4)}:"
    process_id = process_id or f"p-{secrets.token_hex(4)}"
    authority = await Authority.connect(
        redis_url, process_id=process_id, config=config(**changes), prefix=prefix
    )
    raw = redis.asyncio.Redis.from_url(redis_url, decode_responses=True)
    try:
        async with await Store.connect(database_url, pool_size=4, wait_seconds=2) as store:
            yield Books(authority, store, raw, prefix, f"agent-{prefix[:-1]}")
    finally:
        await raw.aclose()
        await authority.close()
