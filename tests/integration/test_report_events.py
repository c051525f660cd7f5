"""What a report says about runs, people, switches and shadow: counts and names, never anybody's words."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from activities.reports.document import ReportDocument, Work
from activities.reports.gathering import BooksLag, Reporter
from gateway.closing import close_day
from gateway.drainer import Drainer
from gateway.policy.money import usd
from gateway.policy.periods import Calendar
from gateway.policy.report_periods import running
from gateway.policy.scopes import Period
from gateway.store.runs import Run
from tests.integration.books import Books, open_books
from tests.integration.ledger_events import switched
from tests.integration.past_days import open_budgets

SECRET = "the-words-of-a-person"
VALUED = {"agent": {"value_per_task_nano_usd": usd("2")}}
UTC_DAYS = Calendar(ZoneInfo("UTC"))


@pytest.fixture
async def books(redis_url: str, database: str) -> AsyncIterator[Books]:
    """An empty Redis, and the books of this module."""
    async with open_books(redis_url, database) as books:
        yield books


async def ended(books: Books, run: Run, status: str, reason: str = "", cost: int = 0) -> None:
    await books.store.runs.open(run)
    await books.store.runs.update(run.id, status=status, reason=reason, cost_nano_usd=cost)


async def today(books: Books, *, preliminary: bool = False) -> ReportDocument:
    now = datetime.now(UTC)
    period = running("daily", UTC_DAYS, round(now.timestamp() * 1000))
    reporter = Reporter(books.store, books.authority, UTC_DAYS)
    return await reporter.make(period, now + timedelta(seconds=1), preliminary=preliminary)


def work_of(report: ReportDocument, agent: str) -> Work:
    return next(each for each in report.work if each.agent == agent)


async def test_value_comes_from_the_agent_or_the_run_and_only_from_what_was_completed(books: Books) -> None:
    agent = f"{books.agent}-seller"
    plain = Run("", agent, spec=VALUED)
    for name, run, status in (
        ("done", plain, "completed"),
        ("tagged", replace(plain, tags={"value_usd": "10.5"}), "completed"),
        ("child", replace(plain, tags={"value_usd": "10.5"}, parent="tagged"), "completed"),
        ("typed wrong", replace(plain, tags={"value_usd": "lots"}), "completed"),
        ("failed", replace(plain, tags={"value_usd": "10.5"}), "failed"),
        ("shadow", replace(plain, mode="shadow"), "completed"),
    ):
        await ended(books, replace(run, id=f"{books.prefix}{name}"), status)
    await ended(books, Run(f"{books.prefix}free", f"{agent}-free"), "completed")

    report = await today(books)

    seller, free = work_of(report, agent), work_of(report, f"{agent}-free")
    assert (seller.completed, seller.failed) == (5, 1)
    assert seller.value_nano_usd == usd("2") + usd("10.5") + usd("2") + usd("2")
    assert (free.completed, free.value_nano_usd) == (1, None)


async def test_runs_that_were_ended_are_named_with_why_and_failed_ones_are_only_counted(books: Books) -> None:
    agent = f"{books.agent}-ender"
    await ended(books, Run(f"{books.prefix}killed", agent), "killed", "x" * 500, cost=7)
    await ended(
        books,
        Run(f"{books.prefix}stopped", agent, spec={"workflow_id": "theirs"}),
        "stopped",
        "repeated_call (4 in a row)",
    )
    await ended(books, Run(f"{books.prefix}failed", agent), "failed", SECRET)

    report = await today(books)

    mine = {each.run_id: each for each in report.incidents.runs if each.agent == agent}
    assert mine.keys() == {f"{books.prefix}killed", f"{books.prefix}stopped"}
    killed, stopped = mine[f"{books.prefix}killed"], mine[f"{books.prefix}stopped"]
    assert (killed.kind, killed.cost_nano_usd, len(killed.reason)) == ("killed", 7, 160)
    assert (stopped.workflow_id, stopped.reason) == ("theirs", "repeated_call (4 in a row)")
    assert work_of(report, agent).failed == 1
    assert SECRET not in report.model_dump_json()


async def test_questions_and_shadow_actions_are_counted_without_their_words(books: Books) -> None:
    agent, run_id = f"{books.agent}-asker", f"{books.prefix}asker"
    await books.store.runs.open(Run(run_id, agent, mode="shadow"))
    await books.store.runs.record(run_id, "escalation_question", "q1", {"kind": "question", "detail": SECRET})
    for key in ("a", "b"):
        await books.store.runs.record(run_id, "shadow_action", key, {"tool": "send_mail", "would": SECRET})

    report = await today(books)

    asked = [(each.run_id, each.kind) for each in report.incidents.escalations if each.agent == agent]
    assert asked == [(run_id, "question")]
    [action] = [each for each in report.shadow if each.agent == agent]
    assert (action.tool, action.actions, action.runs) == ("send_mail", 2, 1)
    assert SECRET not in report.model_dump_json()


async def test_breaches_alerts_and_switches_are_listed(books: Books) -> None:
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    scope, name = f"agent:{books.agent}", f"kill:agent:{books.agent}"
    await books.store.events.alert("daily_budget_exceeded", scope, {"n": 1})
    for number in range(3):
        await books.store.events.alert("repeated_call", f"run:{books.prefix}{number}", {"n": number})
    await books.store.events.alert("repeated_call", f"run:{books.prefix}0", {}, state="resolved")
    change = switched(name, "", "manual:ann:why", seq=1)
    await books.store.ledger.apply_events([replace(change, at_ms=now_ms)])

    found = (await today(books)).incidents

    assert [(each.rule, each.alerts) for each in found.breaches if each.scope == scope] == [
        ("daily_budget_exceeded", 1)
    ]
    assert [(each.scope, each.alerts) for each in found.alerts if each.rule == "repeated_call"] == [
        ("run", 3)
    ]
    assert [(each.old, each.new) for each in found.switches if each.name == name] == [("", "manual:ann:why")]


async def test_budgets_are_live_until_the_day_is_closed_and_then_as_they_were(books: Books) -> None:
    scope = f"agent:{books.agent}"
    limits = {
        ("global", Period.DAY): usd("5"),
        (scope, Period.DAY): usd("4"),
        ("tier:max", Period.DAY): usd("9"),
    }
    await books.store.budgets.apply_policy(limits, source="", applied_by="test")
    await open_budgets(books)
    await bought(books, "first", usd("1"))

    live = await today(books)
    await close_day(books.authority, books.store, UTC_DAYS, datetime.now(UTC).date(), preliminary=True)
    await bought(books, "second", usd("2"))
    closed, goes_on = await today(books, preliminary=True), await today(books)

    assert [each.scope for each in live.budgets] == ["global", scope]
    assert [spent(report, scope) for report in (live, closed, goes_on)] == [usd("1"), usd("1"), usd("3")]
    assert [each.limit_nano_usd for each in closed.budgets] == [usd("5"), usd("4")]
    assert (closed.state, goes_on.state) == ("preliminary", "so_far")


async def bought(books: Books, name: str, cost: int) -> None:
    """Admitted, settled and on the books."""
    await books.settle(await books.admit(f"{books.prefix}{name}", cost), cost)
    await Drainer(books.authority, books.store, "d").drain_all()


async def test_a_report_waits_for_the_books(books: Books) -> None:
    """Nobody drains this outbox: what was decided is not in Postgres."""
    await open_budgets(books)
    await books.admit(f"{books.prefix}undrained", 1_000)
    reporter = Reporter(books.store, books.authority, UTC_DAYS)

    with pytest.raises(BooksLag, match="not drained"):
        await reporter.booked_until(await books.authority.clock_ms() + 1, seconds=0.1)
    await reporter.booked_until(0)


def spent(report: ReportDocument, scope: str) -> int:
    return next(each.spent_nano_usd for each in report.budgets if each.scope == scope)
