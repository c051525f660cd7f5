"""What a tier does with requests that are too long for a deployment, or that one will not answer."""

import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.config import GatewayConfig, Tier
from tests.integration.front import Front, open_front
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers

CHAT = "/v1/chat/completions"
SMALL, SAME, LARGE = "gpt-5-mini@say-3+context-length", "gpt-5-mini@say-4+context-length", "gpt-5-mini@say-5"
CLAUDE = "claude-sonnet-4-5@say-6"
SHORT, ROOMY, TINY = "gpt-5-mini@say-7", "gpt-5-mini@say-8", "gpt-5-mini@say-9"
REFUSES, WITHHOLDS = "gpt-5-mini@say-9+refuse", "gpt-5-mini@say-40+refuse-late"
WITHHOLDS_TOO = "gpt-5-mini@say-41+refuse-late"
WINDOWS = {SMALL: 1_000, SAME: 1_000, LARGE: 8_000, SHORT: 400, ROOMY: 100_000, TINY: 300}
TIERS: tuple[tuple[str, list[str]], ...] = (
    ("grows", [SMALL, SAME, LARGE]),
    ("beyond", [SMALL, SAME]),
    ("never", [SMALL, SAME]),
    ("knows", [SHORT, ROOMY]),
    ("guesses", [SHORT, TINY]),
    ("off", [SMALL, LARGE]),
    ("strict", [REFUSES, LARGE]),
    ("lenient", [REFUSES, LARGE]),
    ("late", [WITHHOLDS, LARGE]),
    ("late-strict", [WITHHOLDS, LARGE]),
    ("all-late", [WITHHOLDS, WITHHOLDS_TOO]),
    ("spare", [CLAUDE]),
)
LENIENT = {"lenient", "late", "all-late"}
_AGENTS = itertools.count()


def given(simulator: SimulatedProvider) -> GatewayConfig:
    base = config(simulator.url, *TIERS)
    windows = {f"openai/{model}": window for model, window in WINDOWS.items()}
    return replace(
        base,
        deployments={
            name: replace(each, context_window_tokens=windows.get(name))
            for name, each in base.deployments.items()
        },
        tiers=tuple(map(_with_rules, base.tiers)),
    )


def _with_rules(tier: Tier) -> Tier:
    larger = (f"anthropic/{CLAUDE}",) if tier.name == "beyond" else ()
    return replace(tier, larger=larger, on_content_refusal="next" if tier.name in LENIENT else "stop")


@pytest.fixture(scope="module")
async def front(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[Front]:
    async with open_front(given(simulator), Servers(redis_url, database), simulator) as opened:
        yield opened


async def asked(
    front: Front, tier: str, words: str = "Hello", **more: Any
) -> tuple[int, Mapping[str, str], list[dict[str, Any]], str]:
    """Status, headers, the rows of its attempts (the earliest first) and the body of one request."""
    agent = f"asker-{next(_AGENTS)}"
    body = {"model": tier, "messages": [{"role": "user", "content": words}], "max_tokens": 100, **more}
    answer = await front.post(CHAT, body, {"x-curb-agent": agent})
    rows = (await front.attempts_of_agent(agent))[::-1]
    await front.booked()
    assert await front.held() == 0
    return answer.status_code, answer.headers, rows, answer.text


def tried(rows: list[dict[str, Any]]) -> list[str]:
    return [row["deployment"].partition("/")[2] for row in rows]


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_too_long_for_one_goes_to_one_that_takes_more(front: Front, streamed: bool) -> None:
    status, headers, rows, _ = await asked(front, "grows", stream=streamed)

    assert status == 200
    assert headers["x-curb-deployment"] == f"openai/{LARGE}"
    assert tried(rows) == [SMALL, LARGE]  # one that takes no more is not asked
    assert [row["error_type"] for row in rows][:1] == ["context_length"]
    assert len({row["attempt_id"] for row in rows}) == 2


async def test_what_is_too_long_for_a_tier_goes_to_its_larger_ones_of_any_family(front: Front) -> None:
    status, headers, rows, _ = await asked(front, "beyond")

    assert (status, headers["x-curb-deployment"]) == (200, f"anthropic/{CLAUDE}")
    assert tried(rows) == [SMALL, CLAUDE]
    assert {row["tier"] for row in rows} == {"beyond"}


async def test_what_is_too_long_for_all_is_the_clients_to_mend(front: Front) -> None:
    status, _, rows, said = await asked(front, "never")

    assert status == 400
    assert "context_length_exceeded" in said
    assert tried(rows) == [SMALL]


async def test_a_deployment_asked_for_by_name_is_only_itself(front: Front) -> None:
    status, _, rows, _ = await asked(front, f"openai/{SMALL}")

    assert (status, tried(rows)) == (400, [SMALL])


async def test_what_likely_does_not_fit_is_asked_of_the_roomy_one_first(front: Front) -> None:
    _, _, short, _ = await asked(front, "knows")
    _, _, long, _ = await asked(front, "knows", "word " * 400)

    assert (tried(short), tried(long)) == ([SHORT], [ROOMY])


async def test_a_guess_puts_last_and_never_leaves_out(front: Front) -> None:
    status, _, rows, _ = await asked(front, "guesses", "word " * 400)

    assert (status, tried(rows)) == (200, [SHORT])


async def test_a_larger_one_that_is_off_for_now_is_not_a_reason_to_mend_the_request(front: Front) -> None:
    authority = front.world.parts.authority
    await authority.set_switch(f"kill:model:openai/{LARGE}", "manual:test:off")
    try:
        status, _, _, said = await asked(front, "off")
    finally:
        await authority.clear_switch(f"kill:model:openai/{LARGE}")

    assert status == 403, said


async def test_a_refusal_for_the_content_is_the_clients_unless_the_tier_asks_the_next(front: Front) -> None:
    refused, _, first, said = await asked(front, "strict")
    answered, _, both, _ = await asked(front, "lenient")

    assert (refused, tried(first)) == (400, [REFUSES])
    assert "content_filter" in said
    assert (answered, tried(both)) == (200, [REFUSES, LARGE])


async def test_an_answer_that_is_withheld_late_is_paid_for_and_the_next_asked(front: Front) -> None:
    status, headers, rows, said = await asked(front, "late")

    assert (status, headers["x-curb-deployment"]) == (200, f"openai/{LARGE}")
    assert '"content_filter"' not in said
    assert tried(rows) == [WITHHOLDS, LARGE]
    assert all(row["cost_nano_usd"] > 0 for row in rows)


async def test_no_other_deployment_answers_after_the_first_streamed_byte(front: Front) -> None:
    status, headers, rows, said = await asked(front, "late", stream=True)

    assert (status, headers["x-curb-deployment"]) == (200, f"openai/{WITHHOLDS}")
    assert '"content_filter"' in said
    assert tried(rows) == [WITHHOLDS]


async def test_an_answer_that_is_withheld_is_given_as_it_is_where_the_tier_does_not_ask(front: Front) -> None:
    status, _, rows, said = await asked(front, "late-strict")

    assert (status, tried(rows)) == (200, [WITHHOLDS])
    assert '"content_filter"' in said


async def test_where_all_withhold_their_answers_the_client_hears_why(front: Front) -> None:
    status, _, rows, said = await asked(front, "all-late")

    assert status == 400
    assert "content_filter" in said
    assert tried(rows) == [WITHHOLDS, WITHHOLDS_TOO]
