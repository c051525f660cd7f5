"""What is strange about spending: each rule by itself, on numbers that can be checked by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.anomaly import DailySigma, DayBefore, HourlyJump, Seasonal, Spending
from gateway.policy.money import NANO_PER_USD

amounts = st.integers(min_value=0, max_value=1_000 * NANO_PER_USD)


def usd(dollars: float) -> int:
    return round(dollars * NANO_PER_USD)


def spending(
    *, hour: float = 0, before: float = 0, today: float = 0, days: int = 0, day: float = 0, same: float = 0
) -> Spending:
    """days: so many days before, each with `day` dollars, half of them by now, `same` in this hour."""
    past = DayBefore(usd(day), usd(day / 2), usd(same))
    return Spending("coder", usd(hour), usd(before), usd(today), (past,) * days)


def test_three_times_the_hour_before_is_a_jump() -> None:
    finding = HourlyJump().judge(spending(hour=6.2, before=2))

    assert finding is not None
    assert (finding.rule, finding.scope, finding.severity) == ("hourly_jump", "agent:coder", "warning")
    assert finding.evidence == {
        "spent_nano_usd": usd(6.2),
        "hour_before_nano_usd": usd(2),
        "limit_nano_usd": usd(6),
        "times": 3.0,
    }


@pytest.mark.parametrize(
    ("hour", "before"), [(6, 2), (4.9, 0), (20, 7)], ids=["just three times", "below the minimum", "less"]
)
def test_less_is_no_jump(hour: float, before: float) -> None:
    assert HourlyJump().judge(spending(hour=hour, before=before)) is None


def test_a_first_hour_of_work_is_a_jump_when_it_costs_enough() -> None:
    assert HourlyJump().judge(spending(hour=5, before=0)) is not None


def test_today_far_above_the_days_before_is_found() -> None:
    days = tuple(DayBefore(usd(d), usd(d), 0) for d in (10, 12, 8, 10, 12, 8, 10))  # mean 10, sigma 1.51
    high = replace(spending(today=16), days=days)

    finding = DailySigma().judge(high)

    assert finding is not None
    assert finding.evidence["mean_nano_usd"] == usd(10)
    assert finding.evidence["limit_nano_usd"] == usd(15)  # the minimum of $5 is more than two sigmas
    assert DailySigma().judge(replace(high, today_nano_usd=usd(15))) is None


def test_today_so_far_is_compared_with_the_same_part_or_with_whole_days() -> None:
    by_noon = spending(today=18, days=7, day=20)

    assert DailySigma().judge(by_noon) is not None
    assert DailySigma(compare="whole_day").judge(by_noon) is None


@pytest.mark.parametrize("rule", [DailySigma(), Seasonal()])
def test_a_short_past_is_not_judged(rule: DailySigma | Seasonal) -> None:
    assert rule.judge(spending(hour=100, today=100, days=4)) is None
    assert rule.judge(spending(hour=100, today=100, days=5)) is not None


def test_an_hour_is_compared_with_the_same_hour_of_other_days() -> None:
    hours = (1.0, 1.1, 0.9, 1.0, 1.2, 30.0, 1.0)  # one bad day does not spoil the median
    days = tuple(DayBefore(usd(24), usd(12), usd(h)) for h in hours)
    now = replace(spending(hour=4), days=days)

    finding = Seasonal().judge(now)

    assert finding is not None
    assert finding.severity == "warning"
    assert not finding.acts
    assert finding.evidence["usual_nano_usd"] == usd(1)
    assert finding.evidence["limit_nano_usd"] == usd(3.4)  # a tenth of a day of $24 above the usual $1
    assert Seasonal().judge(replace(now, hour_nano_usd=usd(3.3))) is None


def test_a_seasonal_excess_of_a_quarter_of_a_day_is_critical_and_acts() -> None:
    finding = Seasonal().judge(spending(hour=7.1, days=7, day=24, same=1))

    assert finding is not None
    assert (finding.severity, finding.acts) == ("critical", True)


def test_noise_widens_what_is_usual() -> None:
    wild = tuple(DayBefore(usd(24), usd(12), usd(h)) for h in (0, 1, 2, 3, 4, 5, 6))
    now = replace(spending(hour=8), days=wild)

    assert Seasonal().judge(now) is None


@given(amounts, amounts, st.lists(amounts, min_size=5, max_size=20))
def test_more_spending_is_never_less_strange(hour: int, more: int, past: list[int]) -> None:
    days = tuple(DayBefore(24 * each, 12 * each, each) for each in past)
    for rule in (HourlyJump(), DailySigma(), DailySigma(compare="whole_day"), Seasonal()):
        some = rule.judge(Spending("coder", hour, past[0], hour, days))
        greater = rule.judge(Spending("coder", hour + more, past[0], hour + more, days))
        assert some is None or greater is not None


@given(st.lists(amounts, min_size=5, max_size=20))
def test_what_is_told_is_above_its_limit(past: list[int]) -> None:
    days = tuple(DayBefore(24 * each, 12 * each, each) for each in past)
    now = Spending("coder", max(past), min(past), sum(past), days)
    for rule in (HourlyJump(), DailySigma(), Seasonal()):
        finding = rule.judge(now)
        if finding is not None:
            spent, limit = finding.evidence["spent_nano_usd"], finding.evidence["limit_nano_usd"]
            assert isinstance(spent, int)
            assert isinstance(limit, int)
            assert spent >= limit
