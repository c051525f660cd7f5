"""A small world for tests that buy: a gateway with its upkeep, on real servers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gateway.calls import Call, Caller, Message, ModelRequest, Text
from gateway.config import Deployment, GatewayConfig, Provider, Tier
from gateway.drainer import Drainer
from gateway.policy.money import NanoUsd
from gateway.policy.scopes import Period
from gateway.reconcile import resolve
from gateway.usage import SimulatorInvoice
from tests.integration.waiting import until
from tests.simulated import SimulatedProvider
from worker.wiring import Parts, Servers, open_parts


def config(
    simulator_url: str, *tiers: tuple[str, Sequence[str]], budgets: dict[str, NanoUsd] | None = None
) -> GatewayConfig:
    """Tiers of simulated models, cheapest first; Claude speaks Anthropic's wire, all others OpenAI's."""
    models = {model for _, names in tiers for model in names}
    return GatewayConfig(
        providers={
            "openai": Provider("openai", "openai", f"{simulator_url}/v1", responses=True, batches=True),
            "anthropic": Provider("anthropic", "anthropic", simulator_url, batches=True),
        },
        deployments={f"{_provider(model)}/{model}": _deployment(model) for model in models},
        tiers=tuple(
            Tier(name, tuple(f"{_provider(m)}/{m}" for m in names), (budgets or {}).get(name))
            for name, names in tiers
        ),
    )


def _provider(model: str) -> str:
    return "anthropic" if model.startswith("claude") else "openai"


def _deployment(model: str) -> Deployment:
    provider = _provider(model)
    name = f"{provider}/{model}"
    kind: Literal["chat", "embedding"] = "embedding" if model.startswith("text-embedding") else "chat"
    priced = model.partition("@")[0]
    return Deployment(name, provider, model, price_model=priced, max_output_tokens=200_000, kind=kind)


@dataclass
class World:
    """Parts with upkeep running."""

    parts: Parts
    simulator: SimulatedProvider

    async def limit(self, **limits: int) -> None:
        """Set daily limits: `limit(agent__coder=..., global_=...)`, in nano-dollars."""
        table = {(name.strip("_").replace("__", ":"), Period.DAY): amount for name, amount in limits.items()}
        version = await self.parts.store.budgets.apply_policy(
            {scope: NanoUsd(amount) for scope, amount in table.items()}, source=str(limits), applied_by="test"
        )
        await self.parts.authority.apply_limits(version, table)

    async def ledger(self) -> int:
        """Everything in the ledger, once the outbox is empty."""
        drainer = Drainer(self.parts.authority, self.parts.store, "the-test")
        assert await drainer.drain_all(within_seconds=10)
        totals = await self.parts.store.attempts.totals()
        return totals.ledger_nano_usd

    async def booked(self, *, adopted: int = 0) -> int:
        """The ledger in nano-dollars, once doubts are resolved: it equals the provider's invoice, and the
        counters equal it. adopted: so many requests went past curb."""
        assert await self.parts.gateway.booker.drain(5)
        await until(self._invoiced)
        report = await resolve(
            self.parts.authority,
            self.parts.store,
            SimulatorInvoice(self.simulator.url),
            min_age_seconds=0,
            drain_seconds=5,
        )
        assert report.ok, report.differences
        assert report.adopted == adopted
        assert report.ledger_nano_usd == report.invoice_nano_usd
        return report.ledger_nano_usd

    async def held(self) -> int:
        """Everything that is held or in doubt, over all counters."""
        budgets = await self.parts.authority.budgets()
        return sum(budget.held_nano_usd + budget.in_doubt_nano_usd for budget in budgets)

    async def _invoiced(self) -> bool:
        return all(row["state"] == "final" for row in self.simulator.invoice())

    def invoice(self) -> int:
        return sum(row["amount_nano_usd"] for row in self.simulator.invoice())


@contextlib.asynccontextmanager
async def open_world(
    gateway_config: GatewayConfig, servers: Servers, simulator: SimulatedProvider
) -> AsyncIterator[World]:
    async with open_parts(gateway_config, servers) as parts:
        tasks = [asyncio.create_task(parts.rebuilder.run()), asyncio.create_task(parts.drainer.run())]
        try:
            await parts.rebuilder.until_open()
            yield World(parts, simulator)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def call(key: str, tier: str = "balanced", *, agent: str = "coder", words: str = "Say hello.") -> Call:
    return Call(
        key=key,
        caller=Caller(agent=agent),
        request=ModelRequest(
            messages=(Message(role="user", parts=(Text(text=words),)),), max_output_tokens=200
        ),
        tier=tier,
        timeout_seconds=10,
        total_timeout_seconds=20,
    )


def with_run(given: Call, run_id: str, budget_nano_usd: int | None = None) -> Call:
    """The same call as a step of a run."""
    return replace(given, caller=replace(given.caller, run_id=run_id), run_budget_nano_usd=budget_nano_usd)
