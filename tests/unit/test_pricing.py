"""The bound that is held covers whatever is charged, and charges are exact."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.money import round_half_up, usd
from gateway.policy.pricing import (
    Bracket,
    Card,
    Price,
    Rates,
    ceiling_price,
    cost,
    upper_bound,
)
from gateway.policy.usage import Usage

MTOK = 1_000_000

some_rates = st.builds(Rates, *[st.fractions(min_value=0, max_value=100 * 10**9)] * 5)
some_brackets = st.lists(
    st.builds(Bracket, st.integers(0, 400_000), some_rates),
    max_size=3,
    unique_by=lambda bracket: bracket.above_tokens,
).map(lambda found: tuple(sorted(found, key=lambda bracket: bracket.above_tokens)))
cards = st.builds(Card, some_rates, some_brackets, st.fractions(min_value=0, max_value=10**8))
prices = st.builds(Price, st.just("p"), st.just("sim"), st.just("m"), cards, cards)
counts = st.integers(0, 500_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    output = draw(counts)
    return Usage(draw(counts), output, draw(counts), draw(counts), draw(st.integers(0, output)))


def flat(input: int = 3, output: int = 15, **others: Fraction) -> Rates:
    """Rates of whole dollars per million tokens; the rest cost the same as input and output."""
    dear_in, dear_out = Fraction(usd(input)), Fraction(usd(output))
    return replace(Rates(dear_in, dear_out, dear_in, dear_in, dear_out), **others)


def priced(card: Card) -> Price:
    return Price("test", "sim", "m", card, card.scaled(Fraction(1, 2)))


@given(prices, usages(), counts, counts, st.booleans())
def test_the_bound_covers_every_usage_within_it(
    price: Price, usage: Usage, more_input: int, more_output: int, batch: bool
) -> None:
    bound = upper_bound(
        price, usage.prompt_tokens + more_input, usage.output_tokens + more_output, batch=batch
    )
    assert cost(price, usage, batch=batch) <= bound


@given(prices, usages(), st.integers(1, 8))
def test_the_bound_covers_n_answers(price: Price, usage: Usage, n: int) -> None:
    all_answers = replace(
        usage, output_tokens=usage.output_tokens * n, reasoning_tokens=usage.reasoning_tokens * n
    )
    assert cost(price, all_answers) <= upper_bound(price, usage.prompt_tokens, usage.output_tokens, n)


@given(prices, counts, counts, counts, counts)
def test_a_bound_of_more_is_not_less(
    price: Price, tokens: int, more: int, output: int, more_output: int
) -> None:
    assert upper_bound(price, tokens, output) <= upper_bound(price, tokens + more, output + more_output)


@given(prices, usages())
def test_a_charge_is_the_exact_sum_rounded_once(price: Price, usage: Usage) -> None:
    rates = price.standard.rates(usage.prompt_tokens)
    exact = price.standard.request_nano_usd + sum(
        (
            Fraction(tokens, MTOK) * rate
            for tokens, rate in (
                (usage.input_tokens, rates.input),
                (usage.cache_read_tokens, rates.cache_read),
                (usage.cache_write_tokens, rates.cache_write),
                (usage.output_tokens - usage.reasoning_tokens, rates.output),
                (usage.reasoning_tokens, rates.reasoning),
            )
        ),
        Fraction(0),
    )
    assert cost(price, usage) == round_half_up(exact)


def test_each_kind_of_token_has_its_own_price() -> None:
    price = priced(Card(flat(cache_read=Fraction(usd("0.3")), cache_write=Fraction(usd("3.75")))))
    usage = Usage(MTOK, MTOK, MTOK, MTOK)
    assert cost(price, usage) == usd("22.05")


def test_a_long_prompt_is_charged_at_the_dearer_rate_for_all_of_its_tokens() -> None:
    price = priced(Card(flat(3, 15), (Bracket(200_000, flat(6, 22)),)))
    assert cost(price, Usage(input_tokens=200_000)) == usd("0.6")
    assert cost(price, Usage(input_tokens=200_001)) == 200_001 * 6_000
    cached = Usage(input_tokens=1, cache_read_tokens=200_000, output_tokens=1_000)
    assert cost(price, cached) == usd("1.200006") + usd("0.022")


def test_a_bracket_out_of_reach_does_not_inflate_the_bound() -> None:
    price = priced(Card(flat(3, 15), (Bracket(200_000, flat(6, 22)),)))
    assert upper_bound(price, 200_000, 1_000) == usd("0.6") + usd("0.015")
    assert upper_bound(price, 200_001, 1_000) == 200_001 * 6_000 + usd("0.022")


def test_a_fraction_of_a_nano_dollar_per_token_is_charged_exactly() -> None:
    half = Fraction(1, 2) * 1_000_000  # half a nano-dollar per token
    price = priced(Card(Rates(half, half, half, half, half)))
    assert [cost(price, Usage(input_tokens=tokens)) for tokens in (0, 1, 2, 3)] == [0, 1, 1, 2]


def test_batch_has_its_own_card() -> None:
    price = priced(Card(flat(3, 15)))
    assert cost(price, Usage(MTOK, MTOK), batch=True) == usd(9)
    assert upper_bound(price, MTOK, MTOK, batch=True) == usd(9)


def test_a_provider_that_reports_more_reasoning_than_output_is_charged_for_its_output() -> None:
    price = priced(Card(flat(3, 15)))
    assert cost(price, Usage(output_tokens=10, reasoning_tokens=25)) == cost(price, Usage(output_tokens=10))


def test_a_ceiling_holds_for_every_kind_of_token_and_for_batch() -> None:
    price = ceiling_price("sim", "mystery", usd(20))
    assert cost(price, Usage(0, MTOK, MTOK, MTOK, 7)) == usd(60)
    assert cost(price, Usage(MTOK), batch=True) == usd(20)
    assert price.id == "ceiling@20000000000/sim/mystery"


def test_a_ceiling_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        ceiling_price("sim", "mystery", 0)


def test_negative_counts_and_no_answers_are_refused() -> None:
    price = priced(Card(flat()))
    with pytest.raises(ValueError, match="negative"):
        cost(price, Usage(input_tokens=-1))
    with pytest.raises(ValueError, match="negative"):
        upper_bound(price, 1, -1)
    with pytest.raises(ValueError, match="at least one"):
        upper_bound(price, 1, 1, 0)
