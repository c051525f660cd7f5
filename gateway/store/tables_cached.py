"""The table of answers that may be given again (migration 0014).

`cached_vectors` stands beside it where the cache compares likeness: made when that is configured, since it
needs pgvector (gateway.store.cached).
"""

from sqlalchemy import Column, DateTime, Index, Table, Text
from sqlalchemy.dialects.postgresql import JSON

from gateway.store.columns import metadata

cached_answers = Table(
    "cached_answers",
    metadata,
    Column("key", Text(collation="C"), primary_key=True),
    Column("answer", JSON, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index("cached_answers_expiry", "expires_at"),
)
