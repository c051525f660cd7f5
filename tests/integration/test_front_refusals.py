"""Every kind of no, in the shape that each family's real client understands."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import anthropic
import openai
import pytest

from gateway.http.endpoint import Limits
from gateway.keys import Principal
from gateway.policy.money import usd
from tests.integration.front import ANYBODY, Front, open_front
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
BOTH = pytest.mark.parametrize("path", [CHAT, MESSAGES])
GPT, CLAUDE = "gpt-5-mini@say-40", "claude-sonnet-4-5@say-40"
HELLO: Any = [{"role": "user", "content": "Hello"}]
_AGENTS = (f"refused-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    manners = (
        "",
        "+invalid",
        "+auth",
        "+context-length",
        "+refuse",
        "+500",
        "+429-7",
        "+slow-stream-20",
        "+hang-0",
    )
    every = [f"{model}{manner}" for model in (GPT, CLAUDE) for manner in manners]
    limits = Limits(body_bytes=40_000, call_seconds=20, silence_seconds=10)
    given = config(simulator.url, ("quick", every))
    async with open_front(given, Servers(redis_url, database), simulator, limits=limits) as opened:
        yield opened


@pytest.fixture
def agent() -> str:
    return next(_AGENTS)


def named(path: str, manner: str = "") -> str:
    return f"openai/{GPT}{manner}" if path == CHAT else f"anthropic/{CLAUDE}{manner}"


async def asks(front: Front, path: str, model: str, *, agent: str = "anybody", **more: Any) -> None:
    """Ask with the family's own client."""
    headers = {"X-Curb-Agent": agent}
    if path == CHAT:
        client = front.openai.chat.completions
        await client.create(model=model, messages=HELLO, max_tokens=60, extra_headers=headers, **more)
    else:
        await front.anthropic.messages.create(
            model=model, messages=HELLO, max_tokens=60, extra_headers=headers, **more
        )


async def refused(front: Front, path: str, model: str, **more: Any) -> Any:
    """The error that the family's own client raises."""
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as raised:
        await asks(front, path, model, **more)
    return raised.value


def curb_of(error: Any) -> dict[str, Any]:
    """The numbers in an error's body."""
    body = error.body.get("error", error.body)
    found: dict[str, Any] = body["curb"]
    return found


async def limit(front: Front, agent: str, nano_usd: int) -> None:
    await front.world.limit(**{f"agent__{agent}": nano_usd})


@BOTH
async def test_a_call_that_no_budget_can_hold_is_402_with_the_numbers(
    front: Front, path: str, agent: str
) -> None:
    await limit(front, agent, 10)

    error = await refused(front, path, named(path), agent=agent)

    assert error.status_code == 402
    numbers = curb_of(error)
    assert (numbers["kind"], numbers["scope"], numbers["limit_usd"]) == (
        "never_fits",
        f"agent:{agent}",
        "0.00000001",
    )


@BOTH
@pytest.mark.parametrize("stream", [False, True])
async def test_a_spent_budget_is_402_until_the_reset(
    front: Front, path: str, agent: str, stream: bool
) -> None:
    await asks(front, path, named(path), agent=agent)
    spent = (await front.world.parts.authority.utilization(agent)).spent_nano_usd
    await limit(front, agent, usd("0.05"))
    asked = (await front.attempts_of_agent(agent))[0]["reserved_nano_usd"]
    await limit(front, agent, asked + spent - 1)

    error = await refused(front, path, named(path), agent=agent, stream=stream)

    assert error.status_code == 402
    assert curb_of(error)["kind"] == "exhausted"
    assert curb_of(error)["retry_at"].endswith("00:00:00.000Z")
    assert int(error.response.headers["retry-after"]) > 0
    await front.booked()


@BOTH
async def test_a_budget_that_others_hold_is_429_and_soon_over(front: Front, path: str, agent: str) -> None:
    slow = asyncio.create_task(asks(front, path, named(path, "+hang-0"), agent=agent))
    await limit(front, agent, await front.until_held(agent))

    error = await refused(front, path, named(path), agent=agent)

    assert error.status_code == 429
    assert curb_of(error)["kind"] == "contended"
    assert int(error.response.headers["retry-after"]) in (1, 2)
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    await front.booked()


@BOTH
@pytest.mark.parametrize("switch", ["kill:global", "kill:agent:{agent}"])
async def test_a_switch_is_403_and_named(front: Front, path: str, agent: str, switch: str) -> None:
    name = switch.format(agent=agent)
    await front.world.parts.authority.set_switch(name, "manual:adam:runaway_loop")
    try:
        error = await refused(front, path, named(path), agent=agent)
    finally:
        await front.world.parts.authority.clear_switch(name)

    assert error.status_code == 403
    assert curb_of(error)["kind"] == "switched"
    assert "manual:adam:runaway_loop" in str(error)


@BOTH
async def test_a_day_that_is_spent_is_402_also_where_its_switch_says_so(
    front: Front, path: str, agent: str
) -> None:
    name = f"kill:agent:{agent}"
    await front.world.parts.authority.set_switch(name, "auto:budget:day", expires_ms=60_000)

    error = await refused(front, path, named(path), agent=agent)

    assert error.status_code == 402
    assert curb_of(error)["retry_at"]
    await front.world.parts.authority.clear_switch(name)


