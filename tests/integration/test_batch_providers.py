"""What providers may do to a batch, and what happens around it: bought once, and all of it on the books."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.batches.following import Follower, NotYet
from gateway.config import BatchRules
from gateway.errors import StateUnavailable
from gateway.providers.errors import ProviderError
from tests.integration.batch_gate import BatchGate, Changed, batch_gate
from tests.integration.front import Front, open_front
from tests.integration.test_batch_crashes import CLAUDE, GPT, SECONDS, ask, followed, invoiced, taken_on
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

KEYS = ("GATED_KEY_1", "GATED_KEY_2")


@pytest.fixture(scope="module")
async def gate(simulator: SimulatedProvider) -> AsyncIterator[BatchGate]:
    async with batch_gate(simulator.url) as opened:
        yield opened


@pytest.fixture(scope="module")
async def house(
    redis_url: str, database: str, simulator: SimulatedProvider, gate: BatchGate
) -> AsyncIterator[Front]:
    given = config(gate.url, ("quick", [GPT, CLAUDE, f"{GPT}+hang-0"]))
    given = replace(given, batches=BatchRules(poll_seconds=0.02, send_seconds=SECONDS))
    given.providers["openai"] = replace(given.providers["openai"], api_key_env=KEYS[0], api_key_envs=KEYS[1:])
    async with open_front(given, Servers(redis_url, database), simulator) as opened:
        yield opened


@pytest.fixture
def front(house: Front, gate: BatchGate, monkeypatch: pytest.MonkeyPatch) -> Front:
    for moods in (gate.before, gate.after, gate.changed):
        moods.clear()
    for name in KEYS:
        monkeypatch.setenv(name, f"secret of {name}")
    return house


async def patiently(front: Front, batch_id: str) -> Any:
    """Followed as Temporal would: whatever a step raises, it is done again."""
    while True:
        try:
            return await followed(front, batch_id)
        except ProviderError:
            await asyncio.sleep(0)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_batch_that_a_server_took_although_it_said_it_failed_is_found(
    front: Front, gate: BatchGate, status: int
) -> None:
    batch = await taken_on(front, ask("openai", f"took-{status}"))
    gate.after["POST /v1/batches"] = [status]

    batch = await patiently(front, batch.id)

    assert batch.state == "ended"
    assert len(invoiced(front, batch)) == 1
    await front.booked()
    assert await front.held() == 0


@pytest.mark.parametrize("step", ["POST /v1/files", "POST /v1/batches", "GET /v1/batches/", "GET /v1/files/"])
@pytest.mark.parametrize("status", [401, 404, 429, 500])
async def test_a_provider_that_says_no_once_to_any_request_is_asked_again_or_has_not_taken_it(
    front: Front, gate: BatchGate, step: str, status: int
) -> None:
    batch = await taken_on(front, ask("openai", f"no-{status}-{step.split('/')[2]}-{step[0]}"))
    gate.before[step] = [status]

    batch = await patiently(front, batch.id)

    refused = status == 404 and step.startswith("POST")
    assert batch.state == ("failed" if refused else "ended")
    assert len(invoiced(front, batch)) == (not refused)
    await front.booked()
    assert await front.held() == 0


async def test_what_one_key_handed_in_is_found_although_another_does_not_see_it(
    front: Front, gate: BatchGate
) -> None:
    for number in range(2):  # whichever key's turn it is
        batch = await taken_on(front, ask("openai", f"scattered-{number}"))
        gate.after["POST /v1/batches"] = [504]

        batch = await patiently(front, batch.id)

        assert batch.state == "ended"
        assert len(invoiced(front, batch)) == 1
    assert len(set(gate.owners.values())) == 2
    await front.booked()


async def test_a_switch_that_is_set_before_it_left_keeps_it_here(front: Front) -> None:
    batch = await taken_on(front, ask("openai", "kept"))
    await front.world.parts.authority.set_switch("kill:agent:kept", "manual:test:enough")
    try:
        batch = await followed(front, batch.id)
    finally:
        await front.world.parts.authority.clear_switch("kill:agent:kept")

    assert batch.state == "failed"
    assert "switch" in batch.error
    assert invoiced(front, batch) == []
    await front.booked()
    assert await front.held() == 0


async def test_who_was_held_up_sends_nothing_once_his_time_is_over(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He stood still right after the row said `sending`; somebody else looked, found nothing, and sent it."""
    parts = front.world.parts
    batch = await taken_on(front, ask("openai", "held-up"))
    began, wakes = asyncio.Event(), asyncio.Event()
    begin = parts.store.batches.begin

    async def slowly(id: str) -> Any:
        since = await begin(id)
        if not began.is_set():
            began.set()
            await wakes.wait()
        return since

    monkeypatch.setattr(parts.store.batches, "begin", slowly)
    zombie = asyncio.create_task(Follower(parts.gateway).submit(batch.id))
    await began.wait()
    done = await followed(front, batch.id)
    wakes.set()

    with pytest.raises(NotYet):
        await zombie
    assert (await parts.store.batches.get(batch.id)).state == done.state == "ended"
    assert len(invoiced(front, batch)) == 1
    await front.booked()


