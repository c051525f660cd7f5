"""Budgets: a call holds the most that it can cost, and pays what it did cost."""

from typing import Any

from gateway.policy.money import MAX_NANO_USD, usd
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.policy.scopes import Period, Window
from gateway.state.authority import Authority
from tests.budget_world import (
    FAR,
    HOUR_MS,
    amounts,
    ask,
    counter,
    events,
    held,
    line,
    refused,
    rules,
    settled,
    spend,
    today,
)

AGENT_DAY = "agent:coder|day|2026-11-21"


async def test_a_hold_becomes_the_real_cost_in_every_scope(authority: Authority) -> None:
    reservation = await held(authority, ask("c1", 100, line("run:r1", 500), line("agent:coder", 1000)))

    assert reservation.counters == ("run:r1|run|run", AGENT_DAY)
    assert await amounts(authority, AGENT_DAY) == (0, 100, 0)

    await authority.close_attempt(settled(reservation, 70))

    assert await amounts(authority, AGENT_DAY) == (70, 0, 0)
    assert await amounts(authority, "run:r1|run|run") == (70, 0, 0)


async def test_a_limit_can_be_used_to_the_last_nano_dollar(authority: Authority) -> None:
    await spend(authority, "c1", 60, line("agent:coder", 100))
    await held(authority, ask("c2", 40, line("agent:coder", 100)))


async def test_what_is_spent_exhausts_a_budget_until_its_window_ends(authority: Authority) -> None:
    window = today()
    day = line("agent:coder", 100, windows=(window,))
    await spend(authority, "c1", 61, day)

    refusal = await refused(authority, ask("c2", 40, day))

    assert refusal == Refusal(
        RefusalKind.EXHAUSTED,
        scope="agent:coder",
        period="day",
        limit_nano_usd=100,
        spent_nano_usd=61,
        held_nano_usd=0,
        in_doubt_nano_usd=0,
        asked_nano_usd=40,
        retry_at_ms=window.end_ms,
    )


async def test_an_exhausted_run_waits_for_a_person_and_not_for_midnight(authority: Authority) -> None:
    await spend(authority, "c1", 61, line("run:r1", 100))
    refusal = await refused(authority, ask("c2", 40, line("run:r1", 100)))
    assert (refusal.kind, refusal.retry_at_ms) == (RefusalKind.EXHAUSTED, None)


async def test_what_others_hold_is_contended_and_worth_a_retry_in_seconds(authority: Authority) -> None:
    first = await held(authority, ask("c1", 61, line("agent:coder", 100)))

    refusal = await refused(authority, ask("c2", 40, line("agent:coder", 100)))

    assert refusal.kind is RefusalKind.CONTENDED
    assert (refusal.spent_nano_usd, refusal.held_nano_usd) == (0, 61)
    assert refusal.retry_at_ms is not None
    await authority.close_attempt(settled(first, 1))
    await held(authority, ask("c2", 40, line("agent:coder", 100)))


async def test_what_is_above_the_limit_never_fits(authority: Authority) -> None:
    refusal = await refused(authority, ask("c1", 101, line("agent:coder", 100)))
    assert (refusal.kind, refusal.retry_at_ms) == (RefusalKind.NEVER_FITS, None)


async def test_a_refusal_changes_nothing(authority: Authority) -> None:
    lines = (line("run:r1", 1000), line("agent:coder", 100))
    await refused(authority, ask("c1", 101, *lines))
    assert await authority.budgets() == []
    assert await events(authority) == []


async def test_the_hardest_of_several_refusals_is_given(authority: Authority) -> None:
    await held(authority, ask("c1", 30, line("team:core", 50), line("user:ann", 100)))
    await spend(authority, "c2", 90, line("agent:coder", 100))

    refusal = await refused(
        authority,
        ask(
            "c3",
            30,
            line("tier:quick", 20, soft=True),  # never fits, but soft: only a cheaper tier is asked for
            line("team:core", 50),  # contended
            line("agent:coder", 100),  # exhausted
        ),
    )

    assert (refusal.kind, refusal.scope) == (RefusalKind.EXHAUSTED, "agent:coder")


async def test_soft_lines_refuse_when_no_hard_one_does(authority: Authority) -> None:
    refusal = await refused(
        authority, ask("c1", 30, line("tier:max", 20, soft=True), line("agent:coder", 100))
    )
    assert (refusal.kind, refusal.scope) == (RefusalKind.NEVER_FITS, "tier:max")


async def test_alert_only_lines_pass_and_alert_once_per_window(authority: Authority) -> None:
    quick = line("tier:quick", 20, soft=True, alert_only=True)
    first = await held(authority, ask("c1", 30, quick))
    second = await held(authority, ask("c2", 30, quick))
    assert first.alerts == second.alerts == ("tier:quick",)
    assert rules(await events(authority)) == ["soft_budget_exceeded"]


async def test_unlimited_scopes_are_counted_all_the_same(authority: Authority) -> None:
    await spend(authority, "c1", 30, line("team:core", None))
    state = await counter(authority, "team:core|day|2026-11-21")
    assert (state.limit_nano_usd, state.spent_nano_usd, state.left_nano_usd) == (None, 30, None)


async def test_a_scope_named_twice_is_charged_once(authority: Authority) -> None:
    await spend(authority, "c1", 30, line("user:ann", 100), line("user:ann", 10, alert_only=True))
    assert await amounts(authority, "user:ann|day|2026-11-21") == (30, 0, 0)


