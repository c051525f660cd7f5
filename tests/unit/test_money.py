"""Money is whole nano-dollars; dollars exist only where people read and write them."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.money import (
    MAX_NANO_USD,
    MoneyError,
    checked,
    decimal_usd,
    format_usd,
    round_half_up,
    usd,
)

amounts = st.integers(0, MAX_NANO_USD)


@given(amounts)
def test_what_is_printed_reads_back_as_the_same_amount(amount: int) -> None:
    assert usd(decimal_usd(amount)) == amount
    assert usd(format_usd(amount).replace(",", "")) == amount


@given(st.fractions(min_value=0, max_value=10**12))
def test_rounding_moves_an_amount_by_half_a_nano_dollar_at_most_and_halves_go_up(amount: Fraction) -> None:
    rounded = round_half_up(amount)
    assert -Fraction(1, 2) < rounded - amount <= Fraction(1, 2)


@given(st.fractions(min_value=0, max_value=10**12), st.fractions(min_value=0, max_value=10**6))
def test_rounding_never_turns_more_into_less(amount: Fraction, more: Fraction) -> None:
    assert round_half_up(amount) <= round_half_up(amount + more)


def test_dollars_are_read_as_people_write_them() -> None:
    assert usd("0.05") == 50_000_000
    assert usd("$5") == usd(5) == usd(Decimal("5.00")) == 5_000_000_000
    assert usd("0.0000000005") == 1


@pytest.mark.parametrize("wrong", ["-1", "nan", "inf", "five", "", "9007200", 0.1])
def test_what_is_not_an_amount_is_refused(wrong: str | float) -> None:
    with pytest.raises(MoneyError):
        usd(wrong)  # type: ignore[arg-type]


def test_amounts_stay_below_what_a_double_counts_exactly() -> None:
    assert checked(MAX_NANO_USD) == 2**53 - 1
    with pytest.raises(MoneyError, match="outside"):
        checked(MAX_NANO_USD + 1)


def test_people_see_cents_at_least_and_every_digit_that_counts() -> None:
    assert format_usd(1_234_500_000_000) == "$1,234.50"
    assert format_usd(1) == "$0.000000001"
    assert decimal_usd(-50_000_000) == "-0.05"
