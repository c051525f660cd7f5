"""Batches whose followers die at the worst moments: nothing is bought twice, nothing is lost."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import redis.asyncio as redis

from gateway.batches.following import Follower, NotYet
from gateway.batches.opening import BatchAsk, BatchDesk, api_of
from gateway.calls import Caller, Settlement, WireRequest
from gateway.config import BatchRules, FamilyName
from gateway.errors import StateUnavailable
from gateway.http.wires import ANTHROPIC, OPENAI
from gateway.policy.refusals import Refusal
from gateway.providers.batches import Sending
from gateway.reconcile import resolve
from gateway.store.batches import Batch
from gateway.usage import SimulatorInvoice
from tests.integration.front import Front, open_front
from tests.integration.waiting import until
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

GPT, CLAUDE = "gpt-5-mini@say-40", "claude-sonnet-4-5@say-40"
HELLO: Any = [{"role": "user", "content": "Hello"}]
SECONDS = 0.5


@dataclass
class Nobody:
    """Has batches followed by nobody: tests do it by hand."""

    started: list[str] = field(default_factory=list)
    fails: bool = False

    async def __call__(self, batch_id: str) -> None:
        if self.fails:
            raise StateUnavailable("Temporal does not answer")
        self.started.append(batch_id)


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    given = config(simulator.url, ("quick", [GPT, CLAUDE, f"{GPT}+hang-0", f"{CLAUDE}+hang-0"]))
    given = replace(given, batches=BatchRules(poll_seconds=0.02, send_seconds=SECONDS))
    async with open_front(given, Servers(redis_url, database), simulator) as opened:
        yield opened


def ask(family: FamilyName, name: str, manner: str = "") -> BatchAsk:
    model = f"openai/{GPT}{manner}" if family == "openai" else f"anthropic/{CLAUDE}{manner}"
    document = {"model": model, "messages": HELLO, "max_tokens": 100}
    request: WireRequest = (OPENAI if family == "openai" else ANTHROPIC).read(document, {}).wire()
    return BatchAsk(
        id=f"batch_{name}",
        caller=Caller(agent=name, key_id="ktest", endpoint="/v1/batches"),
        family=family,
        endpoint="/v1/chat/completions" if family == "openai" else "/v1/messages",
        model=model,
        requests=[(f"r{n}", request) for n in range(3)],
    )


async def taken_on(front: Front, wanted: BatchAsk) -> Batch:
    batch = await BatchDesk(front.world.parts.gateway, Nobody()).open(wanted)
    assert isinstance(batch, Batch)
    return batch


async def followed(front: Front, batch_id: str) -> Batch:
    """To its end, as a worker would."""
    follower = Follower(front.world.parts.gateway)
    await until(lambda: _done(follower, batch_id))
    return await front.world.parts.store.batches.get(batch_id)


async def _done(follower: Follower, batch_id: str) -> bool:
    try:
        if not await follower.submit(batch_id):
            return True
        if not await follower.look(batch_id):
            return False
        await follower.settle(batch_id)
    except NotYet:
        return False
    return True


def invoiced(front: Front, batch: Batch) -> list[dict[str, Any]]:
    return [row for row in front.world.simulator.invoice() if row["client_request_id"] == batch.attempt_id]


@pytest.mark.parametrize("family", ["openai", "anthropic"])
async def test_every_step_done_twice_is_done_once(front: Front, family: FamilyName) -> None:
    batch = await taken_on(front, ask(family, f"twice-{family}"))
    for _ in range(2):
        batch = await followed(front, batch.id)
        await Follower(front.world.parts.gateway).settle(batch.id)

    assert batch.state == "ended"
    assert len(invoiced(front, batch)) == 1
    assert await front.booked() > 0
    assert await front.held() == 0


async def test_who_dies_after_handing_it_in_finds_it_again(front: Front) -> None:
    batch = await taken_on(front, ask("openai", "found"))
    store = front.world.parts.store
    assert await store.batches.begin(batch.id)
    await hand_in(front, batch)  # and the answer never came

    batch = await followed(front, batch.id)

    assert batch.state == "ended"
    assert len(invoiced(front, batch)) == 1
    await front.booked()
    assert await front.held() == 0


async def test_who_dies_before_handing_it_in_leaves_it_to_the_next(front: Front) -> None:
    batch = await taken_on(front, ask("openai", "next"))
    assert await front.world.parts.store.batches.begin(batch.id)

    batch = await followed(front, batch.id)

    assert batch.state == "ended"
    assert len(invoiced(front, batch)) == 1
    await front.booked()


@pytest.mark.parametrize("sent", [True, False])
async def test_where_nobody_can_tell_it_is_in_doubt_and_never_sent_again(front: Front, sent: bool) -> None:
    batch = await taken_on(front, ask("anthropic", f"lost-{sent}"))
    assert await front.world.parts.store.batches.begin(batch.id)
    if sent:
        await hand_in(front, batch)

    batch = await followed(front, batch.id)

    assert batch.state == "lost"
    assert "cannot say" in batch.error
    assert len(invoiced(front, batch)) == sent
    [row] = await front.attempts_of_agent(f"lost-{sent}")
    assert row["state"] == "in_doubt"
    assert row["estimate_nano_usd"] == batch.asked_nano_usd
    await front.booked()
    assert await front.held() == 0


async def hand_in(front: Front, batch: Batch) -> None:
    gateway = front.world.parts.gateway
    upload = await front.world.parts.store.batches.upload(batch.id)
    sending = Sending(batch.endpoint, upload, batch.id, batch.attempt_id)
    provider = gateway.config.providers[batch.provider]
    await api_of(batch.family).create(gateway.http, provider, sending, begin=_at_once)


async def _at_once() -> Callable[[], None]:
    return lambda: None


async def test_nobody_to_follow_it_means_nothing_is_held(front: Front) -> None:
    desk = BatchDesk(front.world.parts.gateway, Nobody(fails=True))

    with pytest.raises(StateUnavailable, match="Temporal"):
        await desk.open(ask("openai", "unfollowed"))

    assert (await front.world.parts.store.batches.get("batch_unfollowed")).state == "failed"
    assert await front.held() == 0


async def test_what_a_dead_front_door_held_is_given_back(front: Front, monkeypatch: Any) -> None:
    """It died after the hold and before the row said so."""
    parts = front.world.parts
    monkeypatch.setattr("gateway.batches.following._OPENING_SECONDS", 0.0)
    desk, store = BatchDesk(parts.gateway, Nobody()), parts.store
    monkeypatch.setattr(store.batches, "move", _dies)
    with pytest.raises(Died):
        await desk.open(ask("openai", "dead"))
    assert await front.until_held("dead") > 0
    monkeypatch.undo()
    monkeypatch.setattr("gateway.batches.following._OPENING_SECONDS", 0.0)

    batch = await followed(front, "batch_dead")

    assert batch.state == "failed"
    assert invoiced(front, batch) == []
    await front.booked()
    assert await front.held() == 0


class Died(BaseException):
    """kill -9, as far as the rest of the program sees it."""


async def _dies(*arguments: Any, **more: Any) -> bool:
    raise Died


async def test_a_front_door_that_was_too_slow_gives_its_hold_back(front: Front, monkeypatch: Any) -> None:
    class Hasty(Nobody):
        """Gives up before the row says that the money is held."""

        async def __call__(self, batch_id: str) -> None:
            assert not await Follower(front.world.parts.gateway).submit(batch_id)

    monkeypatch.setattr("gateway.batches.following._OPENING_SECONDS", 0.0)
    desk = BatchDesk(front.world.parts.gateway, Hasty())

    outcome = await desk.open(ask("openai", "slow-door"))

    assert isinstance(outcome, Refusal)
    await front.booked()
    assert await front.held() == 0


async def test_redis_emptied_under_a_batch_is_rebuilt_and_the_batch_settled(
    front: Front, redis_url: str
) -> None:
    batch = await taken_on(front, ask("openai", "emptied"))
    follower = Follower(front.world.parts.gateway)
    assert await follower.submit(batch.id)
    await front.world.ledger()
    async with redis.from_url(redis_url) as client:
        await client.flushdb()
    await until(lambda: _open_again(front))
    assert await front.held() >= batch.asked_nano_usd

    batch = await followed(front, batch.id)

    assert batch.state == "ended"
    assert len(invoiced(front, batch)) == 1
    await front.booked()
    assert await front.held() == 0


async def test_reconciling_leaves_a_batch_that_runs_alone(front: Front) -> None:
    """In doubt or not, a batch may be billed for more than anybody knows of yet."""
    parts = front.world.parts
    batch = await taken_on(front, ask("openai", "reconciled"))
    assert await Follower(parts.gateway).submit(batch.id)
    await parts.authority.close_attempt(Settlement(attempt_id=batch.attempt_id, state="in_doubt"))
    await front.world.ledger()

    for usage in (None, SimulatorInvoice(front.world.simulator.url)):
        await resolve(parts.authority, parts.store, usage, min_age_seconds=0, estimate_after_seconds=0)

    assert await front.held() >= batch.asked_nano_usd
    batch = await followed(front, batch.id)
    assert batch.cost_nano_usd > 0
    await front.booked()
    assert await front.held() == 0


async def _open_again(front: Front) -> bool:
    parts = front.world.parts
    try:
        await parts.authority.budgets()
        return (await parts.authority.epoch_state()).open
    except StateUnavailable:
        return False


async def test_what_was_settled_at_an_estimate_is_corrected_by_the_results(front: Front) -> None:
    parts = front.world.parts
    batch = await taken_on(front, ask("openai", "corrected"))
    follower = Follower(parts.gateway)
    assert await follower.submit(batch.id)
    early = Settlement(attempt_id=batch.attempt_id, state="settled", basis="estimate", cost_nano_usd=1)
    await parts.authority.close_attempt(early)
    await front.world.ledger()

    batch = await followed(front, batch.id)

    assert batch.cost_nano_usd > 1
    await front.booked()
    assert await front.held() == 0


async def test_what_was_settled_before_it_left_never_leaves(front: Front) -> None:
    parts = front.world.parts
    batch = await taken_on(front, ask("openai", "settled-early"))
    early = Settlement(attempt_id=batch.attempt_id, state="settled", basis="not_sent")
    await parts.authority.close_attempt(early)

    batch = await followed(front, batch.id)

    assert batch.state == "failed"
    assert invoiced(front, batch) == []
    await front.booked()


async def test_one_that_is_cancelled_before_it_left_never_leaves(front: Front) -> None:
    batch = await taken_on(front, ask("openai", "early"))
    assert await front.world.parts.store.batches.cancel(batch.id, "ktest")

    batch = await followed(front, batch.id)

    assert batch.state == "failed"
    assert invoiced(front, batch) == []
    await front.booked()
    assert await front.held() == 0


async def test_a_provider_that_is_away_is_asked_again(front: Front) -> None:
    batch = await taken_on(front, ask("anthropic", "away"))
    gateway = front.world.parts.gateway
    provider = gateway.config.providers["anthropic"]
    gateway.config.providers["anthropic"] = replace(provider, base_url="http://127.0.0.1:9")
    try:
        with pytest.raises(NotYet):
            await Follower(gateway).submit(batch.id)
    finally:
        gateway.config.providers["anthropic"] = provider

    batch = await followed(front, batch.id)

    assert batch.state == "ended"
    await front.booked()
