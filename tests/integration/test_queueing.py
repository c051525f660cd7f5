"""Calls wait in line for deployments at their rate limit, where their tier says so, and not for ever."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.calls import Completion
from gateway.config import GatewayConfig
from gateway.policy.refusals import Refusal, RefusalKind
from tests.integration.waiting import until
from tests.integration.world import World, call, config, open_world
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

BUSY_ONCE, BUSY, WELL = "gpt-5-mini@say-3+429-1-once", "gpt-5-mini@say-4+429-2", "gpt-5-mini@say-5"
LONG, DEAR, CHEAP = "gpt-5-mini@say-6+429-60", "claude-sonnet-4-5@say-7", "gpt-5-mini@say-8"
QUEUES = {"patient": 20.0, "short": 0.5, "hasty": 20.0, "elsewhere": 20.0, "full": 20.0}
_KEYS = itertools.count()


def given(url: str) -> GatewayConfig:
    base = config(
        url,
        ("patient", [BUSY_ONCE]),
        ("degrading", [BUSY_ONCE]),
        ("short", [LONG]),
        ("hasty", [BUSY]),
        ("full", [LONG.replace("60", "5")]),
        ("elsewhere", [BUSY, WELL]),
        ("cheapest", [DEAR, CHEAP]),
        ("shared", [WELL, CHEAP]),
    )
    changed: dict[str, dict[str, Any]] = {
        **{name: {"queue_seconds": seconds} for name, seconds in QUEUES.items()},
        "cheapest": {"prefer": "cheapest"},
        "shared": {"weights": {f"openai/{WELL}": 3, f"openai/{CHEAP}": 1}},
    }
    tiers = tuple(replace(tier, **changed.get(tier.name, {})) for tier in base.tiers)
    return replace(base, tiers=tiers, queue_calls=2)


@pytest.fixture(scope="module")
async def world(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[World]:
    async with open_world(given(simulator.url), Servers(redis_url, database), simulator) as opened:
        yield opened


async def asked(world: World, tier: str) -> tuple[Completion | Refusal, list[str]]:
    """What a call came to, and the states of its attempts."""
    key = f"http:queue:{next(_KEYS)}"
    outcome = await world.parts.gateway.complete(call(key, tier))
    assert await world.ledger() == world.invoice()
    rows = await world.parts.store.attempts.of_call(key)
    return outcome, [row["error_type"] or "answered" for row in sorted(rows, key=lambda row: row["number"])]


async def test_a_call_waits_for_its_turn_and_is_answered(world: World) -> None:
    outcome, attempts = await asked(world, "patient")

    assert isinstance(outcome, Completion)
    assert attempts == ["rate_limited", "answered"]
    assert world.parts.gateway.line.waiting == 0


async def test_without_a_line_it_is_refused_with_the_moment_to_come_again(world: World) -> None:
    outcome, attempts = await asked(world, "degrading")

    assert isinstance(outcome, Refusal)
    assert (outcome.kind, attempts) == (RefusalKind.UNAVAILABLE, ["rate_limited"])
    assert outcome.retry_at_ms


async def test_nobody_waits_for_what_comes_after_the_end_of_the_line(world: World) -> None:
    outcome, attempts = await asked(world, "short")

    assert isinstance(outcome, Refusal)
    assert attempts == ["rate_limited"]


async def test_waiting_ends_with_the_attempts(world: World) -> None:
    outcome, attempts = await asked(world, "hasty")

    assert isinstance(outcome, Refusal)
    assert attempts == ["rate_limited"] * len(attempts)
    assert 1 < len(attempts) <= 3


async def test_another_deployment_goes_before_waiting(world: World) -> None:
    outcome, attempts = await asked(world, "elsewhere")

    assert isinstance(outcome, Completion)
    assert outcome.deployment == f"openai/{WELL}"
    assert attempts[-1] == "answered"


async def test_who_finds_no_place_in_the_line_is_refused_with_its_length(world: World) -> None:
    line = world.parts.gateway.line
    waiting = [asyncio.create_task(line.wait(60_000)) for _ in range(2)]

    async def both() -> bool:
        return line.waiting == 2

    await until(both)
    try:
        outcome, _ = await asked(world, "full")
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(outcome, Refusal)
    assert "2 calls wait in line" in outcome.detail
    assert line.waiting == 0


async def test_the_cheapest_goes_first_where_the_tier_prefers_it(world: World) -> None:
    outcome, _ = await asked(world, "cheapest")

    assert isinstance(outcome, Completion)
    assert outcome.deployment == f"openai/{CHEAP}"


async def test_a_tier_shares_out_its_calls_by_weight(world: World) -> None:
    keys = [f"http:shared:{number}" for number in range(40)]
    outcomes = [await world.parts.gateway.complete(call(key, "shared")) for key in keys]

    answered = [each.deployment for each in outcomes if isinstance(each, Completion)]
    assert len(answered) == 40
    assert answered.count(f"openai/{WELL}") > answered.count(f"openai/{CHEAP}") > 0
