"""The narrow places between looking, holding, sending, storing and settling."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import redis.asyncio as redis

from gateway.calls import Completion, ModelRequest
from gateway.errors import NotFound
from gateway.policy.refusals import Refusal, RefusalKind
from tests.integration.databases import migrated_database
from tests.integration.world import World, call, config, open_world
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

_KEYS = itertools.count()


@pytest.fixture
def database(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "one_bill_per_call") as url:
        yield url


@pytest.fixture
async def world(
    redis_url: str, database: str, simulator: SimulatedProvider, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    models = getattr(request, "param", ["gpt-5-mini@say"])
    async with redis.from_url(redis_url) as client:
        await client.flushdb()
    given = config(simulator.url, ("balanced", models))
    async with open_world(given, Servers(redis_url, database), simulator) as opened:
        yield opened


def key() -> str:
    return f"http:narrow:{next(_KEYS)}"


async def test_an_answer_stored_between_the_first_look_and_admission_is_not_bought_again(
    world: World,
) -> None:
    """The second caller has looked for an answer, and assembles its prompt while the first is answered."""
    gateway, before = world.parts.gateway, world.invoice()
    first = call(key())
    assert isinstance(first.request, ModelRequest)
    words = first.request

    async def slowly() -> ModelRequest:
        assert isinstance(await gateway.complete(first), Completion)
        return words

    second = await gateway.complete(replace(first, request=slowly))

    assert isinstance(second, Completion)
    assert second.replayed
    assert world.invoice() - before == second.cost_nano_usd
    assert await world.ledger() == second.cost_nano_usd
    assert all(b.held_nano_usd == b.in_doubt_nano_usd == 0 for b in await world.parts.authority.budgets())


async def test_an_answer_that_cannot_be_stored_is_settled_all_the_same(world: World) -> None:
    before = world.invoice()
    with pytest.raises(NotFound):
        await world.parts.gateway.complete(replace(call(key()), conversation_id="no-such-conversation"))

    assert await world.ledger() == world.invoice() - before > 0
    assert all(b.held_nano_usd == b.in_doubt_nano_usd == 0 for b in await world.parts.authority.budgets())


@pytest.mark.parametrize("world", [["gpt-5-mini@say+slow-stream-20"]], indirect=True)
@pytest.mark.parametrize("model", ["gpt-5-mini@say+slow-stream-20", "openai/gpt-5-mini@say+slow-stream-20"])
async def test_a_model_switch_cuts_by_either_name_of_the_model(world: World, model: str) -> None:
    """On the wire or as a deployment: admission knows both, and so does the watcher."""
    running = asyncio.create_task(world.parts.gateway.complete(call(name := key())))
    while not world.simulator.invoice(f"{name}#1"):
        await asyncio.sleep(0.01)

    await world.parts.authority.set_switch(f"kill:model:{model}", "manual:test:cut")
    refusal = await running

    assert isinstance(refusal, Refusal)
    assert refusal.kind is RefusalKind.SWITCHED
    await world.ledger()
    [row] = await world.parts.store.attempts.of_call(name)
    assert (row["state"], row["status"]) == ("in_doubt", "killed")
