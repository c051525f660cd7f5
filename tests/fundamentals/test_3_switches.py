"""Switches: plain keys that stop things at once, and what curb sets by itself."""

from typing import Any

import pytest

from gateway.config import Velocity
from gateway.errors import ConfigurationError
from gateway.policy.money import usd
from gateway.policy.refusals import RefusalKind
from gateway.policy.scopes import Period
from gateway.state.authority import Authority, EpochSnapshot, SwitchChange
from tests.budget_world import (
    Connect,
    ask,
    events,
    held,
    lapse,
    line,
    refused,
    rules,
    settled,
    spend,
    today,
)

DAY = line("agent:coder", 1000)


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("kill:global", "global"),
        ("kill:agent:coder", "agent:coder"),
        ("kill:provider:sim", "provider:sim"),
        ("kill:model:steady", "model:steady"),
        ("kill:model:sim/steady", "model:sim/steady"),
    ],
)
async def test_a_switch_set_by_anybody_stops_admission(
    authority: Authority, raw: Any, name: str, scope: str
) -> None:
    await raw.set(name, "manual:adam:runaway_loop")

    refusal = await refused(authority, ask("c1", 10, DAY))

    assert (refusal.kind, refusal.scope, refusal.retry_at_ms) == (RefusalKind.SWITCHED, scope, None)
    assert "manual:adam:runaway_loop" in refusal.detail
    await raw.delete(name)
    await held(authority, ask("c1", 10, DAY))


async def test_an_empty_value_does_not_switch(authority: Authority, raw: Any) -> None:
    await raw.set("kill:global", "")
    await held(authority, ask("c1", 10, DAY))


async def test_a_switch_that_expires_says_when_to_come_back(authority: Authority, raw: Any) -> None:
    await raw.set("kill:agent:coder", "manual", px=60_000)
    refusal = await refused(authority, ask("c1", 10, DAY))
    assert refusal.retry_at_ms == await raw.pexpiretime("kill:agent:coder")


async def test_a_throttled_agent_has_one_call_in_flight(authority: Authority, raw: Any) -> None:
    await raw.set("throttle:agent:coder", "manual:slow")
    first = await held(authority, ask("c1", 10, DAY))

    refusal = await refused(authority, ask("c2", 10, DAY))

    assert (refusal.kind, refusal.scope) == (RefusalKind.THROTTLED, "agent:coder")
    assert refusal.retry_at_ms is not None
    await held(authority, ask("c3", 10, line("agent:other", 1000), agent="other"))
    await authority.close_attempt(settled(first, 1))
    await held(authority, ask("c2", 10, DAY))


async def test_a_lost_call_does_not_throttle_for_ever(authority: Authority, raw: Any) -> None:
    await raw.set("throttle:agent:coder", "manual:slow")
    await lapse(raw, await held(authority, ask("c1", 10, DAY)))
    await held(authority, ask("c2", 10, DAY))


async def test_every_change_becomes_one_event_whoever_made_it(
    authority: Authority, connect: Connect, raw: Any
) -> None:
    other = await connect("p2")
    await raw.set("kill:agent:coder", "manual:adam:x", px=60_000)
    ends = await raw.pexpiretime("kill:agent:coder")

    assert await authority.observe_switches(["kill:agent:coder", "kill:global"]) == [
        SwitchChange("kill:agent:coder", "", "manual:adam:x", ends)
    ]
    assert await other.observe_switches(["kill:agent:coder"]) == []
    await refused(authority, ask("c1", 10, DAY))
    await raw.delete("kill:agent:coder")
    assert await other.observe_switches([]) == [SwitchChange("kill:agent:coder", "manual:adam:x", "")]

    assert [e.body for e in await events(authority, "switch")] == [
        {"name": "kill:agent:coder", "old": "", "new": "manual:adam:x", "expires_at_ms": ends},
        {"name": "kill:agent:coder", "old": "manual:adam:x", "new": "", "expires_at_ms": None},
    ]


async def test_an_admission_notices_a_switch_too(authority: Authority, raw: Any) -> None:
    await raw.set("kill:global", "manual:x")
    await refused(authority, ask("c1", 10, DAY))
    (event,) = await events(authority, "switch")
    assert (event.body["name"], event.body["new"]) == ("kill:global", "manual:x")


