"""The sections of a report about money: budgets, where it went, what came of it, where the month goes."""

from collections.abc import Sequence
from datetime import date, datetime

from activities.reports.document import (
    BudgetLine,
    Line,
    Outlook,
    Point,
    ReportDocument,
    Work,
    share,
)
from activities.reports.page import Bar, Cell, Column, Month, Section, Table, Tone
from activities.reports.words import (
    NOBODY,
    NOTHING,
    Amounts,
    change_cell,
    counted,
    long_day,
    month,
    percent,
    scope,
    short,
    short_day,
    whole,
)

NEARLY, SHOWN = 0.8, 10


def spend_chart(report: ReportDocument, amounts: Amounts) -> Section:
    """Spend per hour of the day, or per day of the week."""
    highest = max((point.cost_nano_usd for point in report.chart), default=0)
    daily = report.kind == "daily"
    bars = [
        Bar(_label(point, number, daily), amounts(point.cost_nano_usd), _height(point, highest))
        for number, point in enumerate(report.chart)
    ]
    note = ""
    if highest > 0:
        dearest = max(report.chart, key=lambda point: point.cost_nano_usd)
        note = f"Most of all {_when(dearest, daily)}: {amounts(highest)}."
    return Section("Spend by hour" if daily else "Spend by day", note, chart=bars)


def _height(point: Point, highest: int) -> float:
    return max(0.0, point.cost_nano_usd / highest) if highest > 0 else 0.0


def _label(point: Point, number: int, daily: bool) -> str:
    if not daily:
        return short_day(date.fromisoformat(point.name))
    return "" if number % 6 else f"{datetime.fromisoformat(point.name):%H:%M}"


def _when(point: Point, daily: bool) -> str:
    if daily:
        return f"in the hour from {datetime.fromisoformat(point.name):%H:%M}"
    return f"on {long_day(date.fromisoformat(point.name)).rpartition(' ')[0]}"


def budgets(report: ReportDocument, amounts: Amounts) -> Section:
    """What was spent of each daily budget."""
    note = ""
    if not report.budgets:
        note = "No daily budget is set. `budgets:` in curb.yaml sets them."
    elif report.kind == "weekly":
        note = "The daily budgets of the week's days, added up."
    columns = (
        Column("Budget"), Column("Used", width=24), Column("", right=True), Column("Spent", right=True),
        Column("Limit", right=True), Column("Refused", right=True, minor=True),
    )  # fmt: skip
    rows = [_budget_row(each, amounts) for each in report.budgets[:SHOWN]]
    after = ""
    if report.budgets_total > len(rows):
        after = f"{counted(report.budgets_total - len(rows), 'more budget')} with less of it used."
    return Section("Spend against budget", note, Table(columns, rows) if rows else None, after=after)


def _budget_row(line: BudgetLine, amounts: Amounts) -> list[Cell]:
    used = share(line.spent_nano_usd, line.limit_nano_usd or 0)
    return [
        Cell(scope(line.scope)),
        Cell("", tone_of(used), bar=used or 0.0),
        Cell(percent(used), tone_of(used)),
        Cell(amounts(line.spent_nano_usd)),
        Cell(amounts(line.limit_nano_usd)),
        Cell(whole(line.refusals) if line.refusals else NOTHING, "muted"),
    ]


def tone_of(used: float | None) -> Tone:
    """Red when a budget is spent, amber when it nearly is."""
    if used is None:
        return "muted"
    return "bad" if used >= 1 else "warn" if used >= NEARLY else "good"


def cuts(report: ReportDocument, amounts: Amounts) -> list[Section]:
    """Where the money went, by each of the five cuts; one with nothing but nameless is left out."""
    wanted = (
        ("By agent", "Agent", report.agents),
        ("By model", "Model", report.models),
        ("By team", "Team", report.teams),
        ("By user", "User", report.users),
        ("By feature", "Feature", report.features),
    )
    return [
        _cut(title, name, lines, report, amounts)
        for title, name, lines in wanted
        if any(line.name or line.others for line in lines)
    ]


def _cut(title: str, name: str, lines: Sequence[Line], report: ReportDocument, amounts: Amounts) -> Section:
    total, before = report.totals, report.before
    has_tokens = any(line.prompt_tokens is not None for line in lines)
    counts = [Column("Calls", right=True, minor=True, width=9 if has_tokens else 18)]
    sums = [
        Cell("Total"), Cell(""), Cell(amounts(total.cost_nano_usd)), Cell(""),
        change_cell(total.cost_nano_usd, before.cost_nano_usd if before else None),
        Cell(whole(total.attempts)),
    ]  # fmt: skip
    if has_tokens:
        counts.append(Column("Tokens", right=True, minor=True, width=9))
        sums.append(Cell(short(total.prompt_tokens + total.output_tokens)))
    columns = (
        Column(name), Column("", minor=True, width=20), Column("Cost", right=True, width=14),
        Column("Share", right=True, width=9), Column("Change", right=True, width=10), *counts,
    )  # fmt: skip
    rows = [_line_row(line, total.cost_nano_usd, before is not None, amounts) for line in lines]
    return Section(title, table=Table(columns, [row[: len(columns)] for row in rows], sums))


