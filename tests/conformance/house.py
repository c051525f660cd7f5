"""The house that every surface buys in: a front door, a worker, one simulated provider, one set of books."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from temporalio.client import Client

from gateway.agents import Agent
from gateway.config import BatchRules
from gateway.policy.money import usd
from tests.integration.front import Front, open_front
from tests.integration.runs import Factory, serving
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.batches import batch_starter
from worker.wiring import Servers

GPT, CLAUDE = "gpt-5-mini@say-40", "claude-sonnet-4-5@say-40"
EMBEDDER = "text-embedding-3-small"
SLOW = "+slow-stream-40"
PYDANTIC_SLOW = "gpt-5-mini@say-60+slow-stream-40"  # of an agent in tests.integration.frameworks
MANNERS = ("", SLOW, "+cut", "+no-usage", "+500", "+429", "+invalid", "+hang-0")
OWN = str(Path(__file__).resolve().parents[1] / "integration/own_workflows.py")


@dataclass(frozen=True)
class Books:
    """What one surface has come to, in nano-dollars, by everybody who counts."""

    ledger: int
    invoice: int
    counters: dict[str, int]
    attempts: list[dict[str, Any]]


@dataclass(frozen=True)
class House:
    """front: the door and the world behind it. factory: the worker. servers: where state and store are."""

    front: Front
    factory: Factory
    servers: Servers

    async def books(self, name: str) -> Books:
        """What is on the books for the agent, team and user of this name, once all doubts are resolved.

        The whole ledger equals the whole invoice then, and every counter the ledger.
        """
        await self.front.booked()
        assert await self.front.held() == 0
        rows = await self._attempts(name)
        invoice = {
            row["client_request_id"]: row["amount_nano_usd"] for row in self.front.world.simulator.invoice()
        }
        budgets = await self.front.world.parts.authority.budgets()
        return Books(
            ledger=sum(row["cost_nano_usd"] or 0 for row in rows),
            invoice=sum(invoice.get(row["attempt_id"], 0) for row in rows),
            counters={
                budget.counter.partition("|")[0].partition(":")[0]: budget.spent_nano_usd
                for budget in budgets
                if budget.scope in {f"{kind}:{name}" for kind in ("agent", "team", "user")}
                and budget.period == "day"
            },
            attempts=rows,
        )

    async def _attempts(self, name: str) -> list[dict[str, Any]]:
        rows = await self.front.world.parts.store.attempts.recent(limit=1000)
        return [dict(row) for row in rows if row["agent"] == name]


@contextlib.asynccontextmanager
async def open_house(
    client: Client, servers: Servers, simulator: SimulatedProvider, root: Path
) -> AsyncIterator[House]:
    models = [f"{model}{manner}" for model in (GPT, CLAUDE) for manner in MANNERS]
    given = config(
        simulator.url,
        ("quick", ["gpt-5-mini", "gpt-5-mini@say-12", PYDANTIC_SLOW, *models]),
        ("vectors", [EMBEDDER, f"{EMBEDDER}@say+no-usage"]),
        ("balanced", [f"{GPT}+500", CLAUDE]),
        ("frontier", [f"{CLAUDE}+429", GPT]),
    )
    given = replace(given, batches=BatchRules(poll_seconds=0.05))
    own = list(_agents(root))
    async with (
        open_front(given, servers, simulator, agents=own, batches=batch_starter(client)) as front,
        serving(client, servers, given, own, tools=[OWN]) as factory,
    ):
        yield House(front, factory, servers)


def _agents(root: Path) -> Iterator[Agent]:
    tools = ("list_files", "read_file", "write_file")
    tiers = {"run": "openai/gpt-5-mini", "run-falls-back": "balanced", "run-killed": f"openai/{GPT}{SLOW}"}
    for name, tier in tiers.items():
        yield Agent(
            name=name, tier=tier, tools=tools, root=str(root), team=name, run_budget_nano_usd=usd("1")
        )


def names(surfaces: Sequence[Any]) -> list[str]:
    """For pytest's ids."""
    return [surface.name for surface in surfaces]
