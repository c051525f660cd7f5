"""/metrics under the names that are promised, saying what the ledger and Redis say."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
import redis.asyncio as redis
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.agents import Agent
from gateway.calls import Completion
from gateway.policy.money import NANO_PER_USD
from tests.integration.waiting import until
from tests.integration.world import World, call, config, open_world
from tests.simulated import SimulatedProvider
from worker.config import Config
from worker.shared_metrics import SharedState, shared_state
from worker.wiring import Servers

AGENT = Agent(name="idle", tier="balanced")
PROMISED = {
    "llm_tokens", "llm_cost_dollars", "llm_requests", "llm_request_duration_seconds", "llm_request_errors",
    "llm_budget_remaining_dollars", "llm_budget_utilization_ratio", "llm_monthly_budget_utilization",
    "llm_cost_velocity_dollars_per_minute", "llm_kill_switch_active", "llm_cache_hits", "llm_cache_hit_ratio",
    "agent_task_completion", "agent_steps_per_task", "agent_human_escalation", "llm_cost_total_usd",
}  # fmt: skip
Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
async def world(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[World]:
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()
    given = config(simulator.url, ("balanced", ["gpt-5-mini@say-20"]))
    async with open_world(given, Servers(redis_url, database), simulator) as opened:
        yield opened


@pytest.fixture
async def shared(world: World) -> AsyncIterator[SharedState]:
    parts = world.parts
    given = Config(gateway=parts.gateway.config, agents={AGENT.name: AGENT}, limits={})
    registry = parts.metrics.registry
    async with shared_state(registry, parts.authority, parts.store, given, given.agents) as opened:
        yield opened


async def scraped(world: World, shared: SharedState) -> Samples:
    """As a thread of its own sees it, after the last look has become old."""
    shared._at = float("-inf")
    text = await asyncio.to_thread(generate_latest, world.parts.metrics.registry)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def sample(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


async def bought(world: World, key: str, *, user: str, team: str) -> None:
    given = call(key, agent="counted")
    caller = replace(given.caller, user=user, team=team)
    outcome = await world.parts.gateway.complete(replace(given, caller=caller))
    assert isinstance(outcome, Completion)


async def test_every_promised_name_is_there(world: World, shared: SharedState) -> None:
    text = await asyncio.to_thread(generate_latest, world.parts.metrics.registry)
    names = {family.name for family in text_string_to_metric_families(text.decode())}
    assert names >= PROMISED


async def test_metrics_say_what_the_ledger_says(world: World, shared: SharedState) -> None:
    await world.limit(agent__counted=NANO_PER_USD)
    for number in range(3):
        await bought(world, f"metric-{number}", user="ann", team="red")
    spent = await world.ledger() / NANO_PER_USD
    await world.parts.store.usage.refresh()

    found = await scraped(world, shared)

    model = "openai/gpt-5-mini@say-20"
    assert sample(found, "llm_cost_dollars_total", agent="counted", model=model) == pytest.approx(spent)
    assert sample(
        found, "llm_cost_total_usd", model=model, user="ann", team="red", application=""
    ) == pytest.approx(spent)
    assert sample(found, "llm_requests_total", agent="counted", model=model, status="success") == 3
    assert sample(found, "llm_budget_remaining_dollars", agent="counted") == pytest.approx(1 - spent)
    assert sample(found, "llm_budget_utilization_ratio", agent="counted") == pytest.approx(spent)
    assert sample(found, "llm_cost_velocity_dollars_per_minute", agent="counted") > 0
    assert sample(found, "llm_cost_velocity_dollars_per_minute", agent="idle") == 0
    assert sample(found, "llm_cache_hit_ratio", agent="counted") == 0


async def test_switches_are_seen_whoever_set_them(world: World, shared: SharedState) -> None:
    authority = world.parts.authority
    await authority.set_switch("kill:agent:idle", "manual:ann:test")
    await authority.set_switch("throttle:agent:idle", "manual:ann:test")
    found = await scraped(world, shared)
    assert sample(found, "llm_kill_switch_active", scope="agent", target="idle") == 1
    assert sample(found, "llm_kill_switch_active", scope="throttle", target="idle") == 1

    await authority.clear_switch("kill:agent:idle")
    await authority.clear_switch("throttle:agent:idle")

    async def gone() -> bool:
        return not any(name == "llm_kill_switch_active" for name, _ in await scraped(world, shared))

    await until(gone)


async def test_many_who_scrape_cost_as_much_as_one(world: World, shared: SharedState) -> None:
    await scraped(world, shared)
    at = shared._at
    await asyncio.gather(*(shared.fresh() for _ in range(50)))
    assert shared._at == at
