"""The forecast of a period's total: pure, and never below what is spent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.forecast import RunningDay, forecast, level

DOLLAR = 1_000_000_000
amounts = st.integers(0, 10_000 * DOLLAR)


def test_equal_days_go_on_as_they_are() -> None:
    made = forecast([2 * DOLLAR] * 7, spent_nano_usd=14 * DOLLAR, days_to_come=16)

    assert made is not None
    assert made.expected_nano_usd == 46 * DOLLAR
    assert made.low_nano_usd < 46 * DOLLAR < made.high_nano_usd < 55 * DOLLAR


def test_one_burst_does_not_become_every_days() -> None:
    usual = [10.0, 11.0, 9.0, 10.0, 12.0, 8.0]

    assert level([*usual, 1000.0]) < 13
    assert level([*usual, 0.0]) > 9


def test_a_burst_widens_the_range_upwards() -> None:
    calm = [10 * DOLLAR, 11 * DOLLAR, 9 * DOLLAR, 10 * DOLLAR, 12 * DOLLAR, 8 * DOLLAR]
    quiet = forecast([*calm, 10 * DOLLAR], spent_nano_usd=0, days_to_come=10)
    burst = forecast([*calm, 100 * DOLLAR], spent_nano_usd=0, days_to_come=10)

    assert quiet is not None
    assert burst is not None
    assert burst.high_nano_usd > 3 * quiet.high_nano_usd
    assert burst.expected_nano_usd < 2 * quiet.expected_nano_usd


def test_what_is_over_is_certain() -> None:
    made = forecast([DOLLAR] * 7, spent_nano_usd=31 * DOLLAR, days_to_come=0)

    assert made is not None
    assert made.expected_nano_usd == made.low_nano_usd == made.high_nano_usd == 31 * DOLLAR


def test_without_a_complete_day_there_is_no_forecast() -> None:
    assert forecast([], spent_nano_usd=5, days_to_come=3) is None


def test_the_first_days_are_as_uncertain_as_they_are_large() -> None:
    made = forecast([DOLLAR], spent_nano_usd=DOLLAR, days_to_come=1)

    assert made is not None
    assert made.low_nano_usd == DOLLAR  # perhaps nothing more comes
    assert made.high_nano_usd > 4 * DOLLAR


@pytest.mark.parametrize(("elapsed", "rest"), [(0.0, 24.0), (0.5, 18.0), (1.0, 0.0)])
def test_the_running_day_counts_more_the_longer_it_runs(elapsed: float, rest: float) -> None:
    """Days of $24, and today goes twice as fast."""
    spent = round(elapsed * 48 * DOLLAR)
    made = forecast(
        [24 * DOLLAR] * 7, spent_nano_usd=spent, days_to_come=0, running=RunningDay(elapsed, spent)
    )

    assert made is not None
    assert made.expected_nano_usd - spent == rest * DOLLAR


@given(st.lists(amounts, min_size=1, max_size=40), amounts, st.integers(0, 31), st.floats(0, 1), amounts)
def test_spent_is_the_least_and_the_range_holds_the_forecast(
    recent: list[int], spent: int, days: int, elapsed: float, today: int
) -> None:
    made = forecast(
        recent, spent_nano_usd=spent + today, days_to_come=days, running=RunningDay(elapsed, today)
    )

    assert made is not None
    assert spent + today <= made.low_nano_usd <= made.expected_nano_usd <= made.high_nano_usd
