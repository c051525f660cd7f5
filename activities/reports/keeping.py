"""Reports as they are stored, and the alert that their outlook raises: shared by the schedule and the CLI."""

from datetime import datetime, timedelta

from activities.reports.document import Outlook, ReportDocument
from activities.reports.gathering import Reporter
from gateway.policy.report_periods import ReportKind, ReportPeriod
from gateway.store import Store
from gateway.store.events import Alert, EventState
from gateway.store.reports import StoredReport

RULE = "forecast_over_budget"
# The forecast of a day that is long over says nothing about the month that goes on.
_NEWS = timedelta(days=2)
_LOOKED_BACK = 500


async def stored_document(store: Store, kind: ReportKind, period: str) -> ReportDocument | None:
    """The report of a period as it was stored; None when none was."""
    stored = await store.reports.get(kind, period)
    return None if stored is None else ReportDocument.model_validate(stored.document)


async def made_and_kept(
    reporter: Reporter, store: Store, period: ReportPeriod, now: datetime, *, preliminary: bool = False
) -> ReportDocument:
    """Make a report, store it and return the one that stands: an earlier final one wins.

    The books must have come far enough: `reporter.booked_until`. Done again it changes nothing.
    """
    made = await reporter.make(period, now, preliminary=preliminary)
    stored = await store.reports.put(
        StoredReport(
            kind=made.kind,
            period=made.period,
            first_day=made.first_day,
            last_day=made.last_day,
            version=made.version,
            preliminary=made.state != "final",
            document=made.model_dump(mode="json"),
            made_at=made.made_at,
        )
    )
    standing = ReportDocument.model_validate(stored.document)
    await tell_outlook(store, standing)
    return standing


async def tell_outlook(store: Store, report: ReportDocument) -> None:
    """Raise `forecast_over_budget` for each budget that the month is expected to end above, and take it
    back when it no longer is, or when its month is over; once per scope and day, however often it is done.
    """
    if report.kind != "daily" or report.state != "final" or report.made_at - report.ends_at > _NEWS:
        return
    open_months = await _open_months(store)
    for outlook in (report.outlook, *report.outlooks):
        if outlook is None:
            continue
        month = open_months.get(outlook.scope, "")
        if month and (month != outlook.month or not outlook.over):
            await _tell(store, report, outlook, month, "resolved")
        if outlook.over:
            await _tell(store, report, outlook, outlook.month, "firing")


async def _open_months(store: Store) -> dict[str, str]:
    """The month for which a scope was told to go over, where that was the newest word about it."""
    newest: dict[str, Alert] = {}
    for event in await store.events.alerts(rule=RULE, limit=_LOOKED_BACK):
        newest.setdefault(event.scope, event)
    return {
        scope: str(event.evidence.get("month", ""))
        for scope, event in newest.items()
        if event.state == "firing"
    }


async def _tell(
    store: Store, report: ReportDocument, outlook: Outlook, month: str, state: EventState
) -> None:
    evidence: dict[str, object] = {"month": month}
    if month == outlook.month:
        evidence |= {
            "expected_nano_usd": outlook.expected_nano_usd,
            "limit_nano_usd": outlook.limit_nano_usd or 0,
            "low_nano_usd": outlook.low_nano_usd,
            "high_nano_usd": outlook.high_nano_usd,
            "spent_nano_usd": outlook.spent_nano_usd,
        }
    key = f"forecast:{outlook.scope}:{month}:{report.last_day}:{state}"
    await store.events.alert(RULE, outlook.scope, evidence, key=key, state=state)
