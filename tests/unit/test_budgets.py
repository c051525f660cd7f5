"""Which lines a call is charged to, and which tier the money that is left allows."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls import Caller
from gateway.policy.budgets import (
    Purchase,
    affordable_tier,
    lines_for,
    next_cheaper,
    pressure_tier,
    under_pressure,
)
from gateway.policy.money import usd
from gateway.policy.periods import Calendar
from gateway.policy.scopes import BudgetLine, Period, ScopeKind

TIERS = ("quick", "balanced", "frontier", "max")
NOW_MS = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp() * 1000)
SONNET = Purchase("anthropic/claude-sonnet-4-5", "anthropic", "frontier", usd(50))

names = st.text("ab-.1", max_size=3)
callers = st.builds(
    Caller,
    agent=names,
    run_id=names,
    ancestors=st.lists(names, max_size=4).map(tuple),
    team=names,
    user=names,
    key_id=names,
)


def lines(
    caller: Caller, purchase: Purchase = SONNET, run_budget: int | None = None
) -> dict[str, BudgetLine]:
    """The lines of a call by `scope|period`."""
    found = lines_for(
        caller,
        purchase,
        run_budget_nano_usd=run_budget,
        calendar=Calendar(ZoneInfo("UTC")),
        now_ms=NOW_MS,
    )
    named = {f"{line.scope}|{line.period.value}": line for line in found}
    assert len(named) == len(found), "a counter is charged twice"
    return named


def test_a_call_is_charged_to_every_scope_that_it_belongs_to() -> None:
    caller = Caller("coder", "r3", ("r2", "r1"), team="core", user="ann", key_id="k1")
    assert set(lines(caller)) == {
        "run:r3|run", "run:r2|run", "run:r1|run",
        "agent:coder|day", "agent:coder|month",
        "team:core|day", "team:core|month",
        "user:ann|day", "user:ann|month",
        "key:k1|day", "key:k1|month",
        "global|day", "global|month",
        "provider:anthropic|day", "tier:frontier|day", "model:anthropic/claude-sonnet-4-5|day",
    }  # fmt: skip


def test_scopes_that_a_caller_does_not_have_are_left_out() -> None:
    assert set(lines(Caller("coder"), Purchase("sim/steady", "sim"))) == {
        "agent:coder|day", "agent:coder|month", "global|day", "global|month",
        "provider:sim|day", "model:sim/steady|day",
    }  # fmt: skip


def test_a_launch_budget_is_the_limit_of_that_run_only() -> None:
    found = lines(Caller("coder", "child", ("parent",)), run_budget=usd(2))
    assert found["run:child|run"].default_limit_nano_usd == usd(2)
    assert found["run:parent|run"].default_limit_nano_usd is None


def test_a_run_without_budget_is_counted_all_the_same() -> None:
    assert lines(Caller("coder", "r1"))["run:r1|run"].default_limit_nano_usd is None


def test_only_tier_and_deployment_are_soft() -> None:
    soft = {name for name, line in lines(Caller("coder", "r1")).items() if line.soft}
    assert soft == {"tier:frontier|day", "model:anthropic/claude-sonnet-4-5|day"}


def test_the_tiers_budget_is_its_default_limit() -> None:
    assert lines(Caller("coder"))["tier:frontier|day"].default_limit_nano_usd == usd(50)


def test_below_the_cheapest_tier_there_is_nothing_so_its_soft_budgets_only_alert() -> None:
    found = lines(Caller("coder"), Purchase("groq/llama", "groq", "quick", usd(5), cheapest=True))
    assert found["tier:quick|day"].alert_only
    assert found["model:groq/llama|day"].alert_only
    assert not found["provider:groq|day"].alert_only


def test_each_line_brings_the_windows_around_now() -> None:
    found = lines(Caller("coder", "r1"))
    assert [w.id for w in found["global|day"].windows] == ["2026-11-20", "2026-11-21", "2026-11-22"]
    assert [w.id for w in found["global|month"].windows] == ["2026-10", "2026-11", "2026-12"]
    assert [w.id for w in found["run:r1|run"].windows] == ["run"]


@given(callers, st.booleans())
def test_no_counter_is_ever_charged_twice_and_global_always_is(caller: Caller, cheapest: bool) -> None:
    found = lines(caller, Purchase("sim/steady", "sim", "quick", None, cheapest))
    assert {"global|day", "global|month"} <= set(found)
    assert all(line.scope.id or line.scope.kind is ScopeKind.GLOBAL for line in found.values())
    assert all(line.soft for line in found.values() if line.alert_only)
    assert all((line.period is Period.RUN) == (line.scope.kind is ScopeKind.RUN) for line in found.values())


@pytest.mark.parametrize(
    ("tier", "cheaper"),
    [("max", "frontier"), ("frontier", "balanced"), ("balanced", "quick"), ("quick", None)],
)
def test_the_next_cheaper_tier(tier: str, cheaper: str | None) -> None:
    assert next_cheaper(TIERS, tier) == cheaper


@pytest.mark.parametrize(
    ("tier", "lower"), [("max", "frontier"), ("frontier", "balanced"), ("balanced", None), ("quick", None)]
)
def test_pressure_moves_only_the_dear_tiers(tier: str, lower: str | None) -> None:
    assert pressure_tier(TIERS, tier) == lower


def test_a_deployment_asked_for_by_name_has_no_cheaper_tier() -> None:
    assert next_cheaper(TIERS, "openai/gpt-5.2") is None
    assert pressure_tier(TIERS, "openai/gpt-5.2") is None
    assert pressure_tier((), "max") is None


def test_pressure_begins_at_exactly_the_ratio() -> None:
    assert not under_pressure(usd("0.799999999"), usd(1), 0.8)
    assert under_pressure(usd("0.8"), usd(1), 0.8)
    assert not under_pressure(usd(1_000), None, 0.8)
    assert under_pressure(0, 0, 0.8)


@pytest.mark.parametrize(
    ("left", "tier"),
    [
        ("10", "max"),
        ("5", "max"),
        ("4.999999999", "balanced"),
        ("2", "balanced"),
        ("1.999999999", "quick"),
        ("0", "quick"),
    ],
)
def test_the_tier_follows_what_is_left_of_ten_dollars(left: str, tier: str) -> None:
    assert affordable_tier(TIERS, "max", usd(left), usd(10)) == tier


@given(st.sampled_from(TIERS), st.integers(-(10**9), 10**10), st.integers(0, 10**10))
def test_the_chosen_tier_is_never_dearer_than_the_one_asked_for(asked: str, left: int, limit: int) -> None:
    assert TIERS.index(affordable_tier(TIERS, asked, left, limit)) <= TIERS.index(asked)


def test_without_a_limit_or_outside_of_the_tiers_it_stays_as_asked() -> None:
    assert affordable_tier(TIERS, "max", 0, None) == "max"
    assert affordable_tier(TIERS, "openai/gpt-5.2", 0, usd(1)) == "openai/gpt-5.2"
