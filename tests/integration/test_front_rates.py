"""How often clients may ask: the body that they are refused with, and callers without a key."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import anthropic
import openai
import pytest

from gateway.http.endpoint import Limits
from gateway.keys import ANONYMOUS, Principal
from tests.integration.front import ANYBODY, Front, open_front
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GPT = "gpt-5-mini@say-10"
ASKED: dict[str, Any] = {
    "model": "quick", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20
}  # fmt: skip


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    given = config(simulator.url, ("quick", [GPT]), ("balanced", [GPT]))
    limits = Limits(upgrade_url="https://example.org/keys")
    async with open_front(given, Servers(redis_url, database), simulator, limits=limits) as opened:
        yield opened


@pytest.fixture
def called_by(front: Front) -> Iterator[Any]:
    """Change who calls, for one test."""

    def change(principal: Principal) -> None:
        front.keys.principal = principal

    yield change
    front.keys.principal = ANYBODY


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_the_eleventh_request_of_a_free_key_in_an_hour_is_429(
    front: Front, called_by: Any, path: str
) -> None:
    called_by(Principal(f"kfree{len(path)}", "free", rate_tier="free"))
    passed = [(await front.post(path, ASKED)).status_code for _ in range(10)]

    answer = await front.post(path, ASKED)

    assert passed == [200] * 10
    assert answer.status_code == 429
    body = answer.json()
    assert body["error"] == "Rate limit exceeded"
    assert "free tier is 10 requests per hour" in body["message"]
    assert (body["tier"], body["limit"], body["windowMs"]) == ("free", 10, 3_600_000)
    assert body["upgradeUrl"] == "https://example.org/keys"
    wait = int(answer.headers["retry-after"])
    assert 3_500 < wait <= 3_600
    assert datetime.fromisoformat(body["retryAfter"]).timestamp() == pytest.approx(
        datetime.now().astimezone().timestamp() + wait, abs=5
    )
    await front.booked()


async def test_real_clients_understand_it(front: Front, called_by: Any) -> None:
    called_by(Principal("kclients", "free", rate_tier="free"))
    for _ in range(10):
        await front.post(CHAT, ASKED)

    with pytest.raises(openai.RateLimitError) as chat:
        await front.openai.chat.completions.create(**ASKED)
    with pytest.raises(anthropic.RateLimitError) as messages:
        await front.anthropic.messages.create(**ASKED)

    for error in (chat.value, messages.value):
        assert "free tier is 10 requests per hour" in error.response.json()["message"]
        assert int(error.response.headers["retry-after"]) > 3_500


async def test_without_a_key_three_requests_pass_and_only_of_the_tiers_that_are_allowed(
    front: Front, called_by: Any
) -> None:
    called_by(replace(ANONYMOUS, tiers=frozenset({"quick"})))

    dear = await front.post(CHAT, {**ASKED, "model": "balanced"})
    answers = [await front.post(CHAT, ASKED) for _ in range(5)]

    assert dear.status_code == 403
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].json()["tier"] == "anonymous"
    await front.booked()


async def test_without_a_key_nobody_charges_somebody_else(front: Front, called_by: Any) -> None:
    called_by(replace(ANONYMOUS, tiers=frozenset({"quick"})))

    answer = await front.post(CHAT, ASKED, {"x-curb-team": "theirs"})

    assert answer.status_code == 403
