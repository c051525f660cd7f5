"""A report says what the ledger says: a week of traffic, computed again in plain Python."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from activities.reports.document import Line, ReportDocument
from activities.reports.gathering import Reporter
from activities.reports.policy import ReportPolicy
from gateway.policy.periods import Calendar
from gateway.policy.report_periods import holding
from tests.integration.books import Books, open_books
from tests.integration.traffic import MONDAY, Request, a_week_before, events, week

UTC_DAYS = Calendar(ZoneInfo("UTC"))
LATER = datetime(2024, 6, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
async def books(redis_url: str, database: str) -> AsyncIterator[Books]:
    """The ledger of a busy week, and of a quieter one before it."""
    async with open_books(redis_url, database) as books:
        for requests in (week(), week(a_week_before(), every=3)):
            await books.store.ledger.apply_events(list(events(requests)))
        yield books


async def reported(books: Books, kind: str, day: date, *, top: int = 10) -> ReportDocument:
    reporter = Reporter(books.store, books.authority, UTC_DAYS, ReportPolicy(top=top))
    await reporter.booked_until(0)
    return await reporter.make(holding(kind, UTC_DAYS, day), LATER)  # type: ignore[arg-type]


def spent(requests: Iterable[Request], name: Callable[[Request], str]) -> Counter[str]:
    costs: Counter[str] = Counter()
    for each in requests:
        costs[name(each)] += each.booked
    return costs


def bought(requests: Iterable[Request]) -> list[Request]:
    return [each for each in requests if each.kind != "refused"]


def costs_of(lines: Iterable[Line]) -> dict[str, int]:
    return {line.name: line.cost_nano_usd for line in lines}


async def test_the_weeks_totals_are_those_of_plain_python_and_of_the_ledger(books: Books) -> None:
    report = await reported(books, "weekly", MONDAY)
    mine = week()
    ledger = await books.store.attempts.spend("day", limit=100)
    in_week = [each for each in ledger if "2024-06-03" <= each.name <= "2024-06-09"]

    assert report.totals.cost_nano_usd == sum(each.booked for each in mine)
    assert report.totals.cost_nano_usd == sum(each.cost_nano_usd for each in in_week)
    assert report.totals.attempts == len(bought(mine))
    assert report.totals.refusals == len(mine) - len(bought(mine))
    assert report.totals.errors == sum(each.kind in ("failed", "in_doubt") for each in mine)
    good = [each for each in mine if each.kind == "settled"]
    assert report.totals.output_tokens == sum(each.output_tokens for each in good)
    assert report.totals.prompt_tokens == sum(each.input_tokens + each.cache_read_tokens for each in good)
    assert report.before is not None
    assert report.before.cost_nano_usd == sum(each.booked for each in week(a_week_before(), every=3))


async def test_every_cut_is_that_of_plain_python(books: Books) -> None:
    report = await reported(books, "weekly", MONDAY, top=100)
    mine = bought(week())

    assert costs_of(report.agents) == spent(mine, lambda each: each.agent)
    assert costs_of(report.models) == spent(mine, lambda each: each.deployment)
    assert costs_of(report.teams) == spent(mine, lambda each: each.team)
    assert costs_of(report.users) == spent(mine, lambda each: each.user)
    assert costs_of(report.features) == spent(mine, lambda each: each.feature)
    assert {point.name: point.cost_nano_usd for point in report.chart} == spent(mine, lambda each: each.day)


@pytest.mark.parametrize("top", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("kind", ["daily", "weekly"])
async def test_parts_add_up_to_the_total(books: Books, kind: str, top: int) -> None:
    report = await reported(books, kind, MONDAY + timedelta(days=2), top=top)
    total = report.totals.cost_nano_usd

    assert total > 0
    for lines in (report.agents, report.models, report.teams, report.users, report.features):
        assert sum(line.cost_nano_usd for line in lines) == total
        assert sum(line.attempts for line in lines) == report.totals.attempts
    assert sum(point.cost_nano_usd for point in report.chart) == total
    assert report.before is not None
    for lines in (report.agents, report.models, report.teams, report.features):
        assert sum(line.before_nano_usd or 0 for line in lines) == report.before.cost_nano_usd


async def test_seven_days_are_the_week(books: Books) -> None:
    days = [await reported(books, "daily", MONDAY + timedelta(days=step)) for step in range(7)]
    whole = await reported(books, "weekly", MONDAY)

    assert sum(day.totals.cost_nano_usd for day in days) == whole.totals.cost_nano_usd
    assert [len(day.chart) for day in days] == [24] * 7
    assert days[3].before == days[2].totals


async def test_refusals_errors_latency_and_what_is_open(books: Books) -> None:
    report = await reported(books, "weekly", MONDAY)
    mine = week()
    refused = Counter(f"agent:{each.agent}" for each in mine if each.kind == "refused")
    wrong = [each for each in mine if each.kind in ("failed", "in_doubt")]
    lasted = sorted(each.duration_ms for each in mine if each.kind == "settled")

    assert {each.scope: each.refusals for each in report.violations} == refused
    assert report.violations_total == refused.total()
    assert report.errors_total == len(wrong) == sum(each.errors for each in report.errors)
    assert {each.type for each in report.errors} == {"overloaded"}
    assert report.books.open_attempts == sum(each.kind == "in_doubt" for each in mine)
    everything = report.latency[0]
    assert (everything.name, everything.attempts) == ("", len(lasted))
    for share, told in ((0.5, everything.p50_ms), (0.95, everything.p95_ms), (0.99, everything.p99_ms)):
        assert told == pytest.approx(lasted[int(share * len(lasted))], rel=0.2)


async def test_days_are_those_of_the_zone(books: Books) -> None:
    """New York's days end four hours after UTC's; a chart's hours are told by its clock."""
    calendar, monday = Calendar(ZoneInfo("America/New_York")), date(2024, 5, 6)
    mine = week(monday, "America/New_York", every=10)
    await books.store.ledger.apply_events(list(events(mine)))
    reporter = Reporter(books.store, books.authority, calendar)
    await reporter.booked_until(0)
    wednesday = await reporter.make(holding("daily", calendar, date(2024, 5, 8)), LATER)

    assert wednesday.totals.cost_nano_usd == sum(each.booked for each in mine if each.day == "2024-05-08") > 0
    assert wednesday.begins_at == datetime(2024, 5, 8, 4, tzinfo=UTC)
    assert [point.name for point in wednesday.chart][::23] == [
        "2024-05-08T00:00-0400",
        "2024-05-08T23:00-0400",
    ]


async def test_the_month_is_looked_ahead_to_from_the_end_of_the_period(books: Books) -> None:
    report = await reported(books, "daily", date(2024, 6, 9))
    mine = [*week(), *week(a_week_before(), every=3)]
    outlook = report.outlook

    assert outlook is not None
    assert (outlook.month, outlook.days_to_come, outlook.limit_nano_usd) == ("2024-06", 21, None)
    assert outlook.spent_nano_usd == sum(each.booked for each in mine if each.day[:7] == "2024-06")
    assert outlook.low_nano_usd <= outlook.expected_nano_usd <= outlook.high_nano_usd


async def test_a_report_is_read_again_as_it_was_written(books: Books) -> None:
    report = await reported(books, "weekly", MONDAY)
    text = report.model_dump_json()

    assert ReportDocument.model_validate_json(text) == report
    assert f'"cost_usd":"{report.totals.cost_nano_usd // 10**9}.' in text
    assert "nano" not in text


async def test_a_period_without_anything_is_a_report_too(books: Books) -> None:
    report = await reported(books, "daily", date(2024, 1, 8))

    assert report.totals.cost_nano_usd == report.totals.attempts == 0
    assert report.before is None
    assert report.agents == report.users == ()
    assert report.outlook is None
