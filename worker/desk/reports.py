"""Cost reports: the one that stands, made when it is due, in any of its forms."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from activities.reports.document import ReportDocument
from activities.reports.flat import as_csv, as_json
from activities.reports.gathering import Reporter
from activities.reports.html import html
from activities.reports.keeping import made_and_kept, stored_document
from activities.reports.markdown import markdown
from activities.reports.overview import page_of
from gateway.closing import close_day
from gateway.errors import NotFound
from gateway.policy.periods import Calendar
from gateway.policy.report_periods import ReportPeriod, running
from gateway.state.authority import Authority
from gateway.store import Store
from worker.config import Config

Format = Literal["md", "html", "json", "csv"]


def calendar_of(config: Config) -> Calendar:
    """The accounting days of this configuration."""
    return Calendar(ZoneInfo(config.gateway.timezone), config.gateway.day_start_seconds)


class ReportDesk:
    """Finds, makes and closes. Its errors: BooksLag when the books have not come far enough."""

    def __init__(self, store: Store, authority: Authority, config: Config) -> None:
        self.calendar = calendar_of(config)
        self._store = store
        self._authority = authority
        self._reporter = Reporter(store, authority, self.calendar, config.reports)

    async def today(self) -> date:
        """The running accounting day."""
        return running("daily", self.calendar, await self._authority.clock_ms()).first_day

    async def found(self, period: ReportPeriod) -> ReportDocument:
        """What is stored, unless it was preliminary and the period is over by now; else made.

        Of a period that is not over it is how it looks so far, and nothing is stored. Raises NotFound where
        nothing is on the books, BooksLag.
        """
        stored = await stored_document(self._store, period.kind, period.name)
        now_ms = await self._authority.clock_ms()
        is_over = period.ends_ms <= now_ms
        if stored is not None and (stored.state == "final" or not is_over):
            return stored
        await self._reporter.booked_until(min(period.ends_ms, now_ms))
        if not is_over:
            return await self._reporter.make(period, datetime.now(UTC))
        first = await self._store.figures.first_day()
        if first is None or period.last_day < first:
            since = f"; the first day on the books is {first}" if first else ""
            raise NotFound(f"nothing is on the books for {period.name}{since}")
        return await made_and_kept(self._reporter, self._store, period, datetime.now(UTC))

    async def close_today(self, *, by: str) -> ReportDocument:
        """Close the running day before its end, and keep its report until the real one comes."""
        period = running("daily", self.calendar, await self._authority.clock_ms())
        await self._reporter.booked_until(await self._authority.clock_ms())
        await close_day(self._authority, self._store, self.calendar, period.first_day, preliminary=True)
        await self._store.events.audit(by, "day_close", period.name, {"preliminary": True})
        return await made_and_kept(self._reporter, self._store, period, datetime.now(UTC), preliminary=True)


def rendered(found: ReportDocument, format: Format, workflow_url: Callable[[str], str]) -> str:
    """A report as text of this format. workflow_url: of a run in the Temporal UI, '' where none is known."""
    match format:
        case "json":
            return as_json(found)
        case "csv":
            return as_csv(found)
        case "html":
            return html(page_of(found), workflow_url)
        case "md":
            return markdown(page_of(found), workflow_url)