@BOTH
async def test_a_throttled_agent_with_a_call_in_flight_is_429(front: Front, path: str, agent: str) -> None:
    await front.world.parts.authority.set_switch(f"throttle:agent:{agent}", "manual:test:slower")
    slow = asyncio.create_task(asks(front, path, named(path, "+hang-0"), agent=agent))
    await front.until_held(agent)

    error = await refused(front, path, named(path), agent=agent)

    assert (error.status_code, curb_of(error)["kind"]) == (429, "throttled")
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    await front.world.parts.authority.clear_switch(f"throttle:agent:{agent}")
    await front.booked()


@BOTH
@pytest.mark.parametrize(("manner", "seconds"), [("+500", "1"), ("+429-7", "7")])
async def test_a_provider_that_is_down_is_503_with_its_retry_after(
    front: Front, path: str, manner: str, seconds: str
) -> None:
    error = await refused(front, path, named(path, manner))

    assert (error.status_code, curb_of(error)["kind"]) == (503, "unavailable")
    assert error.response.headers["retry-after"] == seconds
    await front.booked()


@BOTH
@pytest.mark.parametrize(
    ("manner", "code", "words"),
    [
        ("+invalid", "invalid_value", "Invalid value for a parameter"),
        ("+context-length", "context_length_exceeded", "prompt is too long"),
        ("+refuse", "content_filter", "Output blocked"),
    ],
)
async def test_what_a_provider_refuses_for_good_is_400_in_its_words(
    front: Front, path: str, manner: str, code: str, words: str
) -> None:
    error = await refused(front, path, named(path, manner))

    assert error.status_code == 400
    assert words in str(error)
    if path == CHAT:
        assert error.code == code
    await front.booked()


@BOTH
async def test_a_provider_that_refuses_curbs_key_is_not_the_clients_fault(front: Front, path: str) -> None:
    error = await refused(front, path, named(path, "+auth"))

    assert error.status_code == 502
    assert "Incorrect API key" not in str(error)


@BOTH
async def test_an_unknown_model_is_404_with_the_known_ones(front: Front, path: str) -> None:
    error = await refused(front, path, "gpt-99")

    assert isinstance(error, openai.NotFoundError | anthropic.NotFoundError)
    assert "quick" in str(error)
    assert named(path) in str(error)


@BOTH
async def test_a_key_asks_only_for_what_is_in_its_scopes(front: Front, path: str) -> None:
    front.keys.principal = replace(ANYBODY, tiers=frozenset({"quick"}), agent="bound")
    try:
        model = await refused(front, path, named(path), agent="bound")
        other = await refused(front, path, "quick", agent="somebody-else")
    finally:
        front.keys.principal = ANYBODY

    assert (model.status_code, other.status_code) == (403, 403)
    assert "x-curb-agent" in str(other)


async def test_a_key_without_the_role_may_not_call(front: Front) -> None:
    front.keys.principal = Principal("kview", "viewer", roles=frozenset({"viewer"}))
    try:
        error = await refused(front, CHAT, named(CHAT))
    finally:
        front.keys.principal = ANYBODY

    assert error.status_code == 403


def _nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    """A request whose content, and whose field `google`, is nested so deeply."""
    deep = opening * depth + b"1" + closing * depth
    return b'{"model":"quick","messages":[{"role":"user","content":[%s]}],"google":%s}' % (deep, deep)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"model": "quick"}', 400),
        (b'{"model": "quick", "messages": "hello"}', 400),
        (b'{"model": "quick", "messages": [1]}', 400),
        (b'{"model": "quick", "messages": [{}], "max_tokens": -1}', 400),
        (b'{"model": "quick", "messages": [{}], "max_tokens": true}', 400),
        (b'{"model": "quick", "messages": [{}], "temperature": NaN}', 400),
        (b'{"model": "quick", "messages": [{}], "temperature": 1e999}', 400),
        (b'{"model": ["quick"], "messages": [{}]}', 400),
        (b'{"model": "quick", "messages": [{}], "stream": "yes"}', 400),
        (b"[" * 10_000, 400),
        (b'{"a":' * 3_000 + b"1" + b"}" * 3_000, 400),
        (_nested(b'{"type":"tool_result","content":[', b"]}", 400), 400),
        (_nested(b'{"google":', b"}", 800), 400),
        (b'{"model": "quick", "messages": [{"role": "user", "content": "\xff"}]}', 400),
        (b" " * 50_000, 413),
    ],
)
@BOTH
async def test_what_makes_no_sense_is_refused_before_anything_is_held(
    front: Front, path: str, body: bytes, status: int
) -> None:
    answer = await front.post(path, body)

    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert await front.held() == 0


async def test_other_paths_and_methods_are_404(front: Front) -> None:
    answer = await front.post("/v1/nothing", {})

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "POST /v1/nothing: nothing is here"
