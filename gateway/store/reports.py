"""Reports as they were made, for ever; and to which channels they were delivered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from gateway.store import tables_reports
from gateway.store.database import Connection, Database, run
from gateway.store.folding import to_json

TABLES = (tables_reports.reports, tables_reports.report_deliveries)


@dataclass(frozen=True, slots=True)
class StoredReport:
    """One report. version: of the document's form. preliminary: of a period that was not over."""

    kind: str
    period: str
    first_day: date
    last_day: date
    version: int
    preliminary: bool
    document: Mapping[str, Any]
    made_at: datetime


@dataclass(frozen=True, slots=True)
class ReportListed:
    """A report without its document."""

    kind: str
    period: str
    first_day: date
    last_day: date
    version: int
    preliminary: bool
    made_at: datetime


@dataclass(frozen=True, slots=True)
class ReportDelivery:
    """What became of a report on one channel; delivered_at None: not there yet."""

    kind: str
    period: str
    channel: str
    tries: int
    error: str
    delivered_at: datetime | None


class Reports:
    """Stored reports; the first one of a period stays, unless it was preliminary."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, report: StoredReport) -> StoredReport:
        """Store a report and return the one that stands: this one, or an earlier one of the period."""

        async def put(connection: Connection) -> StoredReport:
            await run(
                connection,
                "put_report",
                kind=report.kind,
                period=report.period,
                first_day=report.first_day,
                last_day=report.last_day,
                version=report.version,
                preliminary=report.preliminary,
                document=to_json([dict(report.document)])[1:-1],
                made_at=report.made_at,
            )
            [row] = await run(connection, "get_report", kind=report.kind, period=report.period)
            return StoredReport(**row)

        return await self._database.transact(put)

    async def get(self, kind: str, period: str) -> StoredReport | None:
        """The report of a period, if one was made."""
        row = await self._database.row("get_report", kind=kind, period=period)
        return None if row is None else StoredReport(**row)

    async def list(self, kind: str | None = None, *, limit: int = 100) -> list[ReportListed]:
        """Reports, newest period first."""
        rows = await self._database.rows("list_reports", kind=kind, limit=limit)
        return [ReportListed(**row) for row in rows]

    async def claim(
        self, kind: str, period: str, channel: str, *, owner: str, lapses_seconds: float = 120.0
    ) -> bool:
        """Whether `owner` is the one to deliver now. False: it is delivered, or another is at it.

        An owner may claim again (its retry); another's claim lapses after `lapses_seconds`.
        """
        row = await self._database.row(
            "claim_report_delivery",
            kind=kind,
            period=period,
            channel=channel,
            owner=owner,
            lapses=lapses_seconds,
        )
        return row is not None

    async def delivery(self, kind: str, period: str, channel: str) -> ReportDelivery | None:
        """What became of a report on a channel; None before anybody tried."""
        row = await self._database.row("report_delivery", kind=kind, period=period, channel=channel)
        return None if row is None else ReportDelivery(**row)

    async def delivered(self, kind: str, period: str, channel: str) -> None:
        """The channel took it."""
        await self._database.rows("report_delivered", kind=kind, period=period, channel=channel)

    async def not_delivered(self, kind: str, period: str, channel: str, error: str) -> None:
        """The channel did not take it; the claim is given back."""
        await self._database.rows(
            "report_not_delivered", kind=kind, period=period, channel=channel, error=error
        )
