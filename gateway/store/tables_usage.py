"""The tables of usage by the hour, as SQLAlchemy Core sees them (migration 0003).

`usage_hours`, `usage_users` and `latency_hours` are computed from `attempts` and `ledger`, hour by
hour, and can be computed again at any time while the attempts are kept. Money is what all postings
of the hour's attempts come to, adjustments that were posted later included. `hour` begins at a full
hour of UTC; `day` is the accounting day of the attempt, of which an hour can hold two.

`episodes` is what the anomaly sweep remembers: what it found and goes on.

There is no unique key over the names: they are as long as callers make them, and an index page is
not. Each hour is deleted and written whole, under a lock.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    SmallInteger,
    Table,
    Text,
)

from gateway.store.columns import count, flag, metadata, nano, words

DIMENSIONS = (
    "agent", "deployment", "provider", "model", "tier", "team", "feature", "application", "endpoint",
    "key_id", "mode",
)  # fmt: skip


def _key() -> tuple[Column[object], ...]:
    return (
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("hour", DateTime(timezone=True), nullable=False),
        Column("day", Date, nullable=False),
    )


usage_hours = Table(
    "usage_hours",
    metadata,
    *_key(),
    *(words(name) for name in DIMENSIONS),
    nano("cost_nano_usd"),
    count("attempts"),  # refusals are not attempts; those still pending are
    count("errors"),  # ended without success: failed, killed, timed out, never sent, in doubt
    count("refusals"),
    count("cached"),
    nano("input_tokens"),
    nano("output_tokens"),
    nano("cache_read_tokens"),
    nano("cache_write_tokens"),
    nano("saved_nano_usd"),
    Index("usage_hours_hour", "hour"),
    Index("usage_hours_day", "day"),
)

usage_users = Table(
    "usage_users",
    metadata,
    *_key(),
    words("user_id"),
    nano("cost_nano_usd"),
    count("attempts"),
    Index("usage_users_hour", "hour"),
    Index("usage_users_day", "day"),
)

latency_hours = Table(
    "latency_hours",
    metadata,
    *_key(),
    words("agent"),
    words("deployment"),
    Column("bucket", SmallInteger, nullable=False),  # gateway/policy/latency.py
    count("attempts"),  # successful ones
    Index("latency_hours_hour", "hour"),
    Index("latency_hours_day", "day"),
)

stale_hours = Table(
    "stale_hours",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("hour", DateTime(timezone=True)),
    Column("attempt_id", Text(collation="C")),  # instead of the hour: the attempt's, when it is here
)

usage_frozen = Table(
    "usage_frozen",
    metadata,
    Column("one", Boolean, primary_key=True, server_default="true"),
    Column("before", DateTime(timezone=True), nullable=False, server_default="-infinity"),
    CheckConstraint("one", name="usage_frozen_once"),
)

episodes = Table(
    "episodes",
    metadata,
    Column("key", Text, primary_key=True),  # a digest of rule, scope and window: scopes have any length
    Column("rule", Text, nullable=False),
    Column("scope", Text, nullable=False),
    words("window"),
    Column("severity", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("told_at", DateTime(timezone=True), nullable=False),
    flag("acted"),
)
