"""/metrics under the names that are promised, saying what the ledger and Redis say."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis.asyncio as redis
from prometheus_client import generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from gateway.agents import Agent
from gateway.calls import Completion
from gateway.policy.health import Judgement, Standing
from gateway.policy.money import NANO_PER_USD
from gateway.store.traces import Marked
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
    given = config(simulator.url, ("broken", ["gpt-5-mini@say+cut"]), ("balanced", ["gpt-5-mini@say-20"]))
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


def sample(samples: Samples, name: str, /, **labels: str) -> float:
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


async def test_what_everybody_and_teams_have_spent_is_told_with_their_budgets(
    world: World, shared: SharedState
) -> None:
    await world.limit(global_=4 * NANO_PER_USD, team__red=2 * NANO_PER_USD)
    await bought(world, "house-1", user="ann", team="red")
    await world.ledger()
    spent = {
        state.scope: state.spent_nano_usd / NANO_PER_USD
        for state in await world.parts.authority.budgets()
        if state.period == "day" and state.scope in ("global", "team:red")
    }

    found = await scraped(world, shared)

    everybody, red = {"scope": "global", "name": ""}, {"scope": "team", "name": "red"}
    assert sample(found, "curb_spent_dollars", **everybody, period="day") == pytest.approx(spent["global"])
    assert sample(found, "curb_spent_dollars", **red, period="day") == pytest.approx(spent["team:red"])
    assert sample(found, "curb_spent_dollars", **red, period="month") >= spent["team:red"]
    ratio = "curb_budget_utilization_ratio"
    assert sample(found, ratio, **everybody, period="day") == pytest.approx(spent["global"] / 4)
    assert sample(found, ratio, **red, period="day") == pytest.approx(spent["team:red"] / 2)
    model = "openai/gpt-5-mini@say-20"
    assert sample(found, "curb_deployment_info", model=model, provider="openai") == 1


async def test_what_is_in_doubt_waits_or_failed_is_told(world: World, shared: SharedState) -> None:
    store, now = world.parts.store, datetime.now(UTC)
    before = await store.attempts.in_doubt()
    await world.parts.gateway.complete(call("doubt-1", "broken", agent="doubted"))
    await world.ledger()
    await store.backups.note(now - timedelta(hours=30), success=True)
    await store.backups.note(now, success=False, error_message="no space")
    await store.traces.aim(["otlp"])
    await store.traces.mark(["run:one", "run:two"])
    for _ in range(10):
        await store.traces.failed("otlp", [Marked("run:two", 1)], "no such place")

    found = await scraped(world, shared)

    assert sample(found, "curb_in_doubt_calls") > before.calls
    assert sample(found, "curb_in_doubt_dollars") > before.bound_nano_usd / NANO_PER_USD
    assert sample(found, "curb_backup_failed") == 1
    good = sample(found, "curb_backup_last_good_timestamp_seconds")
    assert good == pytest.approx((now - timedelta(hours=30)).timestamp())
    assert sample(found, "curb_trace_backlog", target="otlp") == 1
    assert sample(found, "curb_trace_backlog_age_seconds", target="otlp") >= 0
    assert sample(found, "curb_traces_refused", target="otlp") == 1
    assert sample(found, "curb_redis_memory_used_bytes") > 0
    assert sample(found, "curb_redis_memory_limit_bytes") == 0
    assert sample(found, "curb_redis_connections") >= 1


async def test_providers_are_told_as_they_were_last_judged(world: World, shared: SharedState) -> None:
    health, slot = world.parts.store.health, datetime.now(UTC)
    await health.hold(("openai", ""), Judgement(Standing("down", slot)), slot=slot, latency_ms=250)
    found = await scraped(world, shared)
    assert sample(found, "curb_provider_up", provider="openai") == 0
    assert sample(found, "curb_provider_latency_seconds", provider="openai") == 0.25


async def test_durations_lead_to_their_traces(world: World) -> None:
    given = call("exemplar-1", agent="traced")
    caller = replace(given.caller, trace_id="0af7651916cd43dd8448eb211c80319c")
    await world.parts.gateway.complete(replace(given, caller=caller))

    encode, kind = choose_encoder("application/openmetrics-text; version=1.0.0")

    told = encode(world.parts.metrics.registry).decode()
    assert kind.startswith("application/openmetrics-text")
    buckets = [line for line in told.splitlines() if 'agent="traced"' in line and " # {" in line]
    [line] = (line for line in buckets if line.startswith("llm_request_duration_seconds_bucket"))
    assert 'trace_id="0af7651916cd43dd8448eb211c80319c"' in line


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
