"""The lines of a report: parts add up to their total, whatever is cut off; and what agents earned."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from activities.reports.lines import budget_lines, usage_lines, usage_of, user_lines, work_lines, work_total
from activities.reports.outlook import outlooks
from gateway.policy.scopes import Period
from gateway.store.figures import BudgetSum, RunSum, UsageSum, UserSum

DOLLAR = 1_000_000_000
names = st.text(max_size=5)
sums = st.lists(
    st.builds(
        UsageSum,
        name=names,
        cost_nano_usd=st.integers(-(10**6), 10**12),  # an adjustment may take more than the day brought
        attempts=st.integers(0, 10**6),
        input_tokens=st.integers(0, 10**9),
        cache_read_tokens=st.integers(0, 10**9),
    ),
    unique_by=lambda each: each.name,
)


@given(sums, sums, st.integers(1, 8))
def test_parts_add_up_to_the_total(now: list[UsageSum], before: list[UsageSum], top: int) -> None:
    lines = usage_lines(now, before, top)

    assert sum(line.cost_nano_usd for line in lines) == usage_of(now).cost_nano_usd
    assert sum(line.before_nano_usd or 0 for line in lines) == usage_of(before).cost_nano_usd
    assert sum(line.attempts for line in lines) == usage_of(now).attempts
    assert sum(line.prompt_tokens or 0 for line in lines) == usage_of(now).prompt_tokens
    assert len(lines) <= top + 1


def test_the_dearest_come_first_and_the_rest_is_one_line() -> None:
    now = [UsageSum(name, cost_nano_usd=cost) for name, cost in (("a", 1), ("b", 5), ("c", 3), ("d", 2))]
    lines = usage_lines(now, [UsageSum("c", cost_nano_usd=9), UsageSum("gone", cost_nano_usd=4)], 2)

    assert [(line.name, line.others, line.cost_nano_usd, line.before_nano_usd) for line in lines] == [
        ("b", 0, 5, 0),
        ("c", 0, 3, 9),
        ("", 3, 3, 4),
    ]


def test_who_spends_nothing_any_more_is_still_there() -> None:
    [new, gone] = usage_lines([UsageSum("new", cost_nano_usd=1)], [UsageSum("gone", cost_nano_usd=4)], 5)

    assert (new.name, new.before_nano_usd) == ("new", 0)
    assert (gone.name, gone.cost_nano_usd, gone.before_nano_usd) == ("gone", 0, 4)


def test_users_without_a_name_are_not_the_others() -> None:
    [nobody, others] = user_lines([UserSum("", 7, 1, 1), UserSum(None, 5, 3, 4)], {"": 6})

    assert (nobody.name, nobody.others, nobody.before_nano_usd) == ("", 0, 6)
    assert (others.others, others.cost_nano_usd, others.before_nano_usd) == (4, 5, None)


def test_what_an_agent_earned_is_the_value_of_its_completed_runs_minus_all_that_it_spent() -> None:
    runs = [
        RunSum("coder", "live", "completed", 3, 3, 6 * DOLLAR),
        RunSum("coder", "live", "killed", 1, 1, 0),
        RunSum("coder", "shadow", "completed", 2, 2, 0),
        RunSum("helper", "live", "failed", 2, 0, 0),
    ]
    coder, helper = work_lines(
        runs, [UsageSum("coder", cost_nano_usd=4 * DOLLAR), UsageSum("helper", cost_nano_usd=1)]
    )
    total = work_total([coder, helper])

    assert (coder.completed, coder.killed, coder.ended) == (5, 1, 6)
    assert (coder.value_nano_usd, coder.profit_nano_usd) == (6 * DOLLAR, 2 * DOLLAR)
    assert coder.cost_per_completed_nano_usd == 800_000_000
    assert (helper.value_nano_usd, helper.profit_nano_usd, helper.cost_per_completed_nano_usd) == (None,) * 3
    assert (total.cost_nano_usd, total.profit_nano_usd) == (4 * DOLLAR + 1, 2 * DOLLAR - 1)


def test_budgets_of_several_days_are_one_line_the_fullest_first() -> None:
    lines = budget_lines(
        [
            BudgetSum("agent:a", 10, 2),
            BudgetSum("agent:b", 10, 9, 0, 3),
            BudgetSum("agent:b", 10, 9, 1, 2),
            BudgetSum("team:free", None, 5),
            BudgetSum("tier:max", 30, 0),
            BudgetSum("global", 100, 1),
        ],
        "2026-W47",
    )

    assert [(line.scope, line.limit_nano_usd, line.spent_nano_usd, line.refusals) for line in lines] == [
        ("global", 100, 1, 0),
        ("agent:b", 20, 18, 5),
        ("agent:a", 10, 2, 0),
    ]


def test_agents_and_teams_with_a_monthly_budget_have_an_outlook() -> None:
    week = [date(2026, 11, 9) + timedelta(days=step) for step in range(7)]
    days = {
        "global": dict.fromkeys(week, 3 * DOLLAR),
        "agent:coder": dict.fromkeys(week, 2 * DOLLAR),
        "agent:free": dict.fromkeys(week, DOLLAR),
        "team:red": dict.fromkeys(week, DOLLAR),
    }
    limits = {
        ("agent:coder", Period.MONTH): 40 * DOLLAR,
        ("team:*", Period.MONTH): 100 * DOLLAR,
        ("agent:free", Period.DAY): DOLLAR,
    }
    everything, coder, red = outlooks(
        days, limits, {"agent:coder|month|2026-11": 3 * DOLLAR}, last_day=date(2026, 11, 15)
    )

    assert (everything.scope, everything.limit_nano_usd, everything.expected_nano_usd) == (
        "global",
        None,
        66 * DOLLAR,
    )
    assert (coder.limit_nano_usd, coder.expected_nano_usd, coder.over) == (43 * DOLLAR, 44 * DOLLAR, True)
    assert (red.scope, red.limit_nano_usd, red.over) == ("team:red", 100 * DOLLAR, False)


def test_a_running_day_is_part_of_the_month_so_far() -> None:
    days = {
        "global": {date(2026, 11, 28): 4 * DOLLAR, date(2026, 11, 29): 4 * DOLLAR, date(2026, 11, 30): DOLLAR}
    }
    [outlook] = outlooks(days, {}, {}, last_day=date(2026, 11, 30), elapsed=0.5)

    assert (outlook.days_to_come, outlook.spent_nano_usd) == (0, 9 * DOLLAR)
    assert outlook.expected_nano_usd == 10_500_000_000  # half of (half of the usual $4, and the day's $1)
