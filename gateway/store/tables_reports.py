"""The tables of reports, as SQLAlchemy Core sees them (migration 0005)."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSON

from gateway.store.columns import count, flag, metadata, time, words

reports = Table(
    "reports",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("period", Text, primary_key=True),  # 2026-11-21, 2026-W47
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Column("version", Integer, nullable=False, server_default="0"),  # of the document's form
    flag("preliminary"),
    Column("document", JSON, nullable=False),
    time("made_at", now=True),
    CheckConstraint("kind IN ('daily', 'weekly')", name="reports_kind"),
    Index("reports_day", "last_day"),
)

report_deliveries = Table(
    "report_deliveries",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    words("owner"),
    count("tries"),
    words("error"),
    time("claimed_at", now=True),
    time("delivered_at"),
    ForeignKeyConstraint(["kind", "period"], ["reports.kind", "reports.period"]),
)
