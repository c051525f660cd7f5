"""Gateway.complete against real Valkey, PostgreSQL and a provider that bills."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import redis.asyncio as redis

from gateway.calls import Completion
from gateway.policy.money import usd
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.providers.errors import ProviderError
from tests.integration.databases import migrated_database
from tests.integration.world import World, call, config, open_world, with_run
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

_KEYS = itertools.count()


@pytest.fixture
def database(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "gateway_complete") as url:
        yield url


@pytest.fixture
async def world(
    redis_url: str, database: str, simulator: SimulatedProvider, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    """`@pytest.mark.parametrize("world", [models], indirect=True)`: the models of the tier balanced."""
    models = getattr(request, "param", ["gpt-5-mini@say"])
    async with redis.from_url(redis_url) as client:
        await client.flushdb()
    tiers = [("quick", ["gpt-5-mini@say"]), ("balanced", models), ("frontier", ["claude-sonnet-4-5@say"])]
    async with open_world(config(simulator.url, *tiers), Servers(redis_url, database), simulator) as opened:
        yield opened


def key() -> str:
    return f"http:test:{next(_KEYS)}"


async def test_a_call_is_answered_and_booked_at_what_the_provider_bills(world: World) -> None:
    before = world.invoice()

    answer = await world.parts.gateway.complete(call(key()))

    assert isinstance(answer, Completion)
    assert answer.message.text
    assert answer.cost_nano_usd == world.invoice() - before > 0
    assert await world.ledger() == answer.cost_nano_usd


async def test_the_same_call_again_is_replayed_for_free(world: World) -> None:
    name = key()
    first = await world.parts.gateway.complete(call(name))
    billed = world.invoice()

    second = await world.parts.gateway.complete(call(name))

    assert isinstance(first, Completion)
    assert isinstance(second, Completion)
    assert second.replayed
    assert second.message == first.message
    assert world.invoice() == billed


async def test_two_callers_of_one_call_get_one_answer_and_one_bill(world: World) -> None:
    before, name = world.invoice(), key()

    both = await asyncio.gather(*(world.parts.gateway.complete(call(name)) for _ in range(2)))

    first, second = both
    assert isinstance(first, Completion)
    assert isinstance(second, Completion)
    assert first.message == second.message
    assert world.invoice() - before == first.cost_nano_usd


async def test_a_call_that_no_budget_can_hold_never_reaches_the_provider(world: World) -> None:
    await world.limit(agent__coder=10)
    billed = world.invoice()

    refusal = await world.parts.gateway.complete(call(key()))

    assert isinstance(refusal, Refusal)
    assert refusal.kind is RefusalKind.NEVER_FITS
    assert (refusal.scope, refusal.limit_nano_usd) == ("agent:coder", 10)
    assert refusal.asked_nano_usd > 10
    assert world.invoice() == billed


async def test_a_run_spends_its_budget_and_is_then_refused_as_exhausted(world: World) -> None:
    budget = usd("0.002")
    bought, refusal = 0, None
    while not isinstance(refusal, Refusal):
        refusal = await world.parts.gateway.complete(with_run(call(key()), "r1", budget))
        bought += 1

    assert bought > 1
    assert refusal.kind is RefusalKind.EXHAUSTED
    assert refusal.spent_nano_usd + refusal.asked_nano_usd > budget
    assert refusal.spent_nano_usd <= budget


@pytest.mark.parametrize("world", [["gpt-5-mini@say+500", "claude-sonnet-4-5@say"]], indirect=True)
async def test_an_outage_falls_back_to_the_next_deployment_with_its_own_row(world: World) -> None:
    answer = await world.parts.gateway.complete(call(name := key()))

    assert isinstance(answer, Completion)
    assert answer.deployment == "anthropic/claude-sonnet-4-5@say"
    await world.ledger()
    rows = await world.parts.store.attempts.of_call(name)
    assert [(row["state"], row["status"], row["cost_nano_usd"] > 0) for row in rows] == [
        ("settled", "error", False),
        ("settled", "success", True),
    ]


@pytest.mark.parametrize("world", [["gpt-5-mini@say+cut"]], indirect=True)
async def test_a_cut_stream_is_in_doubt_at_its_bound(world: World) -> None:
    before = world.invoice()

    refusal = await world.parts.gateway.complete(call(name := key()))

    assert isinstance(refusal, Refusal)
    assert refusal.kind is RefusalKind.UNAVAILABLE
    assert refusal.attempts == 1
    await world.ledger()
    [row] = await world.parts.store.attempts.of_call(name)
    assert row["state"] == "in_doubt"
    assert row["reserved_nano_usd"] >= world.invoice() - before > 0


@pytest.mark.parametrize("world", [["gpt-5-mini@say+invalid"]], indirect=True)
async def test_what_no_retry_mends_is_raised_and_costs_nothing(world: World) -> None:
    with pytest.raises(ProviderError) as failed:
        await world.parts.gateway.complete(call(key()))

    assert failed.value.kind.value == "invalid_request"
    assert await world.ledger() == 0


@pytest.mark.parametrize("world", [["gpt-5-mini@say+slow-stream-20"]], indirect=True)
async def test_a_switch_set_by_anyone_cuts_the_call_in_flight(world: World) -> None:
    gateway = world.parts.gateway
    running = asyncio.create_task(gateway.complete(call(name := key())))
    while not world.simulator.invoice(f"{name}#1"):
        await asyncio.sleep(0.01)

    await world.parts.authority.set_switch("kill:agent:coder", "manual:test:cut")
    refusal = await running

    assert isinstance(refusal, Refusal)
    assert (refusal.kind, refusal.scope) == (RefusalKind.SWITCHED, "agent:coder")
    again = await gateway.complete(call(key()))
    assert isinstance(again, Refusal)
    assert again.kind is RefusalKind.SWITCHED
    await world.parts.authority.clear_switch("kill:agent:coder")
    await world.ledger()
    [row] = await world.parts.store.attempts.of_call(name)
    assert (row["state"], row["status"]) == ("in_doubt", "killed")


async def test_a_caller_that_goes_away_leaves_its_attempt_on_the_books(world: World) -> None:
    running = asyncio.create_task(world.parts.gateway.complete(call(name := key())))
    while not world.simulator.invoice(f"{name}#1") and not running.done():
        await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    await world.parts.gateway.booker.drain(5)
    await world.ledger()
    [row] = await world.parts.store.attempts.of_call(name)
    assert row["state"] in ("in_doubt", "settled")


async def test_a_soft_tier_budget_takes_the_next_cheaper_tier(world: World) -> None:
    await world.limit(tier__frontier=1)

    answer = await world.parts.gateway.complete(call(key(), "frontier"))

    assert isinstance(answer, Completion)
    assert answer.deployment == "openai/gpt-5-mini@say"


async def test_a_cost_aware_agent_takes_the_tier_that_its_day_still_allows(world: World) -> None:
    await world.limit(agent__coder=usd("0.02"))
    for _ in range(8):
        dear = await world.parts.gateway.complete(replace(call(key(), "frontier"), cost_aware=True))
    spent = (await world.parts.authority.utilization("coder")).spent_nano_usd
    await world.limit(agent__coder=spent * 100 // 55)  # 45 % are left

    cheap = await world.parts.gateway.complete(replace(call(key(), "frontier"), cost_aware=True))

    assert isinstance(dear, Completion)
    assert dear.deployment == "anthropic/claude-sonnet-4-5@say"
    assert isinstance(cheap, Completion)
    assert cheap.deployment == "openai/gpt-5-mini@say"


async def test_an_unknown_model_is_refused_and_never_free(world: World) -> None:
    refusal = await world.parts.gateway.complete(call(key(), "no-such-tier"))

    assert isinstance(refusal, Refusal)
    assert refusal.kind is RefusalKind.INVALID
    assert "no-such-tier" in refusal.detail
