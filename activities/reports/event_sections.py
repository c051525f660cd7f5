"""The sections of a report about what happened: incidents, refusals, speed, errors, shadow, the books."""

from collections.abc import Sequence

from activities.reports.document import AlertLine, ReportDocument, RunIncident, share
from activities.reports.page import Cell, Column, Section, Table
from activities.reports.words import (
    NOBODY,
    NOTHING,
    Amounts,
    counted,
    humanly,
    listing,
    milliseconds,
    moment,
    percent,
    refusal,
    scope,
    short,
    shortened,
    whole,
)

SHOWN = 8  # of the lists that the document has in full: a mail must not become too long
_ASKED = {
    "budget": "asked for more money",
    "approval": "asked for an approval",
    "question": "asked a question",
}


def incidents(report: ReportDocument, amounts: Amounts) -> list[Section]:
    """Runs that were ended, questions to people, breaches and alerts, switches."""
    found = report.incidents
    made = (
        _runs(report, found.runs, found.runs_total, amounts),
        _escalations(report, found.escalations, found.escalations_total),
        _alerts("Budgets that were used up", report, found.breaches),
        _alerts("Alerts", report, found.alerts),
        _switches(report),
    )
    return [section for section in made if section is not None]


def _runs(
    report: ReportDocument, runs: Sequence[RunIncident], total: int, amounts: Amounts
) -> Section | None:
    if not runs:
        return None
    columns = (
        Column("Run", width=18), Column("Agent", minor=True, brief=True), Column("End", brief=True),
        Column("Why"), Column("Cost", right=True), Column("At", right=True, minor=True),
    )  # fmt: skip
    rows = [
        [
            Cell(run.run_id, workflow_id=run.workflow_id),
            Cell(shortened(run.agent, 20)),
            Cell(run.kind, "bad" if run.kind == "killed" else "warn"),
            Cell(run.reason or NOTHING, "muted"),
            Cell(amounts(run.cost_nano_usd)),
            Cell(moment(run.at, report.timezone), "muted"),
        ]
        for run in runs[:SHOWN]
    ]
    return Section("Runs that were ended", table=Table(columns, rows), after=_more(total, len(rows)))


def _escalations(report: ReportDocument, asked: Sequence[RunIncident], total: int) -> Section | None:
    if not asked:
        return None
    columns = (Column("Run", width=30), Column("Agent"), Column("What"), Column("At", right=True, minor=True))
    rows = [
        [
            Cell(each.run_id, workflow_id=each.workflow_id),
            Cell(each.agent or NOBODY),
            Cell(_ASKED.get(each.kind, humanly(each.kind))),
            Cell(moment(each.at, report.timezone), "muted"),
        ]
        for each in asked[:SHOWN]
    ]
    return Section("Questions to people", table=Table(columns, rows), after=_more(total, len(rows)))


def _alerts(title: str, report: ReportDocument, alerts: Sequence[AlertLine]) -> Section | None:
    if not alerts:
        return None
    columns = (
        Column("What"), Column("About"), Column("Times", right=True), Column("Last", right=True, minor=True),
    )  # fmt: skip
    rows = [
        [
            Cell(humanly(each.rule)),
            Cell("A run" if each.scope == "run" else scope(each.scope)),
            Cell(whole(each.alerts)),
            Cell(moment(each.last, report.timezone), "muted"),
        ]
        for each in alerts[:SHOWN]
    ]
    return Section(title, table=Table(columns, rows), after=_rest(len(alerts), len(rows)))


def _switches(report: ReportDocument) -> Section | None:
    changes = report.incidents.switches
    if not changes:
        return None
    columns = (Column("Switch"), Column("Change"), Column("At", right=True, minor=True))
    rows = [
        [
            Cell(each.name),
            Cell(f"set: {each.new}" if each.new else "lifted", "warn" if each.new else "good"),
            Cell(moment(each.at, report.timezone), "muted"),
        ]
        for each in changes[:SHOWN]
    ]
    total = report.incidents.switches_total
    return Section("Kill switches and throttles", table=Table(columns, rows), after=_more(total, len(rows)))


def refusals(report: ReportDocument) -> Section | None:
    """What was not bought, and by which limit."""
    if not report.violations:
        return None
    columns = (Column("Why"), Column("By"), Column("Times", right=True))
    rows = [
        [
            Cell(refusal(each.kind)),
            Cell(scope(each.scope) if each.scope else NOTHING),
            Cell(whole(each.refusals)),
        ]
        for each in report.violations[:SHOWN]
    ]
    total = [Cell("Total"), Cell(""), Cell(whole(report.violations_total))]
    note = "Calls that curb did not let through. They cost nothing."
    after = _rest(len(report.violations), len(rows))
    return Section("Calls refused", note, Table(columns, rows, total), after=after)