def _line_row(line: Line, total_nano_usd: int, compared: bool, amounts: Amounts) -> list[Cell]:
    part = share(line.cost_nano_usd, total_nano_usd)
    before = line.before_nano_usd if compared else None
    name = Cell(counted(line.others, "other"), "muted") if line.others else Cell(line.name or NOBODY)
    return [
        name,
        Cell("", bar=max(part or 0.0, 0.0)),
        Cell(amounts(line.cost_nano_usd)),
        Cell(percent(part), "muted"),
        change_cell(line.cost_nano_usd, before),
        Cell(whole(line.attempts), "muted"),
        Cell(short((line.prompt_tokens or 0) + (line.output_tokens or 0)), "muted"),
    ]


def results(report: ReportDocument, amounts: Amounts) -> Section | None:
    """What agents did, what that was worth, and what was left of it."""
    if not report.work:
        return None
    valued = report.work_total.value_nano_usd is not None
    columns = [
        Column("Agent"), Column("Tasks done", right=True), Column("Completed", right=True, minor=True),
        Column("Cost", right=True), Column("Per task", right=True),
    ]  # fmt: skip
    note = "Cost is all that the agent spent, also on tasks that were not completed."
    if valued:
        columns += [Column("Value", right=True, minor=True), Column("Result", right=True)]
        note += " Value is what was entered for each completed task; the result is value minus cost."
    rows = [_work_row(each, each.agent or NOBODY, valued, amounts) for each in report.work]
    total = _work_row(report.work_total, "Total", valued, amounts)
    after = "" if valued else "To see what agents earn, enter value_per_task for them in curb.yaml."
    return Section("What it brought", note, Table(columns, rows, total), after=after)


def _work_row(work: Work, name: str, valued: bool, amounts: Amounts) -> list[Cell]:
    cells = [
        Cell(name),
        Cell(whole(work.completed)),
        Cell(percent(share(work.completed, work.ended)), _completion_tone(work)),
        Cell(amounts(work.cost_nano_usd)),
        Cell(amounts(work.cost_per_completed_nano_usd)),
    ]
    if valued:
        profit = work.profit_nano_usd
        tone: Tone = "muted" if profit is None else "good" if profit >= 0 else "bad"
        result = NOTHING if profit is None else amounts.signed(profit)
        cells += [Cell(amounts(work.value_nano_usd)), Cell(result, tone)]
    return cells


def _completion_tone(work: Work) -> Tone:
    done = share(work.completed, work.ended)
    return "" if done is None or done >= 0.9 else "warn" if done >= 0.5 else "bad"


def ahead(report: ReportDocument, amounts: Amounts) -> Section | None:
    """The month so far and where it may end, and the same for whoever has a monthly budget."""
    outlook = report.outlook
    if outlook is None:
        return None
    columns = (
        Column("For"), Column("So far", right=True), Column("Expected", right=True),
        Column("Range", right=True, minor=True), Column("Budget", right=True),
        Column("", right=True),
    )  # fmt: skip
    rows = [_outlook_row(each, amounts) for each in (outlook, *report.outlooks)]
    return Section(
        f"{month(outlook.month)} at its end",
        _outlook_words(outlook, amounts),
        Table(columns, rows),
        month=_month(outlook, amounts),
    )


def _outlook_words(outlook: Outlook, amounts: Amounts) -> str:
    if not outlook.days_to_come:
        return "The month is over."
    return (
        f"With {counted(outlook.days_to_come, 'day')} to come. In about eight cases of ten the month ends "
        "within the range; a usual day is the last seven days' mean, single bursts left out."
    )


def _outlook_row(outlook: Outlook, amounts: Amounts) -> list[Cell]:
    used = share(outlook.expected_nano_usd, outlook.limit_nano_usd or 0)
    return [
        Cell(scope(outlook.scope)),
        Cell(amounts(outlook.spent_nano_usd)),
        Cell(amounts(outlook.expected_nano_usd), "bad" if outlook.over else ""),
        Cell(f"{amounts(outlook.low_nano_usd)} – {amounts(outlook.high_nano_usd)}", "muted"),
        Cell(amounts(outlook.limit_nano_usd)),
        Cell(percent(used), tone_of(used)),
    ]


def _month(outlook: Outlook, amounts: Amounts) -> Month | None:
    """The curve of a month, where there is one to see."""
    ends = (outlook.low_nano_usd, outlook.expected_nano_usd, outlook.high_nano_usd)
    limit = outlook.limit_nano_usd
    near = limit is not None and limit <= 2 * ends[2]
    top = max(ends[2], limit or 0) if near else ends[2]
    if top <= 0 or not outlook.days:
        return None
    grown, sums = 0, []
    for day in outlook.days:
        grown += day.cost_nano_usd
        sums.append(max(0.0, grown / top))
    low, expected, high = (end / top for end in ends)
    return Month(
        grown=sums,
        days=len(outlook.days) + outlook.days_to_come,
        ends=(low, expected, high),
        limit=limit / top if near and limit is not None else None,
        first=f"1 {month(outlook.month).split()[0]}",
        caption=f"dotted: the budget of {amounts(limit)}" if near else "",
        last=f"{len(outlook.days) + outlook.days_to_come} {month(outlook.month).split()[0]}",
    )