async def test_setting_and_clearing(authority: Authority) -> None:
    assert await authority.set_switch("kill:agent:coder", "auto:curb:x", 60_000, only_if_unset=True)
    assert not await authority.set_switch("kill:agent:coder", "auto:curb:y", only_if_unset=True)
    assert await authority.read_switches(["kill:agent:coder", "kill:global"]) == {
        "kill:agent:coder": "auto:curb:x"
    }
    assert await authority.known_switches() == {"kill:agent:coder": "auto:curb:x"}
    assert not await authority.clear_switch("kill:agent:coder", expected="manual")
    assert await authority.clear_switch("kill:agent:coder", expected="auto:curb:x")
    assert not await authority.clear_switch("kill:agent:coder")
    assert [e.body["new"] for e in await events(authority, "switch")] == ["auto:curb:x", ""]


@pytest.mark.parametrize("name", ["kill:everything", "kill:agent:", "limits", "throttle:global"])
async def test_a_name_that_is_no_switch_is_refused(authority: Authority, name: str) -> None:
    with pytest.raises(ConfigurationError, match="kill:agent:NAME"):
        await authority.set_switch(name, "x")


async def test_switches_work_while_admission_is_closed(connect: Connect, raw: Any) -> None:
    authority = await connect()
    assert await authority.set_switch("kill:global", "manual:x")
    assert await raw.get("kill:global") == "manual:x"
    assert await authority.clear_switch("kill:global")


# Daily budgets


async def test_an_agent_that_spent_its_day_is_switched_off_until_the_day_ends(
    authority: Authority, raw: Any
) -> None:
    window = today()
    day = line("agent:coder", 100, windows=(window,))
    await spend(authority, "c1", 79, day)
    await spend(authority, "c2", 1, day)
    await spend(authority, "c3", 20, day)

    refusal = await refused(authority, ask("c4", 1, day))

    assert (refusal.kind, refusal.retry_at_ms) == (RefusalKind.SWITCHED, window.end_ms)
    assert (await raw.get("kill:agent:coder")).startswith("auto:budget:")
    seen = await events(authority)
    assert rules(seen) == ["daily_budget_80", "daily_budget_exceeded"]
    assert [e.body["name"] for e in seen if e.kind == "switch"] == ["kill:agent:coder"]


async def test_a_switch_set_by_hand_is_not_replaced(authority: Authority, raw: Any) -> None:
    reservation = await held(authority, ask("c1", 100, line("agent:coder", 100)))
    await raw.set("kill:agent:coder", "manual:x")
    await authority.close_attempt(settled(reservation, 100))
    assert await raw.get("kill:agent:coder") == "manual:x"


async def test_the_daily_switch_can_be_left_out(authority: Authority, raw: Any) -> None:
    what = ask("c1", 100, line("agent:coder", 100), daily_switch=False)
    await authority.close_attempt(settled(await held(authority, what), 100))
    assert await raw.get("kill:agent:coder") is None


@pytest.mark.parametrize("how", ["limits", "top_up"])
async def test_a_raised_limit_lets_the_agent_go_on(authority: Authority, raw: Any, how: str) -> None:
    await authority.apply_limits(1, {("agent:*", Period.DAY): 100})
    day = line("agent:coder", None)
    await spend(authority, "c1", 100, day)
    await refused(authority, ask("c2", 10, day))

    if how == "limits":
        await authority.apply_limits(2, {("agent:coder", Period.DAY): 200})
    else:
        await authority.top_up("t1", "agent:coder|day|2026-11-21", 100)

    assert await raw.exists("kill:agent:coder", "curb:paused") == 0
    await spend(authority, "c2", 100, day)
    assert (await refused(authority, ask("c3", 1, day))).kind is RefusalKind.SWITCHED


async def test_a_raised_limit_leaves_a_switch_set_by_hand(authority: Authority, raw: Any) -> None:
    await authority.apply_limits(1, {("agent:*", Period.DAY): 100})
    await spend(authority, "c1", 100, line("agent:coder", None))
    await raw.set("kill:agent:coder", "manual:x")
    await authority.apply_limits(2, {("agent:*", Period.DAY): 200})
    assert await raw.get("kill:agent:coder") == "manual:x"


async def test_a_limit_that_is_still_too_low_lifts_nothing(authority: Authority, raw: Any) -> None:
    await authority.apply_limits(1, {("agent:*", Period.DAY): 100})
    await spend(authority, "c1", 100, line("agent:coder", None))
    await authority.apply_limits(2, {("agent:*", Period.DAY): 90})
    assert await raw.exists("kill:agent:coder") == 1


