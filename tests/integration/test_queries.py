"""What analysts read by SQL: views and functions say what the ledger says, and every ready query runs."""

import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.drainer import book
from gateway.policy.money import usd
from gateway.policy.scopes import Period
from gateway.store import Rule, Run, Store
from gateway.store.database import conninfo
from tests.integration.ledger_events import in_doubt, refused, reserved
from tests.integration.spending_past import call

PAGE = Path(__file__).parents[2] / "docs" / "queries.md"
READY = re.findall(r"^(\d+)\. ([^\n]+)\n\n```sql\n(.*?)\n```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
NOW = datetime.now(UTC) - timedelta(minutes=2)

# What the store's classes have no word for, as those who do it write it.
MORE = """
INSERT INTO days (period, window_id, start_at, end_at) VALUES ('day', '2026-01-01', now(), now());
INSERT INTO budget_windows (period, window_id, scope, limit_nano_usd)
VALUES ('day', '2026-01-01', 'agent:coder', 9);
INSERT INTO switch_events (key, name, new, at) VALUES ('s1', 'kill:agent:wild', 'manual:ann:wild', now());
INSERT INTO alerts (id, fingerprint, rule, severity, scope, first_seen, last_seen)
VALUES ('a1', 'f1', 'velocity_warning', 'warning', 'agent:coder', now(), now());
INSERT INTO rate_limit_violations (id, minute, process_id, rule, scope, refused, first_at, last_at)
VALUES ('v1', now(), 'p1', 'tier', 'key:k1', 3, now(), now());
INSERT INTO reconciliations (hour, ledger_nano_usd, at) VALUES (date_trunc('hour', now()), 5, now());
"""


@pytest.fixture(scope="module")
async def store(database: str) -> AsyncIterator[Store]:
    async with await Store.connect(database) as store:
        await _fill(store)
        async with await psycopg.AsyncConnection.connect(conninfo(database), autocommit=True) as connection:
            await connection.execute(MORE)
        yield store


async def _fill(store: Store) -> None:
    tagged: dict[str, Any] = {
        "user": "ann",
        "team": "red",
        "session": "s1",
        "tags": {"ticket": "42"},
        "trace_id": "t" * 32,
    }
    events = [
        *call(NOW, "0.25", agent="coder", run_id="r-1", step=1, **tagged),
        *call(NOW, "0.5", agent="coder", run_id="r-1", step=2, of_call="twice", status="error", seconds=2),
        *call(NOW, "0.125", agent="coder", of_call="twice", seconds=4),
        *call(NOW, "1", agent="writer", key_id="k1", endpoint="/v1/messages", user="ben"),
        *call(NOW - timedelta(days=8), "3", agent="writer"),
        _today(refused("no#1")),
        _today(reserved("lost#1", agent="coder")),
        _today(in_doubt("lost#1")),
    ]
    await book(store, events)
    await store.usage.refresh()
    await store.budgets.put_rule(Rule("agent:coder/day", "agent:coder", Period.DAY, usd(9)), by="test")
    await store.budgets.top_up("t1", "agent:coder|day|x", usd(2), by="ann")
    await store.events.audit("ann", "switch_set", "kill:agent:wild")
    for run, mode, status in (("r-1", "live", ""), ("r-2", "shadow", "completed"), ("r-3", "live", "failed")):
        await store.runs.open(Run(id=run, agent="coder", conversation_id=f"c-{run}", mode=mode))
        if status:
            await store.runs.update(run, status=status, steps=2, cost_nano_usd=usd("0.1"))
    await store.runs.record("r-2", "shadow_action", "sa", {"tool": "publish"})
    await store.runs.record("r-3", "escalation_budget", "eb", {"kind": "budget"})
    await store.backups.note(NOW, success=True, kind="pg_dump", size_bytes=7)


def _today(event: Any) -> Any:
    from dataclasses import replace

    return replace(event, at_ms=round(NOW.timestamp() * 1000), day=f"{NOW:%Y-%m-%d}")


async def ask(database: str, sql: str) -> Sequence[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(conninfo(database)) as connection:
        return await (await connection.execute(sql.encode())).fetchall()


def test_there_are_fifty_and_they_are_numbered() -> None:
    assert [int(number) for number, _, _ in READY] == list(range(1, 51))


# These need what a young database does not have.
EMPTY = {"Answers that were cut by their output limit", "Agents without a limit of their own",
         "Keys by what they spent this week"}  # fmt: skip


@pytest.mark.parametrize(
    ("title", "sql"), [(title, sql) for _, title, sql in READY], ids=lambda text: text[:40]
)
async def test_a_ready_query_finds_something(store: Store, database: str, title: str, sql: str) -> None:
    rows = await ask(database, sql)
    assert rows or title in EMPTY


async def test_views_and_functions_come_to_what_the_ledger_says(store: Store, database: str) -> None:
    [[ledger]] = await ask(database, "SELECT sum(amount_nano_usd) / 1e9 FROM ledger")
    assert ledger == pytest.approx(4.875)
    for sql in (
        "SELECT sum(total_cost_usd) FROM llm_usage_logs",
        "SELECT sum(total_cost_usd) FROM llm_usage",
        "SELECT sum(total_cost_usd) FROM get_daily_llm_cost()",
        "SELECT sum(total_cost_usd) FROM get_monthly_llm_cost()",
        "SELECT sum(total_cost_usd) FROM get_llm_usage_stats('-infinity', 'infinity')",
    ):
        [[total]] = await ask(database, sql)
        assert total == ledger, sql
    assert await ask(database, "SELECT total_cost_usd, requests FROM get_daily_llm_cost('ben')") == [(1, 1)]


async def test_statistics_are_exact(store: Store, database: str) -> None:
    [row] = await ask(
        database,
        "SELECT sum(requests), round(avg(success_rate), 2), max(p50_latency_ms)"
        " FROM get_llm_usage_stats(now() - interval '1 day', now())",
    )
    assert row == (5, 0.75, 1000)


async def test_what_is_young_is_not_cleaned_up(store: Store, database: str) -> None:
    assert await ask(database, "SELECT cleanup_old_llm_usage()") == [(0,)]
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="62 days"):
        await ask(database, "SELECT cleanup_old_llm_usage('1 day')")
