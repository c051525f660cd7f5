"""Money: whole nano-dollars behind one type, dollars only at the edges.

One dollar is 10**9 nano-dollars. Amounts stay below 2**53 (about $9 million), because the
budget authority computes in Lua, whose only number is a double.
"""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction
from typing import NewType

NanoUsd = NewType("NanoUsd", int)

NANO_PER_USD = 1_000_000_000
MAX_NANO_USD = NanoUsd(2**53 - 1)
ZERO = NanoUsd(0)


class MoneyError(ValueError):
    """An amount that is not a finite, non-negative number of dollars below $9 million."""


def usd(amount: str | int | Decimal) -> NanoUsd:
    """Read dollars as people write them (`"0.05"`, `5`) into nano-dollars, rounded half up.

    Raises MoneyError for negative, non-finite or too large amounts, and for floats, which
    cannot say what they mean.
    """
    if isinstance(amount, float):
        raise MoneyError(f"{amount!r}: write dollars as a string or a whole number, not as a float")
    try:
        dollars = Decimal(str(amount).strip().removeprefix("$"))
    except InvalidOperation:
        raise MoneyError(f"{amount!r} is not an amount of dollars, for example 0.05") from None
    if not dollars.is_finite() or dollars < 0:
        raise MoneyError(f"{amount!r}: an amount of dollars must be zero or more")
    return checked(int((dollars * NANO_PER_USD).to_integral_value(ROUND_HALF_UP)))


def checked(amount: int) -> NanoUsd:
    """Return the amount if it lies in 0 .. MAX_NANO_USD, else raise MoneyError."""
    if not 0 <= amount <= MAX_NANO_USD:
        raise MoneyError(f"{format_usd(amount)} is outside of $0 to {format_usd(MAX_NANO_USD)}")
    return NanoUsd(amount)


def round_half_up(amount: Fraction) -> NanoUsd:
    """Round an exact, non-negative amount of nano-dollars once, half up."""
    return NanoUsd((2 * amount.numerator + amount.denominator) // (2 * amount.denominator))


def decimal_usd(amount: int) -> str:
    """Dollars as a plain decimal string without trailing zeros: the form in `--json`."""
    sign = "-" if amount < 0 else ""
    dollars, nano = divmod(abs(amount), NANO_PER_USD)
    fraction = f"{nano:09d}".rstrip("0")
    return f"{sign}{dollars}.{fraction}" if fraction else f"{sign}{dollars}"


def format_usd(amount: int) -> str:
    """Dollars for people: two decimals at least, all that are needed at most."""
    sign = "-" if amount < 0 else ""
    dollars, nano = divmod(abs(amount), NANO_PER_USD)
    fraction = f"{nano:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}${dollars:,}.{fraction}"
