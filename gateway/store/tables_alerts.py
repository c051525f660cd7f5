"""The tables of alerts, as SQLAlchemy Core sees them (migration 0002).

An alert is open (firing or acknowledged) or resolved; of one fingerprint at most one is open.
`generation` is 1, and one more whenever it got worse; `told_generation` is the last that people were
told of, at `told_at`. Until `quiet_until` one more sighting is nothing to tell. Its workflow looks
again at `look_at` at the latest; `nudged_at` asks that it look now.
"""

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, Index, Integer, Table, Text, text

from gateway.store.columns import count, jsonb, metadata, time, words


def _moment(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False)


alerts = Table(
    "alerts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("severity", Text, nullable=False),
    words("scope"),
    words("agent"),
    words("team"),
    words("title"),
    jsonb("evidence"),
    words("action"),
    _moment("first_seen"),
    _moment("last_seen"),
    time("ends_at"),
    count("count"),
    count("generation"),
    Column("status", Text, nullable=False, server_default="firing"),
    count("told_generation"),
    time("told_at"),
    time("last_told_at"),
    time("quiet_until"),
    time("look_at"),
    time("nudged_at"),
    time("acknowledged_at"),
    words("acknowledged_by"),
    words("note"),
    time("resolved_at"),
    words("resolution"),
    CheckConstraint("status IN ('firing', 'acknowledged', 'resolved')", name="alerts_status"),
    CheckConstraint("severity IN ('info', 'warning', 'critical')", name="alerts_severity"),
    Index("alerts_open", "fingerprint", unique=True, postgresql_where=text("status <> 'resolved'")),
    Index("alerts_nudged", "nudged_at", postgresql_where=text("nudged_at IS NOT NULL")),
    Index("alerts_look", "look_at", postgresql_where=text("look_at IS NOT NULL")),
    Index("alerts_seen", "last_seen"),
)

alert_sightings = Table(
    "alert_sightings",
    metadata,
    Column("event_key", Text, primary_key=True),
    Column("alert_id", Text, ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
    Index("alert_sightings_alert", "alert_id"),
)

silences = Table(
    "silences",
    metadata,
    Column("id", Text, primary_key=True),
    words("rule"),
    words("scope"),
    words("agent"),
    words("team"),
    _moment("until"),
    Column("by", Text, nullable=False),
    words("reason"),
    time("at", now=True),
    Index("silences_until", "until"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("channel", Text, primary_key=True),
    Column("state", Text, nullable=False, server_default="pending"),
    count("tries"),
    words("error"),
    time("planned_at", now=True),
    time("delivered_at"),
    CheckConstraint(
        "state IN ('pending', 'delivered', 'refused', 'failed', 'superseded')", name="deliveries_state"
    ),
    Index("deliveries_planned", "planned_at"),
)
