"""A report as a message: short for chats, whole for mail, the document itself for machines."""

from datetime import datetime

from activities.channels import Attachment, Message
from activities.reports.document import ReportDocument
from activities.reports.flat import as_csv
from activities.reports.html import html
from activities.reports.overview import page_of
from activities.reports.page import Link


def letter(report: ReportDocument, at: datetime, link: Link, *, workflow_url: str = "") -> Message:
    """What a channel is asked to say. workflow_url: of the workflow that made the report, '' unknown."""
    page = page_of(report)
    name = f"curb-{report.kind}-{report.period}.csv"
    return Message(
        kind="report",
        severity="info",
        title=page.subject,
        text=" ".join(page.summary),
        key=f"report:{report.kind}:{report.period}",
        at=at,
        fields=tuple((each.label, f"{each.value} ({each.note})") for each in page.figures),
        links=(("In the Temporal UI", workflow_url),) if workflow_url else (),
        html=html(page, link),
        attachments=(Attachment(name, "text/csv", as_csv(report).encode()),),
        data=report.model_dump(mode="json"),
    )
