"""Tables of batches and of the files that they are made of (migration 0017)."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, LargeBinary, Table, Text

from gateway.store.columns import count, flag, jsonb, metadata, nano, time, words

STATES = ("opening", "held", "sending", "sent", "ended", "refused", "failed", "lost")

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    words("key_id"),
    words("purpose"),
    words("filename"),
    Column("bytes", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    time("created_at", now=True),
    Index("files_key", "key_id", "created_at"),
    Index("files_created", "created_at"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    words("key_id"),
    words("family"),
    words("endpoint"),
    words("digest"),  # of the request, where the client named it
    words("input_file_id"),
    jsonb("metadata"),  # the client's own
    count("requests"),
    words("provider"),
    words("deployment"),
    words("attempt_id"),
    words("process_id"),  # whose hold it is
    words("day"),
    nano("asked_nano_usd"),
    nano("cost_nano_usd"),
    jsonb("opened"),  # gateway.events.Opened
    jsonb("told"),  # the provider's own words of it
    Column("upload", LargeBinary),  # what goes to the provider; null once it has ended
    words("provider_batch_id"),
    words("error"),
    words("output_file_id"),
    words("error_file_id"),
    flag("cancel_asked"),
    time("created_at", now=True),
    time("sending_at"),
    time("sent_at"),
    time("ended_at"),
    CheckConstraint(f"state IN ({', '.join(map(repr, STATES))})", name="batches_state"),
    Index("batches_key", "key_id", "created_at"),
    Index("batches_created", "created_at"),
)
