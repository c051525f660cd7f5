"""Millions of attempts and postings with the shape of recorded traffic, straight into Postgres.

The rates of the 12 ServeGen clients over 14 days, scaled so that they come to as many attempts as are
wanted; tokens of each from the Azure trace, priced. What is small is copied in (24,000 rates, 8,819
priced requests), what is large is made of it by Postgres, day by day in the order of time, into tables
that have their indexes. Of 100 attempts 2 fail, 1 is refused, 1 is adjusted a day later.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from bench.recorded import BUCKET_SECONDS, DAYS, MODEL, PER_DAY, PROVIDER, rates, tokens
from gateway.policy.pricing import cost
from gateway.policy.usage import Usage
from gateway.prices import PriceBook

STARTS = datetime(2026, 11, 2, tzinfo=UTC)
ENDS = STARTS + timedelta(days=DAYS)


def fill(url: str, data: Path, rows: int) -> int:
    """Put about so many attempts, and their postings, into a migrated database; returns how many."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_STAGING)
        with connection.cursor().copy("COPY traffic FROM STDIN") as copy:
            for row in _traffic(data, rows):
                copy.write_row(row)
        with connection.cursor().copy("COPY samples FROM STDIN") as copy:
            for sample in enumerate(_samples(data)):
                copy.write_row((sample[0], *sample[1]))
        connection.execute("SELECT setseed(0.42)")
        for day in range(DAYS):
            values = {"starts": STARTS, "first": day * PER_DAY, "last": (day + 1) * PER_DAY - 1}
            connection.execute(_DAY, values)
            connection.execute(_ATTEMPTS)
            connection.execute(_POSTINGS)
            connection.execute("DROP TABLE day_rows")
        connection.execute("DROP TABLE traffic, samples")
        connection.execute(
            "INSERT INTO stale_hours (hour) SELECT DISTINCT date_trunc('hour', at, 'UTC') FROM attempts"
        )
        # What autovacuum does in the course of two weeks.
        connection.execute("VACUUM (ANALYZE) attempts")
        connection.execute("VACUUM (ANALYZE) ledger")
        found = connection.execute("SELECT count(*) FROM attempts").fetchone()
    assert found is not None
    return int(found[0])


def busiest_hour(url: str) -> tuple[datetime, int]:
    """The hour of the last day with the most attempts, and how many they are."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT date_trunc('hour', at, 'UTC') AS hour, count(*) FROM attempts WHERE at >= %s"
            " GROUP BY 1 ORDER BY 2 DESC LIMIT 1",
            [ENDS - timedelta(days=1)],
        ).fetchone()
    assert found is not None
    return found[0], int(found[1])


def sizes(url: str) -> dict[str, int]:
    """Bytes of each table with its indexes."""
    names = ("attempts", "ledger", "usage_hours", "usage_users", "latency_hours")
    with psycopg.connect(url) as connection:
        return {name: _scalar(connection, "SELECT pg_total_relation_size(%s)", name) for name in names}


def _scalar(connection: psycopg.Connection[tuple[int]], query: str, *values: str) -> int:
    row = connection.execute(query.encode(), values).fetchone()
    assert row is not None
    return int(row[0])


def _traffic(data: Path, rows: int) -> Iterator[tuple[int, str, int, int]]:
    """(number of the client, its agent, bucket, requests in it)."""
    found = rates(data)
    scale = rows / sum(sum(each) for each in found.values())
    for number, (name, each) in enumerate(found.items()):
        left = 0.0
        for bucket, rate in enumerate(each):
            left += rate * scale
            yield number, name, bucket, int(left)
            left -= int(left)


def _samples(data: Path) -> Iterator[tuple[int, int, int]]:
    """(input tokens, output tokens, cost in nano-dollars)."""
    price = PriceBook().price(PROVIDER, MODEL, STARTS)
    assert price is not None, MODEL
    for read, written in tokens(data):
        yield read, written, cost(price, Usage(input_tokens=read, output_tokens=written))


_STAGING = """
CREATE UNLOGGED TABLE traffic (client int, agent text, bucket int, requests int);
CREATE UNLOGGED TABLE samples (pick int, input int, output int, cost bigint)
"""

# random() stands in a subquery of its own, which is materialised, so that it is drawn once per row.
_DAY = f"""
CREATE UNLOGGED TABLE day_rows AS
WITH drawn AS MATERIALIZED (
    SELECT t.client, t.agent, n, t.bucket,
           %(starts)s::timestamptz + (t.bucket + random()) * interval '{BUCKET_SECONDS} seconds' AS at,
           floor(random() * 8819)::int AS pick, floor(random() * 100)::int AS fate,
           floor(random() * 2000)::int AS person, exp(random() * 3) AS seconds
    FROM traffic AS t CROSS JOIN LATERAL generate_series(1, t.requests) AS n
    WHERE t.bucket BETWEEN %(first)s AND %(last)s
)
SELECT format('run:%%s:%%s#1', md5(format('%%s/%%s/%%s', client, bucket, n / 20)), n) AS attempt_id,
       drawn.*, input, output, CASE WHEN fate >= 3 THEN cost ELSE 0 END AS cost
