"""Tables of virtual keys and of rate limits."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Table,
    Text,
    text,
)

from gateway.store.columns import count, flag, jsonb, metadata, time, words

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    words("agent"),
    words("team"),
    words("user_id"),
    Column("tiers", ARRAY(Text)),  # null: all
    Column("models", ARRAY(Text)),  # null: all
    Column("rate_tier", Text, nullable=False, server_default="free"),
    Column("roles", ARRAY(Text), nullable=False, server_default=text("'{call}'::text[]")),
    jsonb("tags"),
    words("created_by"),
    time("created_at", now=True),
    time("expires_at"),
    time("frozen_at"),
    words("frozen_by"),
    flag("frozen_with_team"),  # by `freeze --team`, and lifted with the team only
    time("revoked_at"),
    words("revoked_by"),
    time("last_used_at"),  # within some minutes
    Column("version", BigInteger, nullable=False),  # of the whole table, when this row last changed
    CheckConstraint("id ~ '^[A-Za-z0-9._-]+$'", name="api_keys_id"),
    CheckConstraint("rate_tier IN ('free', 'pro', 'enterprise')", name="api_keys_rate_tier"),
    Index("api_keys_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
    Index("api_keys_version", "version"),
)

api_key_tokens = Table(
    "api_key_tokens",
    metadata,
    Column("prefix", Text, primary_key=True),
    Column("key_id", Text, ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    Column("digest", Text, nullable=False),  # HMAC-SHA256 of the token, hexadecimal
    Column("secret_id", Text, nullable=False),  # which secret it was made with
    words("created_by"),
    time("created_at", now=True),
    time("ends_at"),  # null: as long as its key
    Index("api_key_tokens_key", "key_id"),
)

server_secrets = Table(
    "server_secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("secret", Text, nullable=False),
    time("created_at", now=True),
)

rate_limit_violations = Table(
    "rate_limit_violations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("minute", DateTime(timezone=True), nullable=False),
    Column("process_id", Text, nullable=False),
    Column("rule", Text, nullable=False),  # tier, expensive, agent, ..., in_flight
    Column("scope", Text, nullable=False),
    words("tier"),
    words("agent"),
    words("team"),
    words("user_id"),
    words("key_id"),
    words("address"),
    words("endpoint"),
    count("rate_limit"),
    Column("window_ms", BigInteger, nullable=False, server_default="0"),
    count("refused"),
    Column("first_at", DateTime(timezone=True), nullable=False),
    Column("last_at", DateTime(timezone=True), nullable=False),
    Index("rate_limit_violations_minute", "minute"),
    Index("rate_limit_violations_scope", "scope", "minute"),
)
