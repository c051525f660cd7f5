"""Cost reports, in any of their forms."""

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Response

from gateway.errors import NotFound
from gateway.policy.report_periods import NoSuchDay, holding
from worker.api.access import allowed
from worker.api.documents import ReportListed, Reports
from worker.api.office import Office
from worker.api.problems import Wrong
from worker.desk.documents import at_text
from worker.desk.reports import Format, rendered

Kind = Literal["daily", "weekly"]
# A report quotes names that callers made up; as a page it can run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_MEDIA = {"json": "application/json", "md": "text/markdown", "html": "text/html", "csv": "text/csv"}


def reports(office: Office) -> APIRouter:
    """The endpoints."""
    router = APIRouter(tags=["reports"], dependencies=[Depends(allowed(office, "viewer"))])

    @router.get("/api/v1/reports")
    async def stored(kind: Kind | None = None, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Reports:
        """Reports that are stored, the newest period first."""
        found = await office.store.reports.list(kind, limit=limit)
        listed = [
            ReportListed(
                kind=each.kind,
                period=each.period,
                first_day=str(each.first_day),
                last_day=str(each.last_day),
                preliminary=each.preliminary,
                made_at=at_text(each.made_at) or "",
            )
            for each in found
        ]
        return Reports(reports=listed)

    @router.get(
        "/api/v1/reports/{kind}/{day}",
        response_class=Response,
        responses={200: {"content": {media: {} for media in _MEDIA.values()}}},
    )
    async def report(
        kind: Kind,
        day: Annotated[str, Path(pattern=r"^\d{4}-\d{2}-\d{2}$", description="Any day of the period.")],
        format: Format = "json",
    ) -> Response:
        """The report of a day or week: as it was made, or as it looks so far where the period is not over."""
        desk = office.reports
        try:
            period = holding(kind, desk.calendar, date.fromisoformat(day))
        except (NoSuchDay, ValueError) as error:
            raise Wrong("there is no such day", "day") from error
        if period.starts_ms > await office.authority.clock_ms():
            raise NotFound(f"{period.name} has not begun; today is {await office.today()}")
        text = rendered(await desk.found(period), format, office.workflow_url)
        # A report quotes names that callers made up; it is shown as a page and can run nothing.
        return Response(
            text,
            media_type=_MEDIA[format],
            headers={
                "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
            },
        )

    return router
