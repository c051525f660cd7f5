"""`python -m bench.reports [DATA] [--rows N]`: a day's and a week's report over millions of attempts.

Fills a Postgres of its own as bench.supervision does, adds a run for every 20 attempts, computes the
hours, and makes the reports of the busiest day and of the last week, from the question to the
stored document and the HTML. Ten million attempts take some 10 GB of disk and several minutes.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

import psycopg

from activities.reports.document import ReportDocument
from activities.reports.gathering import Reporter
from activities.reports.html import html
from activities.reports.keeping import made_and_kept
from activities.reports.overview import page_of
from bench.ledger_rows import ENDS, fill
from bench.report import Figure, Section, load, table
from gateway.config import GatewayConfig
from gateway.policy.periods import Calendar
from gateway.policy.report_periods import ReportKind, holding
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.migrate import migrate
from worker.stack import FREE_PORTS, Stack

_ROUNDS = 5
_NOW = datetime(2026, 12, 31, tzinfo=UTC)
_RUNS = """
INSERT INTO runs (id, agent, status, conversation_id, spec, team, user_id, steps, cost_nano_usd, started_at,
                  ended_at)
SELECT run_id, agent,
       (ARRAY['completed', 'completed', 'completed', 'failed', 'stopped'])[1 + pick %% 5], run_id,
       jsonb_build_object('agent', jsonb_build_object('value_per_task_nano_usd', 50000000,
                                                      'instructions', repeat('x', 600))),
       'team-' || pick %% 4, 'user-' || pick, 20, 1000000, at - interval '1 minute', at
FROM (SELECT md5(n::text) AS run_id, 'agent-' || n %% 12 AS agent, n %% 2000 AS pick,
             %(ends)s::timestamptz - n * (interval '14 days' / %(runs)s) AS at
      FROM generate_series(1, %(runs)s) AS n) AS made
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.reports",
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
            runs = await asyncio.to_thread(_add_runs, stack.database_url, max(1, rows // 20))
            print("filled", file=sys.stderr, flush=True)
            figures = [Figure("attempts", filled), Figure("runs", runs)]
            figures += await measure(stack.database_url, stack.redis_url)
            table([Section("reports", figures, time.monotonic() - started, before, load())])


def _add_runs(url: str, runs: int) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_RUNS.encode(), {"runs": runs, "ends": ENDS})
        connection.execute("VACUUM (ANALYZE) runs")
    return runs


async def measure(database_url: str, redis_url: str) -> Sequence[Figure]:
    """Compute all hours; then how long reports take that nothing was asked of before."""
    async with await Store.connect(database_url) as store:
        while await store.usage.refresh(limit=48):
            pass
        authority = await Authority.connect(redis_url, process_id="bench", config=GatewayConfig({}, {}, ()))
        try:
            calendar = Calendar(ZoneInfo("UTC"))
            desk = _Desk(store, Reporter(store, authority, calendar), calendar)
            last = (ENDS - timedelta(days=1)).date()
            week = await desk.make("weekly", last)
            busiest = max(week.chart, key=lambda point: point.cost_nano_usd).name
            day = date.fromisoformat(busiest)
            return [
                Figure("attempts of the week", week.totals.attempts),
                await _timed("the week's report", lambda: desk.make("weekly", last), at_most=1.0),
                Figure("attempts of its busiest day", (await desk.make("daily", day)).totals.attempts),
                await _timed("that day's report", lambda: desk.make("daily", day), at_most=1.0),
                await _timed("the same made, stored, read again and as HTML", lambda: desk.keep(day)),
            ]
        finally:
            await authority.close()


class _Desk:
    """Makes reports as the schedule does."""

    def __init__(self, store: Store, reporter: Reporter, calendar: Calendar) -> None:
        self._store = store
        self._reporter = reporter
        self._calendar = calendar

    async def make(self, kind: ReportKind, day: date) -> ReportDocument:
        return await self._reporter.make(holding(kind, self._calendar, day), _NOW)

    async def keep(self, day: date) -> None:
        period = holding("daily", self._calendar, day)
        html(page_of(await made_and_kept(self._reporter, self._store, period, _NOW)))


async def _timed(name: str, work: Callable[[], Awaitable[object]], *, at_most: float | None = None) -> Figure:
    """The median of some rounds, in seconds."""
    took = []
    for _ in range(_ROUNDS):
        started = time.monotonic()
        await work()
        took.append(time.monotonic() - started)
    return Figure(f"{name} (at worst {max(took):.2f} s)", median(took), "s", at_most=at_most)


if __name__ == "__main__":
    main()
