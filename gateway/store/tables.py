"""The tables of curb in Postgres, as SQLAlchemy Core sees them.

The migrations create them (migrations/versions); a test holds the two together. Money is bigint
nano-dollars, time is timestamptz, an accounting day is a date.

`attempts` says what happened to each attempt and changes while it lives; `ledger` is what was
booked, append-only. Messages and settlements are `json`, not `jsonb`: a tool's output may hold
a NUL, which jsonb cannot store.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB

from gateway.store.columns import BRIN, count, flag, jsonb, metadata, nano, time, words

# What is known when money is held (or refused): written once, by `reserved` or `refused`.
OPENING = (
    "call_key", "number", "run_id", "step", "agent", "tier", "deployment", "provider", "model", "team",
    "user_id", "key_id", "session", "endpoint", "application", "feature", "mode", "tags", "trace_id",
    "span_id", "prompt_version", "temperature", "max_output_tokens", "process_id", "counters",
    "reserved_nano_usd", "queued_at", "reserved_at", "at", "day", "epoch", "seq",
)  # fmt: skip

# What is known when the attempt ends: written by the closing of the highest rank.
CLOSING = (
    "state", "rank", "status", "success", "error_type", "error_message", "finish_reason", "refusal",
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
    "cost_nano_usd", "estimate_nano_usd", "saved_nano_usd", "cached", "basis", "provider_usage",
    "provider_request_id", "first_token_at", "done_at", "settled_at", "closed_epoch", "closed_seq",
    "doubt_by",
)  # fmt: skip

attempts = Table(
    "attempts",
    metadata,
    # attempt_id is the call key, '#' and a number; collation C makes a call's attempts a range of the key.
    Column("attempt_id", Text(collation="C"), primary_key=True),
    flag("opened"),  # whether `reserved` or `refused` has been seen
    words("call_key"),
    count("number"),
    words("run_id"),
    count("step"),
    words("agent"),
    words("tier"),
    words("deployment"),
    words("provider"),
    words("model"),
    words("team"),
    words("user_id"),
    words("key_id"),
    words("session"),
    words("endpoint"),
    words("application"),
    words("feature"),
    Column("mode", Text, nullable=False, server_default="live"),
    jsonb("tags"),
    words("trace_id"),
    words("span_id"),
    words("prompt_version"),
    Column("temperature", Float),
    Column("max_output_tokens", Integer),
    words("process_id"),
    Column("counters", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    nano("reserved_nano_usd"),
    time("queued_at"),
    time("reserved_at"),
    time("at", now=True),
    Column("day", Date),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("seq", BigInteger, nullable=False, server_default="0"),
    words("price_id"),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("rank", SmallInteger, nullable=False, server_default="0"),
    words("status"),
    Column("success", Boolean),
    words("error_type"),
    words("error_message"),
    words("finish_reason"),
    Column("refusal", JSONB),
    Column("input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cache_read_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cache_write_tokens", BigInteger, nullable=False, server_default="0"),
    Column("reasoning_tokens", BigInteger, nullable=False, server_default="0"),
    nano("cost_nano_usd"),
    nano("estimate_nano_usd"),
    words("basis"),
    jsonb("provider_usage"),
    words("provider_request_id"),
    time("first_token_at"),
    time("done_at"),
    time("settled_at"),
    Column("closed_epoch", BigInteger),  # null: not closed; 0: booked without the outbox
    Column("closed_seq", BigInteger),
    words("doubt_by"),
    time("in_doubt_at"),
    flag("cached"),
    flag("replayed"),
    nano("saved_nano_usd"),  # what the answer cost when it was bought, of one that the cache gave
    CheckConstraint(
        "state IN ('pending', 'in_doubt', 'released', 'settled', 'refused')", name="attempts_state"
    ),
    Index("attempts_run", "run_id", "step", postgresql_where=text("run_id <> ''")),
    Index("attempts_open", "state", "at", postgresql_where=text("state IN ('pending', 'in_doubt')")),
    Index("attempts_direct", "settled_at", postgresql_where=text("closed_epoch = 0")),
    Index(
        "attempts_failed",
        "state",
        "at",
        postgresql_include=["error_type", "status", "provider"],
        postgresql_where=text("success = false"),
    ),
    Index("attempts_time", "at", "day", postgresql_using="brin", postgresql_with=BRIN),
)

ledger = Table(
    "ledger",
    metadata,
    Column("posting_id", Text(collation="C"), primary_key=True),
    Column("attempt_id", Text(collation="C"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount_nano_usd", BigInteger, nullable=False),
    Column("day", Date, nullable=False),
    Column("counters", ARRAY(Text)),  # null: the attempt's own
    time("at", now=True),
    Column("body", JSONB),
    CheckConstraint("kind = 'adjust' OR (kind = 'settle' AND amount_nano_usd >= 0)", name="ledger_amount"),
    Index("ledger_settle_once", "attempt_id", unique=True, postgresql_where=text("kind = 'settle'")),
    Index("ledger_adjustments", "attempt_id", postgresql_where=text("kind = 'adjust'")),
    Index("ledger_time", "at", "day", postgresql_using="brin", postgresql_with=BRIN),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Text, primary_key=True),
    words("run_id"),
    words("agent"),
    Column("items", Integer, nullable=False, server_default="0"),
    time("created_at", now=True),
)

items = Table(
    "items",
    metadata,
    Column("conversation_id", Text, ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("key", Text, nullable=False),
    Column("message", JSON, nullable=False),
    count("prompt_tokens"),
    Column("answer", JSON),  # finish_reason, deployment, settlement: set when the item is a model's answer
    time("at", now=True),
    time("started_at"),  # of a tool: when it began
    UniqueConstraint("conversation_id", "key", name="items_once"),
    Index("items_answers", "key", postgresql_where=text("answer IS NOT NULL")),
)

http_answers = Table(
    "http_answers",
    metadata,
    Column("call_key", Text, primary_key=True),
    Column("answer", JSON, nullable=False),
    time("at", now=True),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index("http_answers_expiry", "expires_at"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    words("temporal_run_id"),
    Column("agent", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="running"),
    words("reason"),
    words("waiting_for"),
    words("conversation_id"),
    jsonb("spec"),
    Column("budget_nano_usd", BigInteger),
    words("team"),
    words("user_id"),
    words("session"),
    Column("mode", Text, nullable=False, server_default="live"),
    jsonb("tags"),
    words("parent"),
    count("steps"),
    nano("cost_nano_usd"),
    Column("answer_item", Integer),
    time("started_at", now=True),
    time("updated_at", now=True),
    time("ended_at"),
    Index("runs_recent", "started_at"),
    Index("runs_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    Index("runs_agent", "agent", "started_at"),
    Index("runs_live", "status", "started_at", postgresql_where=text("ended_at IS NULL")),
    Index("runs_children", "parent", postgresql_where=text("parent <> ''")),
)

run_events = Table(
    "run_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("body", JSON, nullable=False),
    time("at", now=True),
    UniqueConstraint("run_id", "key", name="run_events_once"),
    Index("run_events_kind", "kind", "at"),
)

switch_events = Table(
    "switch_events",
    metadata,
    Column("key", Text, primary_key=True),
    Column("name", Text, nullable=False),
    words("old"),
    words("new"),
    time("expires_at"),
    time("at", now=True),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("seq", BigInteger, nullable=False, server_default="0"),
    time("noticed_at"),  # when it became an alert, or none; null: not yet looked at
    Index("switch_events_last", "name", "at"),
    Index("switch_events_unnoticed", "at", postgresql_where=text("noticed_at IS NULL")),
)

events = Table(
    "events",
    metadata,
    Column("key", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    words("scope"),
    jsonb("evidence"),
    time("at", now=True),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("seq", BigInteger, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, server_default="firing"),
    words("severity"),  # '': the rule's own
    time("noticed_at"),
    CheckConstraint("state IN ('firing', 'resolved')", name="events_state"),
    Index("events_time", "at"),
    Index("events_rule", "rule", "at"),
    Index("events_unnoticed", "at", postgresql_where=text("noticed_at IS NULL")),
)

dead_events = Table(
    "dead_events",
    metadata,
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("event", JSON, nullable=False),
    Column("error", Text, nullable=False),
    time("at", now=True),
)

policy_versions = Table(
    "policy_versions",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("source", Text, nullable=False),
    Column("applied_by", Text, nullable=False),
    time("applied_at", now=True),
)

budget_rules = Table(
    "budget_rules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("limit_nano_usd", BigInteger, nullable=False),
    Column("alert_threshold", Float, nullable=False, server_default="0.8"),
    flag("auto_switch_enabled"),
    words("fallback_model"),
    Column("origin", Text, nullable=False, server_default="policy"),  # policy (YAML) or api
    Column("version", BigInteger, nullable=False),
    time("created_at", now=True),
    time("updated_at", now=True),
    UniqueConstraint("scope", "period", name="budget_rules_once"),
)

top_ups = Table(
    "top_ups",
    metadata,
    Column("top_up_id", Text, primary_key=True),
    Column("counter", Text, nullable=False),
    Column("amount_nano_usd", BigInteger, nullable=False),
    words("by"),
    time("at", now=True),
    Index("top_ups_counter", "counter"),
)

epochs = Table(
    "epochs",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),  # closed, open, abandoned
    words("reason"),
    Column("drained_seq", BigInteger, nullable=False, server_default="0"),
    time("closed_at", now=True),
    time("opened_at"),
)

processes = Table(
    "processes",
    metadata,
    Column("process_id", Text, primary_key=True),
    time("last_seen", now=True),
    Column("flushed_epoch", BigInteger, nullable=False, server_default="0"),
)

claims = Table(
    "claims",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt_id", Text(collation="C"), primary_key=True),
    Column("process_id", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    words("target"),
    jsonb("detail"),
    time("at", now=True),
    Index("audit_time", "at"),
)
