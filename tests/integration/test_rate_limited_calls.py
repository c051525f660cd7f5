"""Rate limits over the whole way: the gateway, its fallback, the record of what was refused, and runs."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis
from temporalio.client import Client

from gateway.agents import Agent
from gateway.calls import Call, Completion, Outcome
from gateway.config import GatewayConfig
from gateway.policy.rate_limits import HOUR_MS, Rate, RateLimits
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.store import Store
from gateway.store.violations import Violation
from tests.integration.runs import serving
from tests.integration.waiting import until
from tests.integration.world import World, call, config, open_world
from tests.rates import pass_time
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

LIMITS = RateLimits(
    scopes={"model:openai/gpt-5-mini@say": (Rate(2, HOUR_MS),), "agent:steady": (Rate(2, HOUR_MS),)},
    in_flight={"key:k9": 1},
)
_KEYS = itertools.count()


@pytest.fixture(scope="module")
def gateway_config(simulator: SimulatedProvider) -> GatewayConfig:
    tiers = [
        ("quick", ["gpt-5-mini@say-2"]),
        ("balanced", ["gpt-5-mini@say", "gpt-5-mini@say-3"]),
        ("frontier", ["gpt-5-mini@say-400+slow-stream-40"]),
        ("max", ["gpt-5-mini@say-4"]),
    ]
    return replace(config(simulator.url, *tiers), rate_limits=LIMITS)


@pytest.fixture(scope="module")
def servers(redis_url: str, database: str) -> Servers:
    return Servers(redis_url, database)


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator[Any]:
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        await redis.flushdb()
        yield redis


@pytest.fixture
async def world(
    raw: Any, servers: Servers, gateway_config: GatewayConfig, simulator: SimulatedProvider
) -> AsyncIterator[World]:
    async with open_world(gateway_config, servers, simulator) as opened:
        yield opened


@pytest.fixture
def address() -> str:
    """An address that nobody called from before."""
    return f"198.51.100.{next(_KEYS)}"


def client_call(tier: str = "quick", **caller: Any) -> Call:
    """A call as the front door makes one, under a call key of its own."""
    made = call(f"http:test:{next(_KEYS)}", tier)
    return replace(made, caller=replace(made.caller, **caller))


async def answers(world: World, *calls: Call) -> list[Outcome]:
    return [await world.parts.gateway.complete(each) for each in calls]


async def recorded(store: Store, scope: str) -> list[Violation]:
    """Rows of this scope, once there are any."""
    found: list[Violation] = []

    async def there() -> bool:
        found[:] = await store.violations.list(scope=scope)
        return bool(found)

    await until(there)
    return found


async def test_three_anonymous_calls_are_answered_and_two_refused_and_recorded(
    world: World, address: str
) -> None:
    anonymous: dict[str, Any] = {
        "rate_tier": "anonymous",
        "key_id": "anonymous",
        "address": address,
        "endpoint": "/v1/messages",
    }
    outcomes = await answers(world, *(client_call(**anonymous) for _ in range(5)))
    await world.parts.gateway.close()
    [row] = await recorded(world.parts.store, f"address:{address}")

    assert [type(outcome) for outcome in outcomes] == [Completion] * 3 + [Refusal] * 2
    for refusal in outcomes[3:]:
        assert isinstance(refusal, Refusal)
        assert (refusal.kind, refusal.rate_tier, refusal.rate_limit) == (
            RefusalKind.RATE_LIMITED,
            "anonymous",
            3,
        )
        assert refusal.retry_at_ms is not None
    assert (row.rule, row.tier, row.rate_limit, row.window_ms, row.refused) == (
        "tier",
        "anonymous",
        3,
        HOUR_MS,
        2,
    )
    assert (row.agent, row.key_id, row.address, row.endpoint) == (
        "coder",
        "anonymous",
        address,
        "/v1/messages",
    )
    assert row.first_at <= row.last_at


async def test_a_refusal_for_its_rate_is_no_row_in_the_ledger(world: World, address: str) -> None:
    first = {"rate_tier": "anonymous", "address": address}
    calls = [client_call(**first) for _ in range(4)]
    await answers(world, *calls)
    await world.ledger()

    rows = [await world.parts.store.attempts.of_call(each.key) for each in calls]

    assert [len(of_call) for of_call in rows] == [1, 1, 1, 0]


async def test_an_answer_that_is_given_again_counts_once(world: World, address: str) -> None:
    again = client_call(rate_tier="anonymous", address=address)
    outcomes = await answers(
        world, *[again] * 5, *(client_call(rate_tier="anonymous", address=address) for _ in "123")
    )

    assert [isinstance(outcome, Completion) for outcome in outcomes] == [True] * 7 + [False]


async def test_an_expensive_call_has_a_stricter_limit_by_tier_and_by_deployment(
    world: World, address: str
) -> None:
    free = {"rate_tier": "free", "key_id": f"k-{address}", "address": address}
    by_tier, by_name, cheap = await answers(
        world,
        client_call("max", **free),
        client_call("openai/gpt-5-mini@say-4", **free),
        client_call("quick", **free),
    )

    assert isinstance(by_tier, Completion)
    assert isinstance(by_name, Refusal)
    assert (by_name.rate_rule, by_name.rate_limit) == ("expensive", 1)
    assert isinstance(cheap, Completion)


async def test_a_model_that_is_asked_too_often_gives_way_to_the_tiers_next(world: World) -> None:
    outcomes = await answers(world, *(client_call("balanced") for _ in range(3)))

    models = [outcome.deployment for outcome in outcomes if isinstance(outcome, Completion)]
    assert models == ["openai/gpt-5-mini@say", "openai/gpt-5-mini@say", "openai/gpt-5-mini@say-3"]
    [by_name] = await answers(world, client_call("openai/gpt-5-mini@say"))
    assert isinstance(by_name, Refusal)
    assert (by_name.kind, by_name.scope) == (RefusalKind.RATE_LIMITED, "model:openai/gpt-5-mini@say")


async def test_a_key_may_have_so_many_calls_in_flight(world: World) -> None:
    slow = asyncio.create_task(world.parts.gateway.complete(client_call("frontier", key_id="k9")))

    async def in_flight() -> bool:
        return world.parts.gateway.watcher.polling

    await until(in_flight)
    [meanwhile] = await answers(world, client_call("quick", key_id="k9"))
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    [after] = await answers(world, client_call("quick", key_id="k9"))

    assert isinstance(meanwhile, Refusal)
    assert (meanwhile.scope, meanwhile.rate_rule) == ("key:k9", "in_flight")
    assert isinstance(after, Completion)


async def test_a_run_waits_for_its_turn_and_goes_on(
    raw: Any, temporal: Client, servers: Servers, gateway_config: GatewayConfig, tmp_path: Any
) -> None:
    steady = Agent(
        name="steady", tier="openai/gpt-5-mini", tools=("list_files", "read_file"), root=str(tmp_path)
    )
    more = config("", ("balanced", ["gpt-5-mini"])).deployments
    known = replace(gateway_config, deployments=gateway_config.deployments | more)
    async with serving(temporal, servers, known, [steady]) as factory:
        run = await factory.start("steady")
        reason = await factory.until_waiting(run, "rate")
        waiting = await factory.status(run)
        await pass_time(raw, HOUR_MS)
        await run.signal("wake")
        result = await run.result()

    assert reason == "rate_limited: agent:steady: the limit is 2 requests per hour"
    assert (waiting.status, waiting.step) == ("paused", 3)
    assert (result.status, result.steps) == ("completed", 4)