async def test_who_comes_too_late_takes_nobody_elses_turn_away(front: Front) -> None:
    batches = front.world.parts.store.batches
    batch = await taken_on(front, ask("openai", "turns"))
    first = await batches.begin(batch.id)
    assert first is not None
    assert await batches.move(batch.id, "sending", "held", since=first)
    second = await batches.begin(batch.id)

    assert not await batches.move(batch.id, "sending", "held", since=first)

    assert await batches.move(batch.id, "sending", "held", since=second)
    assert (await followed(front, batch.id)).state == "ended"
    await front.booked()


async def test_redis_away_at_the_wrong_moment_loses_no_batch(front: Front) -> None:
    """Anthropic's cannot be looked for: nothing that may fail stands between `sending` and the request."""
    parts = front.world.parts
    batch = await taken_on(front, ask("anthropic", "redis-away"))
    await parts.authority.close_epoch("a test")

    batch = await patiently_open(front, batch.id)

    assert batch.state == "ended"
    await front.booked()


async def patiently_open(front: Front, batch_id: str) -> Any:
    while True:
        try:
            return await followed(front, batch_id)
        except StateUnavailable:
            await asyncio.sleep(0)


def _cut_short(content: bytes) -> bytes:
    return b"\n".join(content.splitlines()[:2])


def _no_results(content: bytes) -> bytes:
    return b"<html>sorry</html>"


def _torn(content: bytes) -> bytes:
    return content[: len(content) - 20]


async def test_one_that_nobody_could_follow_is_in_doubt(front: Front) -> None:
    batch = await taken_on(front, ask("openai", "given-up"))
    follower = Follower(front.world.parts.gateway)
    assert await follower.submit(batch.id)

    await follower.give_up(batch.id)

    assert (await front.world.parts.store.batches.get(batch.id)).state == "lost"
    [row] = await front.attempts_of_agent("given-up")
    assert (row["state"], row["estimate_nano_usd"]) == ("in_doubt", batch.asked_nano_usd)
    await front.booked()


async def test_one_that_was_never_sent_and_is_given_up_is_given_back(front: Front) -> None:
    batch = await taken_on(front, ask("openai", "given-back"))

    await Follower(front.world.parts.gateway).give_up(batch.id)

    assert (await front.world.parts.store.batches.get(batch.id)).state == "failed"
    assert await front.held() == 0
    await front.booked()


async def impatiently(front: Front, batch_id: str) -> Any:
    """Followed until its results make no sense, and settled all the same."""
    with pytest.raises(ProviderError):
        await followed(front, batch_id)
    await Follower(front.world.parts.gateway).settle(batch_id, patient=False)
    return await front.world.parts.store.batches.get(batch_id)


@pytest.mark.parametrize("changed", [_cut_short, _torn, _no_results])
async def test_answers_that_are_missing_from_the_results_are_in_doubt(
    front: Front, gate: BatchGate, changed: Changed
) -> None:
    batch = await taken_on(front, ask("openai", f"missing{changed.__name__}"))
    gate.changed["GET /v1/files/"] = changed

    batch = await impatiently(front, batch.id)

    assert batch.state == "ended"
    [row] = await front.attempts_of_agent(batch.opened["agent"])
    assert row["state"] == "in_doubt"
    assert row["estimate_nano_usd"] > 0
    assert await front.world.parts.store.files.content(batch.output_file_id, "ktest")
    await front.booked()


async def test_results_that_are_gone_leave_it_in_doubt(front: Front, gate: BatchGate) -> None:
    batch = await taken_on(front, ask("openai", "gone"))
    gate.changed["GET /v1/batches/"] = lambda content: json.dumps(
        {**json.loads(content), "output_file_id": None}
    ).encode()

    batch = await impatiently(front, batch.id)

    [row] = await front.attempts_of_agent("gone")
    assert row["state"] == "in_doubt"
    await front.booked()