async def test_the_global_and_team_day_warn_at_80_percent_once(authority: Authority) -> None:
    lines = (line("team:core", 100), line("global", 100), line("user:ann", 100))
    for call in range(3):
        await spend(authority, f"c{call}", 30, *lines)
    alerts = await events(authority, "alert")
    assert [(a.body["rule"], a.body["scope"]) for a in alerts] == [
        ("daily_budget_80", "team:core"),
        ("daily_budget_80", "global"),
    ]


# Velocity


@pytest.fixture
async def fast(connect: Connect) -> Authority:
    """Thresholds of $5, $15 and $50 in 300 s, as they are by default."""
    authority = await connect(velocity=Velocity())
    await authority.open_epoch(EpochSnapshot(epoch=1))
    return authority


BIG = line("agent:coder", usd(1000))


async def test_velocity_warns_then_pauses_then_stops_everything(fast: Authority, raw: Any) -> None:
    running = [await held(fast, ask(f"c{n}", usd(10), BIG)) for n in range(6)]
    (first, *others) = running

    await fast.close_attempt(settled(first, usd(6)))

    assert rules(await events(fast)) == ["velocity_warning"]
    assert 0 < await raw.pttl("throttle:agent:coder") <= 300_000
    assert await raw.get("kill:agent:coder") is None
    await fast.close_attempt(settled(others[0], usd(10)))
    assert rules(await events(fast)) == ["velocity_critical"]
    assert (await raw.get("kill:agent:coder")).startswith("auto:velocity:")
    assert 500_000 < await raw.pttl("kill:agent:coder") <= 600_000
    for reservation in others[1:]:
        await fast.close_attempt(settled(reservation, usd(10)))
    assert rules(await events(fast)) == ["velocity_global"]
    assert (await raw.get("kill:global")).startswith("auto:velocity:")
    assert await raw.pttl("kill:global") == -1  # by hand only
    assert (await fast.utilization("coder")).velocity_nano_usd == usd(56)


async def test_velocity_prolongs_its_own_switch_and_no_other(fast: Authority, raw: Any) -> None:
    first, second, third = [await held(fast, ask(f"c{n}", usd(20), BIG)) for n in range(3)]
    await fast.close_attempt(settled(first, usd(16)))
    await raw.pexpire("kill:agent:coder", 10_000)
    await fast.close_attempt(settled(second, usd(1)))
    assert await raw.pttl("kill:agent:coder") > 500_000

    await raw.set("kill:agent:coder", "manual:x", px=10_000)
    await fast.close_attempt(settled(third, usd(1)))
    assert await raw.pttl("kill:agent:coder") <= 10_000


async def test_what_is_estimated_or_corrected_is_no_velocity(fast: Authority) -> None:
    first = await held(fast, ask("c1", usd(20), BIG))
    await fast.close_attempt(settled(first, usd(20), basis="invoice"))
    await fast.post("p1", ["agent:coder|day|2026-11-21"], usd(20), {"attempt_id": "c1#1"})
    assert (await fast.utilization("coder")).velocity_nano_usd == 0
    assert rules(await events(fast)) == []


async def test_what_is_older_than_the_window_does_not_count(fast: Authority, raw: Any) -> None:
    await spend(fast, "c1", usd(6), BIG)
    seconds = (await raw.time())[0] - 301
    await raw.delete("curb:v:coder")
    await raw.hset(
        "curb:v:coder", mapping={str(seconds): usd(6), "total": usd(6), "oldest": seconds, "level": 1}
    )
    await raw.pexpire("curb:v:coder", 60_000)

    await spend(fast, "c2", usd(1), BIG)

    assert (await fast.utilization("coder")).velocity_nano_usd == usd(1)
    assert await raw.get("throttle:agent:coder") is None  # normal again
    assert await raw.hget("curb:v:coder", "total") == str(usd(1))


async def test_each_crossing_is_told_once(fast: Authority, raw: Any) -> None:
    for call in range(4):
        await spend(fast, f"c{call}", usd(3), BIG)
    assert rules(await events(fast)) == ["velocity_warning"]


async def test_utilization_of_an_agent(authority: Authority) -> None:
    assert (await authority.utilization("coder")).ratio == 0
    await spend(authority, "c1", 30, line("agent:coder", 100))
    await held(authority, ask("c2", 20, line("agent:coder", 100)))
    use = await authority.utilization("coder")
    assert (use.limit_nano_usd, use.spent_nano_usd, use.held_nano_usd, use.ratio) == (100, 30, 20, 0.5)
