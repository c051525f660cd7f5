"""A report as a page: the numbers that matter, a summary in words, then the sections in their order."""

from collections.abc import Iterator

from activities.reports import event_sections, money_sections
from activities.reports.document import ReportDocument, share
from activities.reports.page import Figure, Page, Section, Tone
from activities.reports.words import (
    NOBODY,
    NOTHING,
    Amounts,
    change,
    counted,
    days,
    listing,
    long_day,
    moment,
    month,
    percent,
    whose,
)

_BADGES = {
    "final": "",
    "preliminary": "Preliminary: the day was closed early",
    "so_far": "So far: the period is not over",
}
_FOOTNOTE = (
    "Amounts are rounded for reading; the CSV of this report (attached, or by curb report with --format csv) "
    "has them exact."
)


def page_of(report: ReportDocument) -> Page:
    """What a reader sees of a report."""
    amounts = Amounts(report.totals.cost_nano_usd)
    name = _name(report)
    return Page(
        title=name,
        subject=f"Cost report: {name}, {amounts(report.totals.cost_nano_usd)}",
        subtitle=_subtitle(report),
        badge=_BADGES[report.state],
        figures=(_spent(report, amounts), _budget(report, amounts), _ahead(report, amounts)),
        summary=tuple(_summary(report, amounts)),
        sections=tuple(_sections(report, amounts)),
        footnote=_FOOTNOTE,
    )


def _name(report: ReportDocument) -> str:
    if report.kind == "daily":
        return long_day(report.first_day)
    week = int(report.period.rpartition("W")[2])
    return f"Week {week}, {days(report.first_day, report.last_day)}"


def _subtitle(report: ReportDocument) -> str:
    what = "Day" if report.kind == "daily" else "Days"
    return f"{what} as in {report.timezone} · written {moment(report.made_at, report.timezone)}"


def _spent(report: ReportDocument, amounts: Amounts) -> Figure:
    now, before = report.totals.cost_nano_usd, report.before
    than = "the day before" if report.kind == "daily" else "the week before"
    if before is None:
        return Figure("Spent", amounts(now), f"nothing on record for {than}")
    return Figure(
        "Spent",
        amounts(now),
        f"{change(now, before.cost_nano_usd)} on {than} ({amounts(before.cost_nano_usd)})",
    )


def _budget(report: ReportDocument, amounts: Amounts) -> Figure:
    label = "Of the day's budget" if report.kind == "daily" else "Of the week's daily budgets"
    line = report.day_budget
    if line is None or not line.limit_nano_usd:
        return Figure(label, NOTHING, "no budget is set for everything")
    used = share(line.spent_nano_usd, line.limit_nano_usd)
    note = f"{amounts(line.spent_nano_usd)} of {amounts(line.limit_nano_usd)}"
    return Figure(label, percent(used), note, money_sections.tone_of(used), used)


def _ahead(report: ReportDocument, amounts: Amounts) -> Figure:
    outlook = report.outlook
    if outlook is None:
        return Figure("Month's end", NOTHING, "no complete day to tell from yet")
    label = f"{month(outlook.month).split()[0]} at its end"
    note = f"{amounts(outlook.low_nano_usd)} to {amounts(outlook.high_nano_usd)}"
    if outlook.limit_nano_usd is None:
        return Figure(label, amounts(outlook.expected_nano_usd), f"{note}; no monthly budget")
    used = share(outlook.expected_nano_usd, outlook.limit_nano_usd)
    tone: Tone = money_sections.tone_of(used)
    return Figure(
        label,
        amounts(outlook.expected_nano_usd),
        f"{note}; budget {amounts(outlook.limit_nano_usd)}",
        tone,
        used,
    )


def _summary(report: ReportDocument, amounts: Amounts) -> Iterator[str]:
    """Two or three sentences for who reads no further."""
    yield from _dearest(report, amounts)
    yield from _done(report, amounts)
    over = [each for each in (report.outlook, *report.outlooks) if each is not None and each.over]
    if over:
        named = listing(whose(each.scope) for each in over[:3])
        yield f"The month is expected to end above its budget for {named}."
    yield _trouble(report)


def _dearest(report: ReportDocument, amounts: Amounts) -> Iterator[str]:
    total = report.totals
    if not total.attempts:
        yield "No call was made."
        return
    said = f"{counted(total.attempts, 'call')} cost {amounts(total.cost_nano_usd)}"
    named = next((line for line in report.agents if not line.others), None)
    if named is not None and named.cost_nano_usd:
        part = percent(share(named.cost_nano_usd, total.cost_nano_usd))
        said += f", {part} of it for {named.name or NOBODY}"
    yield f"{said}."


def _done(report: ReportDocument, amounts: Amounts) -> Iterator[str]:
    work = report.work_total
    if not work.ended:
        return
    were = "was" if work.completed == 1 else "were"
    said = f"{counted(work.completed, 'task')} of {work.ended} {were} completed"
    if work.cost_per_completed_nano_usd is not None:
        said += f", at {amounts(work.cost_per_completed_nano_usd)} each"
    if work.profit_nano_usd is not None:
        left = amounts(work.profit_nano_usd)
        said += f"; they brought {amounts(work.value_nano_usd)}, which leaves {left} after cost"
    yield f"{said}."


def _trouble(report: ReportDocument) -> str:
    found = report.incidents
    parts = [
        (found.runs_total, "run was ended", "runs were ended"),
        (sum(each.alerts for each in found.breaches), "budget was used up", "budgets were used up"),
        (found.escalations_total, "question waited for a person", "questions waited for people"),
        (report.violations_total, "call was refused", "calls were refused"),
        (report.errors_total, "call failed", "calls failed"),
    ]
    said = [counted(number, one, many) for number, one, many in parts if number]
    return f"{listing(said)}." if said else "Nothing was stopped, refused or failed."


def _sections(report: ReportDocument, amounts: Amounts) -> Iterator[Section]:
    yield money_sections.budgets(report, amounts)
    yield money_sections.spend_chart(report, amounts)
    if (ahead := money_sections.ahead(report, amounts)) is not None:
        yield ahead
    yield from money_sections.cuts(report, amounts)
    if (results := money_sections.results(report, amounts)) is not None:
        yield results
    yield from event_sections.incidents(report, amounts)
    if (refusals := event_sections.refusals(report)) is not None:
        yield refusals
    yield from event_sections.service(report, amounts)
    if (shadow := event_sections.shadow(report)) is not None:
        yield shadow
    yield event_sections.books(report, amounts)