def service(report: ReportDocument, amounts: Amounts) -> list[Section]:
    """How fast calls were answered, how many failed, and what caches saved."""
    made = (_latency(report), _errors(report), _caches(report, amounts))
    return [section for section in made if section is not None]


def _latency(report: ReportDocument) -> Section | None:
    if not report.latency:
        return None
    columns = (
        Column("Model"), Column("Half within", right=True), Column("95 % within", right=True),
        Column("99 % within", right=True, minor=True), Column("Calls", right=True, minor=True),
    )  # fmt: skip
    rows = [
        [
            Cell(each.name or "All calls"),
            *(Cell(milliseconds(ms)) for ms in (each.p50_ms, each.p95_ms, each.p99_ms)),
            Cell(whole(each.attempts), "muted"),
        ]
        for each in report.latency[: SHOWN + 1]
    ]
    return Section("How long calls took", table=Table(columns, rows))


def _errors(report: ReportDocument) -> Section | None:
    if not report.errors:
        return None
    columns = (Column("Error"), Column("Provider"), Column("Calls", right=True))
    rows = [
        [Cell(humanly(each.type)), Cell(each.provider or NOTHING), Cell(whole(each.errors))]
        for each in report.errors[:SHOWN]
    ]
    part = percent(share(report.errors_total, report.totals.attempts))
    total = [Cell("Total"), Cell(f"{part} of all calls", "muted"), Cell(whole(report.errors_total))]
    after = _rest(len(report.errors), len(rows))
    return Section("Calls that failed", table=Table(columns, rows, total), after=after)


def _caches(report: ReportDocument, amounts: Amounts) -> Section | None:
    usage = report.totals
    if not usage.attempts:
        return None
    columns = (Column(""), Column("", right=True))
    rows = [
        [Cell("Tokens sent"), Cell(short(usage.prompt_tokens))],
        [Cell("Tokens received"), Cell(short(usage.output_tokens))],
        [
            Cell("Sent tokens that providers had in their caches"),
            Cell(percent(share(usage.cache_read_tokens, usage.prompt_tokens))),
        ],
        [Cell("Calls answered from curb's own cache"), Cell(percent(share(usage.cached, usage.attempts)))],
    ]
    if usage.saved_nano_usd:
        rows.append([Cell("What that saved"), Cell(amounts(usage.saved_nano_usd))])
    return Section("Tokens and caches", table=Table(columns, rows))


def shadow(report: ReportDocument) -> Section | None:
    """What agents in shadow mode would have done."""
    if not report.shadow:
        return None
    columns = (
        Column("Agent"), Column("Would have used"), Column("Times", right=True),
        Column("In runs", right=True, minor=True),
    )  # fmt: skip
    rows = [
        [Cell(each.agent or NOBODY), Cell(each.tool), Cell(whole(each.actions)), Cell(whole(each.runs))]
        for each in report.shadow[:SHOWN]
    ]
    after = _rest(len(report.shadow), len(rows))
    return Section(
        "Agents on trial", "In shadow mode nothing is really done.", Table(columns, rows), after=after
    )


def books(report: ReportDocument, amounts: Amounts) -> Section:
    """How certain the numbers are."""
    said, books = [], report.books
    if books.open_attempts:
        said.append(
            f"{counted(books.open_attempts, 'call')} had not been settled when this was written: they "
            f"come to {amounts(books.open_bound_nano_usd)} at most, beside the total."
        )
    else:
        said.append("Every call of this period is settled.")
    if books.reconciled_at is not None and books.differences is not None:
        against = listing(
            ["counters", *(["the providers' invoice"] if books.invoice_nano_usd is not None else [])]
        )
        outcome = "no difference" if not books.differences else counted(books.differences, "difference")
        when = moment(books.reconciled_at, report.timezone)
        said.append(f"The books were compared with {against} on {when}: {outcome}.")
    return Section("The books", " ".join(said))


def _more(total: int, shown: int) -> str:
    return f"The newest {shown} of {whole(total)}." if total > shown else ""


def _rest(there: int, shown: int) -> str:
    return f"{counted(there - shown, 'line')} more in the report as CSV." if there > shown else ""
