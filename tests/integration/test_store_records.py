"""Runs, budgets, alerts and audit as records; costs by every dimension; hot queries use their indexes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from gateway.errors import NotFound, StoreUnavailable
from gateway.policy.scopes import Period
from gateway.store import Rule, Run, Store
from gateway.store.attempts import DIMENSIONS
from gateway.store.database import conninfo
from gateway.store.sql import statement
from tests.integration.databases import migrated_database
from tests.integration.ledger_events import AT_MS, posted, refused, reserved, settled


@pytest.fixture(scope="module")
def url(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_records") as url:
        yield url


@pytest.fixture(scope="module")
async def store(url: str) -> AsyncIterator[Store]:
    async with await Store.connect(url) as store:
        yield store


async def test_a_run_is_opened_once_and_follows_its_newest_workflow(store: Store) -> None:
    first = await store.runs.open(
        Run("once", "coder", temporal_run_id="w1", spec={"name": "coder"}, user="ann")
    )
    second = await store.runs.open(Run("once", "other", temporal_run_id="w2"))

    assert (first.agent, first.spec, first.user, first.status) == (
        "coder",
        {"name": "coder"},
        "ann",
        "running",
    )
    assert (second.agent, second.temporal_run_id) == ("coder", "w2")


async def test_steps_and_cost_only_grow_and_an_ended_run_stays_ended(store: Store) -> None:
    await store.runs.open(Run("ends", "coder"))
    await store.runs.update("ends", steps=3, cost_nano_usd=30, waiting_for="budget", status="paused")
    await store.runs.update("ends", steps=2, cost_nano_usd=20)

    ended = await store.runs.update("ends", status="completed", answer_item=7)
    after = await store.runs.update("ends", status="running", steps=99)

    assert (ended.steps, ended.cost_nano_usd, ended.waiting_for, ended.answer_item) == (3, 30, "", 7)
    assert ended.ended_at is not None
    assert after == ended


async def test_an_unknown_run_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="no run nobody"):
        await store.runs.get("nobody")
    with pytest.raises(NotFound, match="no run nobody"):
        await store.runs.update("nobody", steps=1)


async def test_runs_are_listed_newest_first_by_what_they_are(store: Store) -> None:
    for number in range(3):
        await store.runs.open(Run(f"list{number}", "lister", team="red", parent="list0" if number else ""))
    await store.runs.update("list1", status="killed", reason="test")

    assert [run.id for run in await store.runs.list(agent="lister")] == ["list2", "list1", "list0"]
    assert [run.id for run in await store.runs.list(agent="lister", live=True)] == ["list2", "list0"]
    assert [run.id for run in await store.runs.list(team="red", status="killed")] == ["list1"]
    assert [run.id for run in await store.runs.list(parent="list0", limit=1)] == ["list2"]
    middle = (await store.runs.get("list1")).started_at
    assert [run.id for run in await store.runs.list(agent="lister", before=middle)] == ["list0"]
    assert await store.runs.list(agent="lister", since=datetime.now(UTC) + timedelta(hours=1)) == []
    with pytest.raises(ValueError, match="cannot be chosen by colour"):
        await store.runs.list(colour="red")


async def test_what_happened_in_a_run_is_recorded_once_per_key(store: Store) -> None:
    news = [await store.runs.record("r", "shadow", "k1", {"tool": "write\x00"}) for _ in range(2)]
    await store.runs.record("r", "approval", "k2", {"by": "ann"})

    assert news == [True, False]
    assert [event.kind for event in await store.runs.events("r")] == ["shadow", "approval"]
    assert [event.body for event in await store.runs.events("r", "approval")] == [{"by": "ann"}]


async def test_a_policy_gets_a_version_only_when_it_changes_something(store: Store) -> None:
    limits = {("agent:coder", Period.DAY): 100, ("agent:*", Period.DAY): 50, ("global", Period.MONTH): 1000}

    first = await store.budgets.apply_policy(limits, source="a", applied_by="ann")
    same = await store.budgets.apply_policy(limits, source="a", applied_by="bob")
    del limits["agent:coder", Period.DAY]
    other = await store.budgets.apply_policy(limits, source="b", applied_by="ann")

    assert (same, other) == (first, first + 1)
    assert await store.budgets.current_limits() == (other, limits)
    assert [version.applied_by for version in await store.budgets.history(2)] == ["ann", "ann"]


async def test_rules_of_the_api_live_beside_the_policy(store: Store) -> None:
    rule = Rule("ann's", "user:ann", Period.MONTH, 70, alert_threshold=0.5, fallback_model="quick")
    version = await store.budgets.put_rule(rule, by="ann")
    assert (await store.budgets.current_limits())[1]["user:ann", Period.MONTH] == 70

    replaced = await store.budgets.apply_policy({("global", Period.DAY): 9}, source="c", applied_by="ann")

    assert replaced == version + 1
    assert {rule.name for rule in await store.budgets.rules()} == {"ann's", "global/day"}
    assert await store.budgets.delete_rule("ann's", by="ann") == replaced + 1
    assert await store.budgets.delete_rule("ann's", by="ann") is None


async def test_versions_are_handed_out_one_at_a_time(store: Store) -> None:
    rules = [Rule(f"u{i}", f"user:u{i}", Period.DAY, i) for i in range(12)]

    versions = await asyncio.gather(*(store.budgets.put_rule(rule, by="ann") for rule in rules))

    assert sorted(versions) == list(range(min(versions), min(versions) + 12))


async def test_a_scope_that_means_nothing_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="scope 'agents"):
        await store.budgets.apply_policy({("agents:x", Period.DAY): 1}, source="d", applied_by="ann")


async def test_a_top_up_counts_once(store: Store) -> None:
    assert [await store.budgets.top_up("t", "run:x|run|run", 5, by="ann") for _ in range(2)] == [True, False]
    assert await store.budgets.top_ups() == {"run:x|run|run": 5}


async def test_the_audit_log_only_grows(store: Store, url: str) -> None:
    await store.events.audit("ann", "switch.set", "kill:agent:x", {"reason": "test"})

    [entry] = await store.events.audit_log()
    assert (entry.actor, entry.action, entry.detail) == ("ann", "switch.set", {"reason": "test"})
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.RaiseException):
        connection.execute("DELETE FROM audit")


async def test_an_alert_with_a_key_is_written_once(store: Store) -> None:
    assert [await store.events.alert("rule", "s", {"n": 1}, key="k") for _ in range(2)] == [True, False]
    assert [alert.key for alert in await store.events.alerts(rule="rule")] == ["k"]


async def test_costs_by_every_dimension_add_up_to_the_ledger(store: Store) -> None:
    await store.ledger.apply_events(
        [
            *(reserved(f"spend#{i}", agent=f"agent{i % 2}", user=f"u{i}") for i in range(4)),
            *(settled(f"spend#{i}", 100 + i) for i in range(3)),
            settled("spend#3", 0, status="error", basis="error_answer"),
            posted("spend/1", "spend#0", -10),
            refused("spend/r/1"),
        ]
    )

    totals = await store.attempts.totals()
    for dimension in DIMENSIONS:
        rows = await store.attempts.spend(dimension)
        assert sum(row.cost_nano_usd for row in rows) == totals.ledger_nano_usd == 293
        assert sum(row.attempts for row in rows) == 4
    by_agent = {row.name: row for row in await store.attempts.spend("agent")}
    assert (by_agent["agent0"].cost_nano_usd, by_agent["agent1"].cost_nano_usd) == (192, 101)
    assert (by_agent["agent1"].errors, by_agent["agent1"].input_tokens) == (1, 20)
    assert [row.name for row in await store.attempts.spend("hour")] == ["2026-11-18T11:00Z"]
    after = datetime.fromtimestamp(AT_MS / 1000, UTC) + timedelta(days=1)
    assert await store.attempts.spend("agent", since=after) == []
    with pytest.raises(ValueError, match="costs cannot be shown by colour"):
        await store.attempts.spend("colour")


async def test_attempts_are_found_by_call_and_by_run(store: Store) -> None:
    await store.ledger.apply_events(
        [reserved("find:a#1", run_id="rf"), reserved("find:a#2", run_id="rf", step=2), reserved("find:ab#1")]
    )

    assert [row["attempt_id"] for row in await store.attempts.of_call("find:a")] == ["find:a#1", "find:a#2"]
    assert [row["step"] for row in await store.attempts.of_run("rf")] == [1, 2]
    await store.attempts.mark_replayed("find:a#1")
    assert (await store.attempts.of_call("find:a"))[0]["replayed"]


async def test_statements_survive_a_server_that_throws_everybody_out(store: Store, url: str) -> None:
    await asyncio.gather(*(store.ping() for _ in range(8)))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    await asyncio.gather(*(store.runs.list(limit=1) for _ in range(8)))


async def test_a_store_that_was_closed_is_unavailable(url: str) -> None:
    store = await Store.connect(url)
    await store.close()

    with pytest.raises(StoreUnavailable):
        await store.ping()


@pytest.fixture(scope="module")
def many(database_url: str) -> Iterator[psycopg.Connection]:
    """60,000 attempts over 60 days, ten of them open, and their postings."""
    with (
        migrated_database(database_url, "test_plans") as url,
        psycopg.connect(conninfo(url), autocommit=True) as connection,
    ):
        for statement in MANY:
            connection.execute(statement.encode())
        yield connection


MANY = (
    """
    INSERT INTO attempts (attempt_id, run_id, step, state, rank, at, day, counters, settled_at)
    SELECT 'run:' || i / 10 || ':' || i % 10 || '#1', i / 10, i % 10,
           CASE WHEN i % 6000 = 0 THEN 'in_doubt' ELSE 'settled' END, 4, t.at, t.at::date,
           ARRAY['global|day|' || t.at::date, 'run:' || i / 10 || '|run|run'], t.at
    FROM generate_series(1, 60000) AS i,
         LATERAL (SELECT now() - interval '60 days' * (60000 - i) / 60000 AS at) AS t
    """,
    """
    INSERT INTO ledger (posting_id, attempt_id, kind, amount_nano_usd, day, at)
    SELECT attempt_id || '/settle', attempt_id, 'settle', 5, day, at
    FROM attempts WHERE state = 'settled' ORDER BY at
    """,
    "INSERT INTO conversations (id, items) SELECT 'c' || i, 20 FROM generate_series(1, 500) AS i",
    """
    INSERT INTO items (conversation_id, number, key, message, answer)
    SELECT 'c' || i, n, 'run:' || i || ':' || n, '{}', CASE WHEN n % 2 = 1 THEN '{}'::json END
    FROM generate_series(1, 500) AS i, generate_series(0, 19) AS n
    """,
    "VACUUM ANALYZE",
)


@pytest.mark.parametrize(
    ("query", "parameters", "index"),
    [
        ("get_attempt", {"attempt_id": "run:7:3#1"}, "attempts_pkey"),
        ("attempts_of_call", {"first": "run:7:3#", "end": "run:7:3$"}, "attempts_pkey"),
        ("attempts_of_run", {"run_id": "77", "limit": 100}, "attempts_run"),
        ("recent_attempts", {"since": None, "limit": 100}, "attempts_time"),
        ("open_attempts", {"states": ["in_doubt"], "after": "", "limit": 100}, "attempts_open"),
        ("direct_attempts", {"limit": 100}, "attempts_direct"),
        ("booked", {"ids": ["run:7:3#1", "run:7:4#1"]}, "ledger_settle_once"),
        ("open_by_counter", {}, "attempts_open"),
        ("open_for_rebuild", {}, "attempts_open"),
        ("closed_for_rebuild", {}, "attempts_time"),
        ("doubt_unclaimed", {"epoch": 1}, "attempts_open"),
        ("load_items", {"id": "c7", "up_to": None}, "items_"),
        ("find_item", {"id": "c7", "key": "k"}, "items_once"),
        ("load_answer", {"call_key": "run:7:3"}, "items_answers"),
    ],
)  # fmt: skip
def test_hot_queries_use_their_indexes(
    many: psycopg.Connection, query: str, parameters: dict[str, object], index: str
) -> None:
    plan = explained(many, statement(query), parameters)

    assert index in plan
    assert "Seq Scan on attempts" not in plan
    assert "Seq Scan on items" not in plan


def test_costs_of_a_short_time_read_a_part_of_the_ledger(many: psycopg.Connection) -> None:
    since = datetime.now(UTC) - timedelta(hours=6)

    plan = explained(many, statement("spend"), {"since": since, "until": None, "limit": 10})

    assert "Bitmap Index Scan on ledger_time" in plan
    assert "attempts_pkey" in plan


def explained(connection: psycopg.Connection, sql: str, parameters: dict[str, object]) -> str:
    rows = connection.execute(f"EXPLAIN {sql}".encode(), parameters).fetchall()
    return "\n".join(str(row[0]) for row in rows)
