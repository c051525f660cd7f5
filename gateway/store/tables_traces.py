"""Tables of what is still to be told to whoever keeps traces (migration 0013)."""

from sqlalchemy import BigInteger, Column, Index, Sequence, Table, Text

from gateway.store.columns import metadata, time, words

marks = Sequence("trace_marks", metadata=metadata)

trace_targets = Table(
    "trace_targets",
    metadata,
    Column("name", Text, primary_key=True),
    time("since", now=True),
)

trace_outbox = Table(
    "trace_outbox",
    metadata,
    Column("target", Text, primary_key=True),
    # `attempt:ID` or `run:ID`: an attempt that has ended, a run that has.
    Column("subject", Text(collation="C"), primary_key=True),
    # A higher one each time it is marked: what was marked again while it was being told stays.
    Column("mark", BigInteger, nullable=False),
    Column("tries", BigInteger, nullable=False, server_default="0"),
    words("error"),
    time("at", now=True),
    Index("trace_outbox_order", "target", "mark"),
)