async def test_an_exact_limit_wins_over_the_calls_own_and_that_over_a_wildcard(authority: Authority) -> None:
    await authority.apply_limits(1, {("agent:*", Period.DAY): 50, ("agent:tester", Period.DAY): 70})

    for agent, own, limit in (("coder", None, 50), ("coder", 60, 60), ("tester", 60, 70)):
        refusal = await refused(authority, ask("c1", 99, line(f"agent:{agent}", own), agent=agent))
        assert refusal.limit_nano_usd == limit


async def test_an_older_table_of_limits_is_ignored(authority: Authority) -> None:
    assert await authority.apply_limits(2, {("global", Period.DAY): 50})
    assert not await authority.apply_limits(1, {("global", Period.DAY): 9})
    assert (await refused(authority, ask("c1", 51, line("global", 9)))).limit_nano_usd == 50


async def test_a_new_table_replaces_the_whole_old_one(authority: Authority) -> None:
    await authority.apply_limits(1, {("global", Period.DAY): 50})
    await authority.apply_limits(2, {})
    await held(authority, ask("c1", 51, line("global", None)))


async def test_a_top_up_raises_the_limit_of_one_window_once(authority: Authority) -> None:
    await spend(authority, "c1", 90, line("run:r1", 100))
    await refused(authority, ask("c2", 60, line("run:r1", 100)))

    result = await authority.top_up("t1", "run:r1|run|run", 50, by="adam")
    again = await authority.top_up("t1", "run:r1|run|run", 50, by="adam")

    assert (result.applied, result.limit_nano_usd, result.spent_nano_usd) == (True, 150, 90)
    assert (again.applied, again.limit_nano_usd) == (False, 150)
    await held(authority, ask("c2", 60, line("run:r1", 100)))
    (event,) = await events(authority, "top_up")
    assert event.body == {"top_up_id": "t1", "counter": "run:r1|run|run", "amount_nano_usd": 50, "by": "adam"}


async def test_a_childs_calls_are_charged_to_its_parents_launch_budget(authority: Authority) -> None:
    """The child does not know what its parent was launched with; the authority does."""
    await spend(authority, "parent", 60, line("run:parent", 100))
    refusal = await refused(authority, ask("child", 50, line("run:child", 80), line("run:parent", None)))
    assert (refusal.scope, refusal.limit_nano_usd) == ("run:parent", 100)


async def test_a_budget_that_is_nearly_spent_asks_for_a_cheaper_tier(authority: Authority) -> None:
    day = line("agent:coder", 100)
    await held(authority, ask("c1", 80, day))

    refusal = await refused(authority, ask("c2", 5, day, downgrade_at_ratio=0.8))

    assert (refusal.kind, refusal.scope, refusal.held_nano_usd) == (RefusalKind.PRESSURE, "agent:coder", 80)
    await held(authority, ask("c2", 5, day, downgrade_at_ratio=0.81))
    await held(authority, ask("c3", 5, day))


async def test_a_call_belongs_to_the_day_that_admitted_it(authority: Authority, raw: Any) -> None:
    """Admitted before midnight, settled after it: yesterday pays, today starts at nothing (I9)."""
    now_ms = today().start_ms + HOUR_MS
    before = (Window("2026-11-20", 0, now_ms + HOUR_MS), Window("2026-11-21", now_ms + HOUR_MS, FAR))
    after = (Window("2026-11-20", 0, now_ms - HOUR_MS), Window("2026-11-21", now_ms - HOUR_MS, FAR))
    late = await held(authority, ask("c1", 60, line("agent:coder", 100, windows=before)))
    early = await held(authority, ask("c2", 70, line("agent:coder", 100, windows=after)))

    await authority.close_attempt(settled(late, 50))

    assert (late.day, early.day) == ("2026-11-20", "2026-11-21")
    assert await amounts(authority, "agent:coder|day|2026-11-20") == (50, 0, 0)
    assert await amounts(authority, "agent:coder|day|2026-11-21") == (0, 70, 0)
    assert [(e.day, e.kind) for e in await events(authority, "settled")] == [("2026-11-20", "settled")]


async def test_amounts_that_a_double_would_print_as_2e14_stay_exact(authority: Authority) -> None:
    """$300,000 and a nano-dollar, and the most that is allowed."""
    large = usd(300_000) + 1
    day = line("agent:coder", MAX_NANO_USD)
    await spend(authority, "c1", large, day)
    assert await amounts(authority, AGENT_DAY) == (large, 0, 0)

    refusal = await refused(authority, ask("c2", MAX_NANO_USD - large + 1, day))
    assert (refusal.kind, refusal.spent_nano_usd) == (RefusalKind.EXHAUSTED, large)
    await spend(authority, "c3", MAX_NANO_USD - large, day)
    assert (await counter(authority, AGENT_DAY)).left_nano_usd == 0


async def test_a_call_that_costs_nothing_is_counted_like_any_other(authority: Authority) -> None:
    await spend(authority, "c1", 0, line("agent:coder", 0))
    assert await amounts(authority, AGENT_DAY) == (0, 0, 0)


async def test_absurd_amounts_are_refused_before_anything_is_held(authority: Authority) -> None:
    for asked in (-1, MAX_NANO_USD + 1):
        assert (await refused(authority, ask("c1", asked))).kind is RefusalKind.INVALID
    assert await authority.budgets() == []
