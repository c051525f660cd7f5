"""The table of backups, as SQLAlchemy Core sees it (migration 0016). Whoever makes backups writes it."""

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, Table

from gateway.store.columns import metadata, time, words

backup_logs = Table(
    "backup_logs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    time("started_at", now=True),
    time("finished_at"),
    words("kind"),
    words("location"),
    Column("size_bytes", BigInteger),
    Column("success", Boolean, nullable=False),
    words("error_message"),
    Index("backup_logs_started", "started_at"),
)
