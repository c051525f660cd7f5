"""Probes of providers, what is held of them, and what their usage APIs say beside the books."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
)

from gateway.store.columns import count, flag, jsonb, metadata, nano, time, words

# One look per provider (deployment '') or deployment and slot of the schedule.
probes = Table(
    "probes",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("deployment", Text, primary_key=True, server_default=""),
    Column("at", DateTime(timezone=True), primary_key=True),
    words("kind"),  # models, call
    Column("ok", Boolean, nullable=False),
    words("blame"),  # provider, us, or '' where nothing failed
    count("latency_ms"),
    words("error"),
    time("probed_at", now=True),
    CheckConstraint("blame IN ('', 'provider', 'us')", name="probes_blame"),
    Index("probes_time", "at"),
)

provider_health = Table(
    "provider_health",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("deployment", Text, primary_key=True, server_default=""),
    Column("status", Text, nullable=False, server_default="unknown"),
    words("reason"),
    time("since"),
    time("recovered_at"),
    count("relapses"),
    time("checked_at"),  # the slot that was judged last
    count("latency_ms"),
    CheckConstraint("status IN ('unknown', 'up', 'degraded', 'down')", name="provider_health_status"),
)

# What a provider reports for a day (UTC) beyond everything that the books can explain. Never booked.
unattributed_usage = Table(
    "unattributed_usage",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    flag("exclusive"),
    Column("input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cache_read_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cache_write_tokens", BigInteger, nullable=False, server_default="0"),
    Column("amount_nano_usd", BigInteger),  # at the list price; null where there is none
    time("seen_at", now=True),
    Index("unattributed_usage_day", "day"),
)

# What a provider bills for a day (UTC) in dollars, and what the ledger has for it.
provider_costs = Table(
    "provider_costs",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    nano("billed_nano_usd"),
    nano("ledger_nano_usd"),
    nano("tolerance_nano_usd"),
    time("seen_at", now=True),
)

# One line per hour that was reconciled: the work of an hour is done once.
reconciliations = Table(
    "reconciliations",
    metadata,
    Column("hour", DateTime(timezone=True), primary_key=True),
    nano("ledger_nano_usd"),
    Column("invoice_nano_usd", BigInteger),  # null: no exact usage is to be had
    nano("in_doubt_nano_usd"),
    nano("pending_nano_usd"),
    nano("unattributed_nano_usd"),
    Column("settled", Integer, nullable=False, server_default="0"),
    Column("adjusted", Integer, nullable=False, server_default="0"),
    Column("adopted", Integer, nullable=False, server_default="0"),
    Column("left_open", Integer, nullable=False, server_default="0"),
    Column("counters", Integer, nullable=False, server_default="0"),
    Column("differences", Integer, nullable=False, server_default="0"),
    jsonb("detail"),
    time("at", now=True),
)