FROM drawn JOIN samples USING (pick)
ORDER BY at
"""

_ATTEMPTS = """
INSERT INTO attempts (
    attempt_id, opened, call_key, number, run_id, step, agent, tier, deployment, provider, model, team,
    user_id, endpoint, feature, application, process_id, counters, reserved_nano_usd, queued_at,
    reserved_at, at, day, epoch, seq, price_id, state, rank, status, success, error_type, finish_reason,
    input_tokens, output_tokens, cost_nano_usd, basis, done_at, settled_at, closed_epoch, closed_seq
)
SELECT attempt_id, true, split_part(attempt_id, '#', 1), 1, split_part(attempt_id, ':', 2), n, agent,
       (ARRAY['quick', 'balanced', 'frontier'])[1 + pick % 3],
       (ARRAY['anthropic/claude-sonnet-4-5', 'google/gemini-2.5-flash', 'openai/gpt-5-mini'])[1 + pick % 3],
       (ARRAY['anthropic', 'google', 'openai'])[1 + pick % 3],
       (ARRAY['claude-sonnet-4-5', 'gemini-2.5-flash', 'gpt-5-mini'])[1 + pick % 3],
       'team-' || client % 4, 'user-' || person, '', 'feature-' || pick % 2, '', 'worker-1',
       ARRAY['run:' || md5(attempt_id) || '|run|run', 'agent:' || agent || '|day|' || at::date,
             'team:team-' || client % 4 || '|day|' || at::date, 'user:user-' || person || '|day|' || at::date,
             'global|day|' || at::date, 'global|month|2026-11'],
       2 * cost, at - interval '5 ms', at, at, at::date, 1, 1, 'genai-prices/anthropic/claude-sonnet-4-5',
       CASE WHEN fate = 0 THEN 'refused' ELSE 'settled' END, CASE WHEN fate = 0 THEN 9 ELSE 4 END,
       CASE WHEN fate = 0 THEN 'refused' WHEN fate < 3 THEN 'error' ELSE 'success' END, fate >= 3,
       CASE WHEN fate < 3 THEN 'overloaded' ELSE '' END, 'stop', input, output, cost, 'usage',
       at + seconds * interval '1 second', at + seconds * interval '1 second', 1, 1
FROM day_rows ORDER BY day_rows.at
"""

_POSTINGS = """
INSERT INTO ledger (posting_id, attempt_id, kind, amount_nano_usd, day, at)
SELECT attempt_id || '/settle', attempt_id, 'settle', cost, at::date, at + seconds * interval '1 second'
FROM day_rows WHERE fate > 0
UNION ALL
SELECT attempt_id || '/adjust/1', attempt_id, 'adjust', -(cost / 10), at::date, at + interval '1 hour'
FROM day_rows WHERE fate = 3
ORDER BY 6
"""
