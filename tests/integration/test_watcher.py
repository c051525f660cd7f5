"""Calls in flight are cut by switches and kill signals; one process leads the monitor (I7)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.state.authority import Authority
from gateway.state.monitor import Monitor
from gateway.state.watcher import CallWatcher, Cut
from tests.budget_world import Connect, amounts, ask, events, held, lapse, line
from tests.integration.waiting import until

NAMES = ("kill:global", "kill:agent:coder", "kill:provider:sim", "kill:model:steady")


@pytest.fixture
async def watcher(authority: Authority) -> AsyncIterator[CallWatcher]:
    watcher = CallWatcher(authority)
    yield watcher
    await watcher.close()


class Cuts(list[Cut]):
    async def came(self) -> bool:
        return bool(self)


@pytest.mark.parametrize("name", NAMES)
async def test_a_switch_cuts_calls_in_flight(watcher: CallWatcher, raw: Any, name: str) -> None:
    cuts = Cuts()
    with watcher.watching(NAMES, ["r1"], cuts.append):
        await raw.set(name, "manual:adam:stop")
        await until(cuts.came)
    assert cuts == [Cut("manual:adam:stop", name)]


async def test_a_run_is_cut_by_its_id(authority: Authority, watcher: CallWatcher) -> None:
    mine, others = Cuts(), Cuts()
    with (
        watcher.watching(NAMES, ["r1", "parent"], mine.append),
        watcher.watching(NAMES, ["r2"], others.append),
    ):
        await authority.cut_run("parent", "killed by adam")
        await until(mine.came)
    assert (mine, others) == ([Cut("killed by adam", "run:parent")], [])


async def test_a_spent_daily_budget_cuts_nothing(
    authority: Authority, watcher: CallWatcher, raw: Any
) -> None:
    cuts = Cuts()
    with watcher.watching(NAMES, [], cuts.append):
        await raw.set("kill:agent:coder", "auto:budget:curb:$1 of $1 spent")
        await until(lambda: _noticed(authority))
        assert cuts == []
        await raw.set("kill:agent:coder", "manual:adam:stop")
        await until(cuts.came)


async def test_each_call_is_told_once(watcher: CallWatcher, raw: Any) -> None:
    first, second = Cuts(), Cuts()
    await raw.set("kill:global", "manual:x")
    with watcher.watching(NAMES, [], first.append):
        await until(first.came)
        with watcher.watching(NAMES, [], second.append):
            await until(second.came)
    assert (len(first), len(second)) == (1, 1)


async def test_the_watcher_writes_the_change_down(
    authority: Authority, watcher: CallWatcher, raw: Any
) -> None:
    with watcher.watching(NAMES, [], Cuts().append):
        await raw.set("kill:global", "manual:x")
        await until(lambda: _noticed(authority))
        await raw.delete("kill:global")

        async def lifted() -> bool:
            return not await authority.known_switches()

        await until(lifted)
    assert [e.body["new"] for e in await events(authority, "switch")] == ["manual:x", ""]


async def test_the_watcher_outlives_a_closed_and_a_hanging_redis(
    authority: Authority, watcher: CallWatcher, raw: Any
) -> None:
    cuts = Cuts()
    with watcher.watching(NAMES, [], cuts.append):
        await authority.close_epoch("test")
        await raw.client_pause(1_500)
        await raw.client_unpause()
        await raw.set("kill:global", "manual:x")
        await until(cuts.came)


async def test_a_callback_that_fails_keeps_no_other_from_being_called(watcher: CallWatcher, raw: Any) -> None:
    loop, failures, cuts = asyncio.get_running_loop(), list[Any](), Cuts()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    try:
        with (
            watcher.watching(NAMES, [], _fail),
            watcher.watching(NAMES, [], cuts.append),
        ):
            await raw.set("kill:global", "manual:x")
            await until(cuts.came)
    finally:
        loop.set_exception_handler(before)
    assert [type(failure) for failure in failures] == [ZeroDivisionError]


async def test_nothing_is_polled_while_nothing_is_in_flight(watcher: CallWatcher) -> None:
    with watcher.watching(NAMES, [], Cuts().append):
        assert watcher.polling

    async def idle() -> bool:
        return not watcher.polling

    await until(idle)


async def test_the_monitor_notices_and_sweeps_and_one_leads(
    authority: Authority, connect: Connect, raw: Any
) -> None:
    other = await connect("p2")
    first, second = (Monitor(process, lambda: ["kill:agent:idle"]) for process in (authority, other))
    await raw.set("kill:agent:idle", "manual:x")
    await lapse(raw, await held(authority, ask("c1", 10, line("agent:coder", 100))))

    assert (await first.round(), await second.round()) == (True, False)

    assert await amounts(authority, "agent:coder|day|2026-11-21") == (0, 0, 10)
    assert [e.kind for e in await events(authority)] == ["reserved", "switch", "in_doubt"]
    await raw.delete("curb:lead:monitor")  # its process died, the lease went by
    assert await second.round()


async def test_the_monitor_sees_a_switch_go_that_nobody_names_any_more(
    authority: Authority, raw: Any
) -> None:
    await authority.set_switch("kill:agent:gone", "manual:x")
    await raw.delete("kill:agent:gone")
    await Monitor(authority, lambda: []).round()
    assert [e.body["new"] for e in await events(authority, "switch")] == ["manual:x", ""]


def _fail(cut: Cut) -> None:
    raise ZeroDivisionError


async def _noticed(authority: Authority) -> bool:
    return bool(await authority.known_switches())


async def test_it_says_how_long_ago_it_has_looked(authority: Authority, watcher: CallWatcher) -> None:
    assert watcher.delay_seconds == 0
    with watcher.watching(NAMES, [], lambda cut: None):
        before = watcher.delay_seconds

        async def looked_again() -> bool:
            nonlocal before
            earlier, before = before, watcher.delay_seconds
            return before < earlier

        await until(looked_again)
        assert 0 < watcher.delay_seconds < 10
    assert watcher.delay_seconds == 0
