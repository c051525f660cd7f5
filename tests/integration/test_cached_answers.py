"""The cache of answers: who gets what was bought before, what that costs, and who does not."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.agents import Agent
from gateway.calls import Call, Completion
from gateway.config import CacheRules, GatewayConfig, SemanticRules
from gateway.keys import Principal
from gateway.policy.refusals import Refusal
from gateway.store.cached import CachedAnswer
from tests.integration.front import ANYBODY, Front, open_front
from tests.integration.waiting import until
from tests.integration.world import call, config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
GPT, CLAUDE, SMALL = (
    "openai/gpt-5-mini@say-40",
    "anthropic/claude-sonnet-4-5@say-40",
    "text-embedding-3-small",
)
ENDPOINTS = pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
EITHER_WAY = pytest.mark.parametrize("stream", [False, True])


def configured(url: str, cache: CacheRules) -> GatewayConfig:
    models = [
        "gpt-5-mini@say-40",
        "claude-sonnet-4-5@say-40",
        "gpt-5-mini@steady-2",
        "gpt-5-mini@say-40+no-usage",
    ]
    return replace(config(url, ("quick", models), ("vectors", [SMALL])), cache=cache)


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    rules = CacheRules(semantic=SemanticRules(f"openai/{SMALL}", threshold=0.8))
    agents = [Agent(name="similar", cache="semantic"), Agent(name="never", cache="off")]
    given = configured(simulator.url, rules)
    async with open_front(given, Servers(redis_url, database), simulator, agents=agents) as opened:
        yield opened


def asked(path: str, words: str, *, model: str = GPT, **more: Any) -> dict[str, Any]:
    limit = "max_output_tokens" if path == RESPONSES else "max_tokens"
    said = words if path == RESPONSES else [{"role": "user", "content": words}]
    return {
        "model": model,
        "input" if path == RESPONSES else "messages": said,
        limit: 90,
        "temperature": 0,
        **more,
    }


async def kept(front: Front, least: int) -> None:
    """Wait until so many answers are in the cache."""

    async def there() -> bool:
        rows = await front.world.parts.store._database.select("SELECT count(*) AS n FROM cached_answers", {})
        return bool(rows[0]["n"] >= least)

    await until(there)


def misses(front: Front) -> float:
    families = front.world.parts.metrics.registry.collect()
    samples = (sample for family in families for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "curb_cache_misses_total")


@pytest.fixture(autouse=True)
async def empty(front: Front) -> None:
    await front.world.parts.store.cached.forget()


@ENDPOINTS
@EITHER_WAY
async def test_the_same_request_is_bought_once(front: Front, path: str, stream: bool) -> None:
    body, before = asked(path, f"The same {path} {stream}", stream=stream), misses(front)
    first = await front.post(path, body)
    await kept(front, 1)
    invoiced = front.world.invoice()

    second = await front.post(path, body)

    assert misses(front) == before + 1

    assert (first.headers["x-curb-cache"], second.headers["x-curb-cache"]) == ("none", "hit")
    assert second.content == first.content
    assert second.headers["x-curb-cost"] == "0"
    assert float(second.headers["x-curb-saved"]) > 0
    assert front.world.invoice() == invoiced
    [row] = await front.attempts(second.headers["x-curb-call-id"])
    assert (row["state"], row["basis"], row["cached"], row["cost_nano_usd"]) == ("settled", "cache", True, 0)
    assert row["saved_nano_usd"] > 0
    await front.booked()
    assert await front.held() == 0


async def test_what_changes_nothing_in_the_answer_does_not_count(front: Front) -> None:
    await front.post(CHAT, asked(CHAT, "Of no account"))
    await kept(front, 1)

    again = await front.post(
        CHAT, asked(CHAT, "Of no account", user="bob", metadata={"a": "b"}, n=1, stop=None)
    )

    assert again.headers["x-curb-cache"] == "hit"


@pytest.mark.parametrize(
    "more",
    [{"temperature": 0.5}, {"max_tokens": 80}, {"model": CLAUDE}, {"stop": ["x"]}, {"seed": 4}, {"n": 2}],
)
async def test_what_may_change_the_answer_counts(front: Front, more: dict[str, Any]) -> None:
    await front.post(CHAT, asked(CHAT, "Of account"))
    await kept(front, 1)

    other = await front.post(CHAT, {**asked(CHAT, "Of account"), **more})

    assert other.headers["x-curb-cache"] == "none"


async def test_chance_is_cached_only_where_it_is_asked_for(front: Front) -> None:
    body = {**asked(CHAT, "By chance"), "temperature": 0.7}
    for _ in range(2):
        assert (await front.post(CHAT, body)).headers["x-curb-cache"] == "none"

    await front.post(CHAT, body, {"x-curb-cache": "exact"})
    await kept(front, 1)
    assert (await front.post(CHAT, body, {"x-curb-cache": "exact"})).headers["x-curb-cache"] == "hit"


async def test_who_does_not_want_it_does_not_get_it(front: Front) -> None:
    body = asked(CHAT, "Not for me")
    await front.post(CHAT, body)
    await kept(front, 1)

    for headers in ({"x-curb-cache": "off"}, {"x-curb-agent": "never"}):
        assert (await front.post(CHAT, body, headers)).headers["x-curb-cache"] == "none"


@pytest.mark.parametrize(
    ("said", "why"), [("perhaps", "off, exact or semantic"), ("semantic", "needs an agent with")]
)
async def test_other_words_are_an_error(front: Front, said: str, why: str) -> None:
    answer = await front.post(CHAT, asked(CHAT, "Hello"), {"x-curb-cache": said})

    assert answer.status_code == 400
    assert why in answer.json()["error"]["message"]


async def test_answers_are_not_given_across_keys(front: Front) -> None:
    await front.post(CHAT, asked(CHAT, "A secret"))
    await kept(front, 1)
    front.keys.principal = Principal("kother", "other", rate_tier="")
    try:
        other = await front.post(CHAT, asked(CHAT, "A secret"))
    finally:
        front.keys.principal = ANYBODY

    assert other.headers["x-curb-cache"] == "none"


async def test_who_asks_for_another_edition_of_the_api_gets_no_answer_of_this_one(front: Front) -> None:
    for beta in ("", "something-2026-01-01"):
        headers = {"anthropic-version": "2023-06-01", **({"anthropic-beta": beta} if beta else {})}
        answer = await front.post(MESSAGES, asked(MESSAGES, "An edition", model=CLAUDE), headers)
        assert answer.status_code == 200
        assert answer.headers["x-curb-cache"] == "none"
        await kept(front, 1)


async def test_a_switch_stops_free_answers_too(front: Front) -> None:
    body, authority = asked(CHAT, "Switched"), front.world.parts.authority
    await front.post(CHAT, body, {"x-curb-agent": "stopped"})
    await kept(front, 1)
    await authority.set_switch("kill:agent:stopped", "manual:test:enough")
    try:
        refused = await front.post(CHAT, body, {"x-curb-agent": "stopped"})
    finally:
        await authority.clear_switch("kill:agent:stopped")

    assert refused.status_code == 403


async def test_answers_that_ask_for_tools_are_not_kept(front: Front) -> None:
    function = {
        "name": "list_files",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
    }
    tools = [{"type": "function", "function": function}]
    body = asked(CHAT, "List them", model="openai/gpt-5-mini@steady-2", tools=tools)

    for _ in range(2):
        answer = await front.post(CHAT, body)
        assert answer.json()["choices"][0]["finish_reason"] == "tool_calls"
        assert answer.headers["x-curb-cache"] == "none"


async def test_answers_whose_price_is_not_known_are_not_kept(front: Front) -> None:
    body = asked(CHAT, "No usage", model=f"{GPT}+no-usage")

    for _ in range(2):
        assert (await front.post(CHAT, body)).headers["x-curb-cache"] == "none"
    await front.booked()


@EITHER_WAY
async def test_similar_words_share_an_answer(front: Front, stream: bool) -> None:
    def body(words: str, **more: Any) -> dict[str, Any]:
        return {**asked(CHAT, words, **more), "temperature": 0.7, "stream": stream}

    words = "please tell me what the capital city of the country of France is called today"
    like = "please tell me what the capital city of the country of France is called now"
    who = {"x-curb-agent": "similar", "x-curb-user": f"u-{stream}"}
    first = await front.post(CHAT, body(words), who)
    await kept(front, 1)

    second = await front.post(CHAT, body(like), who)
    unlike = await front.post(CHAT, body("how many legs does a spider have"), who)
    elsewhere = await front.post(CHAT, body(like), {**who, "x-curb-user": "somebody-else"})
    system = {"role": "system", "content": "Be rude."}
    changed = {**body(like), "messages": [system, {"role": "user", "content": like}]}
    ruder = await front.post(CHAT, changed, who)

    assert second.headers["x-curb-cache"] == "similar"
    assert second.content == first.content
    assert [each.headers["x-curb-cache"] for each in (unlike, elsewhere, ruder)] == ["none"] * 3
    await front.booked()


async def test_without_vectors_a_call_is_bought_as_if_there_were_no_cache(front: Front) -> None:
    authority = front.world.parts.authority
    await authority.set_switch(f"kill:model:openai/{SMALL}", "manual:test:no vectors")
    try:
        answer = await front.post(CHAT, asked(CHAT, "No vectors"), {"x-curb-agent": "similar"})
    finally:
        await authority.clear_switch(f"kill:model:openai/{SMALL}")

    assert (answer.status_code, answer.headers["x-curb-cache"]) == (200, "none")


async def test_a_hundred_at_once_are_all_answered_and_booked(front: Front) -> None:
    body = asked(CHAT, "All at once")
    answers = await asyncio.gather(*(front.post(CHAT, body) for _ in range(100)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["choices"][0]["message"]["content"] for answer in answers}) == 1
    await front.booked()
    assert await front.held() == 0


async def test_calls_of_runs_are_cached_where_their_agent_wants_it(front: Front) -> None:
    gateway = front.world.parts.gateway

    async def ask(key: str, **more: Any) -> Completion:
        given: Call = replace(call(key, GPT, words="As a run", agent="run"), **more)
        outcome = await gateway.complete(given)
        assert not isinstance(outcome, Refusal)
        return outcome

    first = await ask("run-cache-1", cache="exact")
    await kept(front, 1)
    second = await ask("run-cache-2", cache="exact")
    third = await ask("run-cache-3")

    assert (first.cached, second.cached, third.cached) == (False, True, False)
    assert second.message == first.message
    assert (await ask("run-cache-2", cache="exact")).replayed


async def test_answers_end_and_are_removed(front: Front) -> None:
    store = front.world.parts.store
    answer = await front.world.parts.gateway.complete(call("ending", GPT))
    assert isinstance(answer, Completion)
    mine = CachedAnswer("short", answer.message, GPT, "", 5)

    await store.cached.keep(mine, 0.0)
    assert await store.cached.find("short") is None
    await store.cached.keep(replace(mine, key="long"), 60.0)

    rows = await store._database.select("SELECT key FROM cached_answers", {})
    assert [row["key"] for row in rows] == ["long"]


async def test_it_can_be_switched_off(redis_url: str, database: str, simulator: SimulatedProvider) -> None:
    given = configured(simulator.url, CacheRules(off=True))
    async with open_front(given, Servers(redis_url, database), simulator) as off:
        for _ in range(2):
            answer = await off.post(CHAT, asked(CHAT, "Off"), {"x-curb-cache": "exact"})
            assert answer.headers["x-curb-cache"] == "none"
