"""What clients may try with a batch at the front door: every one of them is told what is true."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from gateway.batches.following import Follower
from gateway.batches.opening import BatchDesk, CannotBatch
from gateway.errors import StateUnavailable
from gateway.policy.money import usd
from tests.integration.front import Front, open_front
from tests.integration.test_batch_crashes import GPT, ask, followed
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

ORDER = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}


class Temporal:
    """Has batches followed by nobody; away when it is said to be."""

    def __init__(self) -> None:
        self.away = False
        self.waits: asyncio.Event | None = None
        self.entered = asyncio.Event()

    async def __call__(self, batch_id: str) -> None:
        self.entered.set()
        if self.waits is not None:
            await self.waits.wait()
        if self.away:
            raise StateUnavailable("Temporal does not answer")


TEMPORAL = Temporal()


@pytest.fixture(autouse=True)
def temporal_is_there() -> None:
    TEMPORAL.away, TEMPORAL.waits = False, None


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    given = config(simulator.url, ("quick", [GPT]))
    async with open_front(given, Servers(redis_url, database), simulator, batches=TEMPORAL) as opened:
        yield opened


def line(name: str, **more: Any) -> dict[str, Any]:
    body = {
        "model": f"openai/{GPT}",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 20,
        **more,
    }
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


async def order(front: Front, *lines: dict[str, Any], **headers: str) -> Any:
    """A batch of these lines, asked for under these headers."""
    content = b"\n".join(json.dumps(each).encode() for each in lines or (line("one"),))
    file = await front.openai.files.create(file=("in.jsonl", content), purpose="batch")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await front.post("/v1/batches", {**ORDER, "input_file_id": file.id}, named)


async def test_a_call_that_is_named_like_a_batch_is_no_attempt_of_it(front: Front) -> None:
    batch = (await order(front, x_curb_agent="named")).json()
    await front.until_held("named")

    answer = await front.post(
        "/v1/chat/completions", line("x")["body"], {"idempotency-key": batch["id"], "x-curb-agent": "named"}
    )

    assert answer.status_code == 200
    assert (await followed(front, batch["id"])).state == "ended"
    await front.booked()
    assert await front.held() == 0


async def test_who_is_asked_again_while_it_is_taken_on_says_so(front: Front) -> None:
    content = json.dumps(line("one")).encode()
    file = await front.openai.files.create(file=("in.jsonl", content), purpose="batch")
    asked, named = {**ORDER, "input_file_id": file.id}, {"idempotency-key": "at-once"}
    TEMPORAL.waits, TEMPORAL.entered = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(front.post("/v1/batches", asked, named))
    await TEMPORAL.entered.wait()

    second = await front.post("/v1/batches", asked, named)
    TEMPORAL.waits.set()
    TEMPORAL.waits = None

    assert second.status_code == 503
    assert "another key" not in second.text
    assert (await first).status_code == 200
    third = await front.post("/v1/batches", asked, named)
    assert third.json()["id"] == (await first).json()["id"]
    await followed(front, third.json()["id"])
    await front.booked()


@pytest.mark.parametrize("why", ["money", "temporal"])
async def test_what_was_not_taken_on_may_be_asked_for_again_under_its_name(front: Front, why: str) -> None:
    content = json.dumps(line("one")).encode()
    file = await front.openai.files.create(file=("in.jsonl", content), purpose="batch")
    asked, agent = {**ORDER, "input_file_id": file.id}, f"again-{why}"
    named = {"idempotency-key": f"again-{why}", "x-curb-agent": agent}
    if why == "money":
        await front.world.limit(**{f"agent__{agent}": 1})
    TEMPORAL.away = why == "temporal"
    for _ in range(3):
        assert (await front.post("/v1/batches", asked, named)).status_code == (402 if why == "money" else 503)
    if why == "money":
        await front.world.limit(**{f"agent__{agent}": usd("1")})
    TEMPORAL.away = False

    batch = await front.post("/v1/batches", asked, named)
    same = await front.post("/v1/batches", asked, named)

    assert batch.status_code == 200, batch.text
    assert same.json()["id"] == batch.json()["id"]
    assert (await followed(front, batch.json()["id"])).state == "ended"
    assert len([row for row in await front.attempts_of_agent(agent) if row["state"] == "settled"]) == 1
    await front.booked()


async def test_more_than_any_budget_can_count_is_refused_in_words(front: Front) -> None:
    wanted = ask("openai", "absurd")
    dear = [(name, replace(request, n=10**12)) for name, request in wanted.requests]

    with pytest.raises(CannotBatch, match="more than"):
        await BatchDesk(front.world.parts.gateway, TEMPORAL).open(replace(wanted, requests=dear))

    assert await front.held() == 0


@pytest.mark.parametrize("name", ["\ud83d", "x" * 100_000, "\u202e\u0000", "名前"])
async def test_names_of_any_letters_come_back_as_they_were(front: Front, name: str) -> None:
    answer = await order(front, line(name), x_curb_agent="letters")

    assert answer.status_code == 200, answer.text
    batch = await followed(front, answer.json()["id"])
    content = await front.world.parts.store.files.content(batch.output_file_id, "ktest")
    if name.isprintable():
        assert json.loads(content)["custom_id"] == name
    await front.booked()


@pytest.mark.parametrize("limit", ["²", "٣", "1e3", "-1", "+5", "999999999999999999999"])
async def test_a_page_of_any_size_is_refused_in_words(front: Front, limit: str) -> None:
    async with httpx.AsyncClient(base_url=front.url) as client:
        for path in ("/v1/batches", "/v1/messages/batches"):
            assert (await client.get(path, params={"limit": limit})).status_code == 400


async def test_a_key_keeps_so_many_files_and_no_more(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres has an end, and other keys need it too."""
    kept = await front.openai.files.create(file=("in.jsonl", b"x" * 600), purpose="batch")
    already = sum(file.bytes for file in (await front.openai.files.list(purpose="batch")).data)
    monkeypatch.setattr("gateway.http.files.MOST_KEPT_BYTES", already + 500)

    with pytest.raises(openai.APIStatusError, match="delete some"):
        await front.openai.files.create(file=("in.jsonl", b"x" * 600), purpose="batch")

    await front.openai.files.delete(kept.id)
    kept = await front.openai.files.create(file=("in.jsonl", b"x" * 600), purpose="batch")
    assert kept.bytes == 600


async def test_a_batch_that_is_cancelled_while_it_is_handed_in_is_cancelled_there(front: Front) -> None:
    batch = (await order(front)).json()
    follower = Follower(front.world.parts.gateway)
    await asyncio.gather(
        follower.submit(batch["id"]), front.openai.batches.cancel(batch["id"]), return_exceptions=True
    )

    done = await followed(front, batch["id"])

    assert done.state in ("failed", "ended")
    await front.booked()
    assert await front.held() == 0
