"""`python -m bench.supervision [DATA] [--rows N]`: the sweep over millions of attempts.

Fills a Postgres of its own (the embedded stack, its default settings) with traffic of the recorded
shape, computes the hours, and sweeps. Ten million attempts take some 10 GB of disk and several minutes.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

import psycopg

from bench.ledger_rows import ENDS, busiest_hour, fill, sizes
from bench.report import Figure, Section, load, table
from gateway.config import GatewayConfig
from gateway.policy.anomaly_calls import CacheHitRate
from gateway.policy.periods import Calendar
from gateway.policy.sweep_rules import SweepRules
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.migrate import migrate
from gateway.sweep import Sweep
from worker.stack import FREE_PORTS, Stack

_ROUNDS = 5
_MB = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.supervision",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rows", type=int, default=10_000_000)
    given = parser.parse_args()
    asyncio.run(_run(given.data, given.rows))


async def _run(data: Path, rows: int) -> None:
    with tempfile.TemporaryDirectory(prefix="curb-bench-") as directory:
        async with Stack(Path(directory), servers=["valkey", "postgres"], ports=FREE_PORTS) as stack:
            migrate(stack.database_url)
            before, started = load(), time.monotonic()
            filled = await asyncio.to_thread(fill, stack.database_url, data, rows)
            figures = [Figure("attempts", filled), Figure("filled in", time.monotonic() - started, "s")]
            print("filled", file=sys.stderr, flush=True)
            figures += await sweep(stack.database_url, stack.redis_url)
            table([Section("supervision", figures, time.monotonic() - started, before, load())])


async def sweep(database_url: str, redis_url: str) -> Sequence[Figure]:
    """Compute all hours once; then what a minute costs, in the busiest hour of the last day."""
    hour, attempts = busiest_hour(database_url)
    figures = []
    async with await Store.connect(database_url) as store:
        started = time.monotonic()
        hours = 0
        while (done := await store.usage.refresh(limit=48)) > 0:
            hours += done
        figures += [
            *(Figure(f"{name} with indexes", size / _MB, "MB") for name, size in sizes(database_url).items()),
            Figure("hours computed at first", hours),
            Figure("computed in", time.monotonic() - started, "s"),
            Figure("attempts of the busiest hour of the last day", attempts),
            await _timed("that hour again", lambda: _refresh_hour(store, database_url, hour), at_most=1.0),
        ]
        authority = await Authority.connect(redis_url, process_id="bench", config=GatewayConfig({}, {}, ()))
        try:
            rules = SweepRules(cache_hit_rate=CacheHitRate())
            watch = Sweep(authority, store, Calendar(ZoneInfo("UTC")), rules)

            async def minute(at: datetime) -> None:
                """One sweep as the worker makes it, with the present hour stale."""
                await _mark(database_url, at)
                await watch.sweep(at, at)

            for name, at in (
                ("a sweep at the end of that hour", hour + timedelta(minutes=59)),
                ("a sweep at the end of the last day", ENDS - timedelta(minutes=1)),
                ("a sweep at the beginning of an hour", hour + timedelta(minutes=1)),
            ):
                figures.append(await _timed(name, lambda at=at: minute(at), at_most=1.0))  # type: ignore[misc]
        finally:
            await authority.close()
    return figures


async def _refresh_hour(store: Store, url: str, hour: datetime) -> None:
    await _mark(url, hour)
    await store.usage.refresh()


async def _mark(url: str, at: datetime) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO stale_hours (hour) VALUES (date_trunc('hour', %s::timestamptz, 'UTC'))", [at]
        )


async def _timed(name: str, work: Callable[[], Awaitable[None]], *, at_most: float) -> Figure:
    """The median of some rounds, in seconds."""
    took = []
    for _ in range(_ROUNDS):
        started = time.monotonic()
        await work()
        took.append(time.monotonic() - started)
    return Figure(f"{name} (at worst {max(took):.2f} s)", median(took), "s", at_most=at_most)


if __name__ == "__main__":
    main()
