"""Closed days and months, snapshots of budgets, scheduled work that was done, marks of retention."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Table,
    Text,
)

from gateway.store.columns import count, flag, jsonb, metadata, nano, time

# A window of accounting: `day` 2026-11-21 or `month` 2026-11. preliminary: closed before its end,
# and to be replaced by its real closing.
days = Table(
    "days",
    metadata,
    Column("period", Text, primary_key=True),
    Column("window_id", Text, primary_key=True),
    Column("start_at", DateTime(timezone=True), nullable=False),
    Column("end_at", DateTime(timezone=True), nullable=False),
    flag("preliminary"),
    nano("spent_nano_usd"),
    flag("verified"),  # whether the counters could be compared with the books
    count("differences"),
    time("closed_at", now=True),
    CheckConstraint("period IN ('day', 'month')", name="days_period"),
)

# One budget in a closed window. limit: with the top-ups, null where there was none.
budget_windows = Table(
    "budget_windows",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("period", Text, nullable=False),
    Column("window_id", Text, nullable=False),
    Column("scope", Text, nullable=False),  # in no key: as long as callers make it
    Column("limit_nano_usd", BigInteger),
    nano("topped_nano_usd"),
    nano("spent_nano_usd"),
    nano("held_nano_usd"),
    nano("in_doubt_nano_usd"),
    nano("overrun_nano_usd"),
    count("refusals"),
    ForeignKeyConstraint(["period", "window_id"], ["days.period", "days.window_id"], ondelete="CASCADE"),
    Index("budget_windows_window", "period", "window_id"),
)

# at: the time that the work was scheduled for, truncated to its period.
scheduled_work = Table(
    "scheduled_work",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("at", DateTime(timezone=True), primary_key=True),
    jsonb("outcome"),
    time("done_at", now=True),
)

# How far retention has come in tables that it goes through in the order of time.
retention_marks = Table(
    "retention_marks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kept_from", DateTime(timezone=True), nullable=False),
)
