"""The simulator's price table says what genai-prices says, by its own arithmetic."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.providers.simulator.prices import Model, Rates, Tokens, amount_nano_usd, find, names

PROVIDERS = {
    "llama-3.1": "groq",
    "gemini": "google",
    "gpt": "openai",
    "claude": "anthropic",
    "meta": "together",
    "text-embedding": "openai",
}
TOKENS = st.integers(0, 250_000)


def provider_of(name: str) -> str:
    return next(provider for prefix, provider in PROVIDERS.items() if name.startswith(prefix))


def model(name: str) -> Model:
    found = find(name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", names())
@settings(deadline=None)  # the first look-up loads the table
@given(
    fresh=TOKENS,
    read=TOKENS,
    written=TOKENS,
    output=TOKENS,
    day=st.sampled_from(["2026-01-10", "2026-11-21"]),
)
def test_prices_are_those_of_genai_prices(
    name: str, fresh: int, read: int, written: int, output: int, day: str
) -> None:
    rates = model(name).rates
    output = 0 if name.startswith("text-embedding") else output
    tokens = Tokens(fresh, output, read if rates.cache_read else 0, written if rates.cache_write else 0)
    at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    usage = Usage(
        input_tokens=tokens.input + tokens.cache_read + tokens.cache_write,
        cache_read_tokens=tokens.cache_read or None,
        cache_write_tokens=tokens.cache_write or None,
        output_tokens=tokens.output,
    )
    theirs = calc_price(usage, name, provider_id=provider_of(name), genai_request_timestamp=at).total_price
    nano = (theirs * 10**9).quantize(Decimal(1), ROUND_HALF_UP)
    assert amount_nano_usd(model(name), tokens, int(at.timestamp() * 1000)) == int(nano)


@pytest.mark.parametrize(("tokens", "expected"), [(1, 0), (2, 1), (3, 1), (6, 2)])
def test_amounts_are_rounded_once_half_up(tokens: int, expected: int) -> None:
    quarter = Model(1000, Rates(str(Decimal("0.00025")), "0"))
    assert Fraction("0.00025") * 1000 == Fraction(1, 4)
    assert amount_nano_usd(quarter, Tokens(input=tokens), 0) == expected


def test_dated_and_prefixed_names_are_the_same_model() -> None:
    assert find("claude-sonnet-4-5-20250929") is find("claude-sonnet-4-5")
    assert find("openai/gpt-5-mini-2025-08-07") is find("gpt-5-mini")
    assert find("gpt-99") is None
