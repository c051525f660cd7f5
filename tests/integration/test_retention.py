"""Retention: what is old goes, in bounded batches; what is needed stays, and the books stay provable."""

import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from activities.retention import RetentionOutcome
from gateway.events import Event
from gateway.policy.retention import ALWAYS, CLASSES, RetentionPolicy
from gateway.reconcile import UsageRow, resolve, verify
from gateway.store.retention import ATTEMPTS, STATEMENTS
from gateway.store.runs import Run
from tests.integration.books import Books, open_books, settlement
from tests.integration.databases import copied_database
from tests.integration.past_days import at_noon, attempt, days_ago, open_budgets, refusal
from tests.integration.runs import serving
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.config import Config
from worker.wiring import Servers
from workflows.queues import SUPERVISION
from workflows.scheduled import Scheduled

NOW = datetime.now(UTC)


@pytest.fixture
def url(database_url: str, database: str) -> Iterator[str]:
    with copied_database(database_url, database, "test_retention_copy") as url:
        yield url


@pytest.fixture
async def books(redis_url: str, url: str) -> AsyncIterator[Books]:
    async with open_books(redis_url, url) as books:
        yield books


class Table:
    """Plain SQL beside the store, for rows that nobody writes any more."""

    def __init__(self, url: str) -> None:
        self._url = url

    def execute(self, text: str, **values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(text.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def insert(self, table: str, **values: Any) -> None:
        columns = sql.SQL(", ").join(map(sql.Identifier, values))
        places = sql.SQL(", ").join(map(sql.Placeholder, values))
        query = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), columns, places)
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(query, values)

    def count(self, table: str) -> int:
        return int(self.execute(f"SELECT count(*) FROM {table}")[0][0])


@pytest.fixture
def table(url: str) -> Table:
    return Table(url)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


async def retire(books: Books, *names: str, batch: int = 2_000, **keep_days: float) -> dict[str, int]:
    """What the nightly workflow does, without Temporal; how many rows of each class are gone."""
    policy = RetentionPolicy()
    changed = {name: days * 86_400 for name, days in keep_days.items()}
    before = replace(policy, keep_seconds={**policy.keep_seconds, **changed}).before(NOW)
    gone: dict[str, int] = {}
    for name in names or (ATTEMPTS, *STATEMENTS):
        if name not in before:
            continue
        if name == ATTEMPTS:
            gone[name] = await thin(books, before[name], batch)
            continue
        gone[name] = 0
        for statement in STATEMENTS[name]:
            while removed := await books.store.retention.remove(statement, before[name], limit=batch):
                assert removed <= batch
                gone[name] += removed
    return gone


async def thin(books: Books, before: datetime, batch: int) -> int:
    await books.store.usage.freeze_before(before)
    removed, more = 0, True
    while more:
        step = await books.store.retention.thin_attempts(before, limit=batch)
        assert step.removed + step.thinned <= batch
        removed, more = removed + step.removed, step.more
    return removed


async def a_run(books: Books, table: Table, run_id: str, ended_days_ago: float | None, items: int = 3) -> str:
    """A run with a conversation; None: it is alive, and began long ago."""
    conversation = await books.store.conversations.create(run_id, "coder")
    table.execute(
        "UPDATE conversations SET created_at = %(at)s WHERE id = %(id)s", at=ago(800), id=conversation
    )
    for number in range(items):
        table.insert(
            "items", conversation_id=conversation, number=number, key=f"k{number}", message="{}", at=ago(800)
        )
    await books.store.runs.open(Run(run_id, "coder", conversation, budget_nano_usd=5_000))
    ended = None if ended_days_ago is None else ago(ended_days_ago)
    table.execute(
        "UPDATE runs SET started_at = %(at)s, ended_at = %(ended)s, status = %(status)s WHERE id = %(id)s",
        at=ago(800), ended=ended, status="completed" if ended else "running", id=run_id,
    )  # fmt: skip
    return conversation


def test_every_class_has_a_way_to_be_removed() -> None:
    assert {each.name for each in CLASSES} | set(ALWAYS) == {ATTEMPTS, *STATEMENTS}


async def test_words_go_when_their_run_has_ended_long_ago_and_never_while_it_lives(
    books: Books, table: Table
) -> None:
    old, lately, alive = [await a_run(books, table, f"r{days}", days) for days in (91, 89, None)]

    gone = await retire(books, "conversations", batch=2)

    assert gone == {"conversations": 3 + 1}
    assert await books.store.conversations.load(old) == []
    left = {row[0] for row in table.execute("SELECT conversation_id FROM items")}
    assert left == {lately, alive}
    assert table.count("runs") == 3


async def test_words_without_a_record_of_their_run_go_when_nothing_was_said_for_long(
    books: Books, table: Table
) -> None:
    for name, last in (("stale", 91), ("used", 5)):
        table.insert("conversations", id=name, run_id="", agent="coder", created_at=ago(300))
        for number, days in enumerate((300, last)):
            table.insert(
                "items", conversation_id=name, number=number, key=str(number), message="{}", at=ago(days)
            )

    await retire(books, "conversations")

    assert table.execute("SELECT id FROM conversations") == [("used",)]
    assert table.count("items") == 2


async def test_words_that_another_living_run_works_on_stay(books: Books, table: Table) -> None:
    shared = await a_run(books, table, "first", 100)
    await books.store.runs.open(Run("second", "coder", shared))

    await retire(books, "conversations")

    assert table.count("items") == 3


async def test_what_is_kept_for_ever_stays(books: Books, table: Table) -> None:
    await a_run(books, table, "r1", 5_000)
    policy = RetentionPolicy({"conversations": None})

    assert "conversations" not in policy.before(NOW)
    assert "dead_events" not in RetentionPolicy().before(NOW)
    assert await retire(books, "runs") == {"runs": 0}, "its words are still there"


async def test_a_run_is_forgotten_after_its_words(books: Books, table: Table) -> None:
    await a_run(books, table, "old", 400)
    await a_run(books, table, "lately", 300)
    await a_run(books, table, "parent", 400)
    await books.store.runs.open(Run("child", "coder", parent="parent"))

    await retire(books)

    assert {row[0] for row in table.execute("SELECT id FROM runs")} == {"lately", "parent", "child"}


async def test_attempts_that_cost_nothing_go_and_those_that_were_billed_keep_their_account(
    books: Books,
) -> None:
    old, young = days_ago(100), days_ago(80)
    events = [*attempt("billed", old, 400), *attempt("young", young, 300), *attempt("doubt", old)]
    events += [
        *attempt("unsent", old)[:1],
        refusal("no", old, "agent:coder"),
        refusal("nay", young, "global"),
    ]
    unsent = settlement("unsent#1", state="released", basis="not_sent", status="error")
    events.append(Event("released", unsent.model_dump(mode="json"), 1, 5, at_noon(old)))
    await books.store.ledger.apply_events(events)
    whole = await books.store.attempts.get("young#1")

    gone = await retire(books, "attempts", batch=2)

    assert gone == {"attempts": 2}
    assert await books.store.attempts.get("unsent#1") is None
    assert await books.store.attempts.get("no/r/1") is None
    assert await books.store.attempts.get("nay/r/1") is not None
    assert await books.store.attempts.get("young#1") == whole
    billed, doubt = [await books.store.attempts.get(f"{name}#1") for name in ("billed", "doubt")]
    assert billed is not None
    assert doubt is not None
    kept = (
        "agent",
        "team",
        "user_id",
        "model",
        "run_id",
        "cost_nano_usd",
        "input_tokens",
        "day",
        "state",
        "basis",
    )
    assert [billed[name] for name in kept] == [
        "coder", "red", "ann", "steady", "", 400, 10, old, "settled", "usage"
    ]  # fmt: skip
    assert (billed["counters"], billed["tags"], billed["provider_usage"], billed["call_key"]) == (
        [],
        {},
        {},
        "",
    )
    assert doubt["counters"] != [], "what is in doubt stays whole, however old it is"
    assert await retire(books, "attempts") == {"attempts": 0}


async def test_attempts_of_a_living_run_and_those_redis_was_not_told_of_stay_whole(
    books: Books, table: Table
) -> None:
    await a_run(books, table, "alive", None)
    direct = Event("settled", settlement("direct#1", 5).model_dump(mode="json"), at_ms=at_noon(days_ago(100)))
    await books.store.ledger.apply_events([*attempt("of-alive", days_ago(100), 7, run_id="alive"), direct])

    await retire(books, "attempts")

    for name in ("of-alive#1", "direct#1"):
        row = await books.store.attempts.get(name)
        assert row is not None
        assert row["provider_usage"] != {} or row["closed_epoch"] == 0


async def test_an_attempt_that_was_released_and_billed_later_is_an_account(books: Books) -> None:
    old = days_ago(100)
    unsent = settlement("a#1", state="released", basis="not_sent", status="error").model_dump(mode="json")
    posting = {"posting_id": "a#1/adjust/1", "attempt_id": "a#1", "amount_nano_usd": 50}
    await books.store.ledger.apply_events(
        [
            attempt("a", old)[0],
            Event("released", unsent, 1, 5, at_noon(old)),
            Event("posted", posting, 1, 6, at_noon(old), old.isoformat()),
        ]
    )

    assert await retire(books, "attempts") == {"attempts": 0}

    found = (await books.store.attempts.booked(["a#1"]))["a#1"]
    assert found.ledger_nano_usd == 50


class Invoice:
    """A provider that tells everything it ever billed."""

    def __init__(self, billed: Mapping[str, tuple[date, int]]) -> None:
        self._billed = billed

    def covers(self, provider: str) -> bool:
        return True

    async def rows(self, since_ms: int = 0, until_ms: int | None = None) -> AsyncIterator[UsageRow]:
        for attempt_id, (day, amount) in self._billed.items():
            yield UsageRow(attempt_id, "sim", "steady", amount, "final", at_noon(day), id=attempt_id)


async def test_after_years_of_retention_the_books_still_equal_the_invoice_and_the_rebuilt_counters(
    books: Books, table: Table, redis_url: str, url: str
) -> None:
    await a_run(books, table, "alive", None)
    billed = {}
    for days in (0, 1, 5, 30, 69, 91, 200, 400, 900):
        name, day = f"d{days}", days_ago(days)
        billed[f"{name}#1"] = (day, 100 + days)
        events = [
            *attempt(name, day, 100 + days, run_id="alive" if days == 400 else ""),
            refusal(name, day, "global"),
        ]
        await books.store.ledger.apply_events(events)
        await books.store.budgets.top_up(f"t{days}", f"global|day|{day}", 7, by="ann")
        table.execute("UPDATE top_ups SET at = %(at)s WHERE top_up_id = %(id)s", at=ago(days), id=f"t{days}")
    await books.store.budgets.top_up("of-alive", "run:alive|run|run", 9, by="ann")
    table.execute("UPDATE top_ups SET at = %(at)s WHERE top_up_id = 'of-alive'", at=ago(500))
    await open_budgets(books)
    before = {each.counter: each for each in await books.authority.budgets()}
    totals = await books.store.attempts.totals()

    gone = await retire(books)
    await books.forget()
    await books.store.epochs.leave(books.authority.process_id)  # nobody need wait for it
    async with open_books(redis_url, url, prefix=books.prefix) as again:
        await open_budgets(again)
        after = {each.counter: each for each in await again.authority.budgets()}
        report = await resolve(again.authority, again.store, Invoice(billed), min_age_seconds=0)
        checked = await verify(again.authority, again.store, Invoice(billed))

    assert gone["attempts"] == 4, "the refusals"
    assert gone["top_ups"] == 2
    assert after == before
    assert after["run:alive|run|run"].spent_nano_usd == 500
    assert after["run:alive|run|run"].topped_nano_usd == 9
    assert (report.adopted, report.adjusted, report.settled, report.differences) == (0, 0, 0, [])
    assert checked.ok
    assert checked.invoice_nano_usd == checked.ledger_nano_usd == totals.ledger_nano_usd


async def test_roll_ups_of_hours_that_lost_attempts_stay_as_they_were(books: Books, table: Table) -> None:
    old = days_ago(100)
    await books.store.ledger.apply_events([*attempt("a", old, 400), refusal("r", old, "global")])
    await books.store.usage.refresh()
    rows = table.execute("SELECT sum(cost_nano_usd), sum(refusals), sum(attempts) FROM usage_hours")

    await retire(books)
    posting = {"posting_id": "a#1/adjust/1", "attempt_id": "a#1", "amount_nano_usd": 50}
    await books.store.ledger.apply_events(
        [Event("posted", posting, 1, 9, at_noon(days_ago(0)), old.isoformat())]
    )
    await books.store.usage.refresh()

    assert table.execute("SELECT sum(cost_nano_usd), sum(refusals), sum(attempts) FROM usage_hours") == rows


async def test_the_ledger_and_the_audit_log_cannot_be_removed_from(books: Books, table: Table) -> None:
    await books.store.ledger.apply_events(attempt("a", days_ago(2_000), 400))
    await books.store.events.audit("ann", "did")

    await retire(books)

    assert (table.count("ledger"), table.count("audit")) == (1, 1)
    for name in ("ledger", "audit"):
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            table.execute(f"DELETE FROM {name}")


async def test_the_last_change_of_a_switch_stays_however_old_it_is(books: Books, table: Table) -> None:
    for seq, (days, old, new) in enumerate(
        [(900, "", "manual:a"), (800, "manual:a", "manual:b"), (20, "", "x")]
    ):
        name = "kill:global" if days > 100 else "kill:agent:x"
        table.insert(
            "switch_events", key=f"k{seq}", name=name, old=old, new=new, at=ago(days), epoch=1, seq=seq
        )

    assert await retire(books, "switch_events") == {"switch_events": 1}

    changes = await books.store.events.switch_changes("kill:global")
    assert [each.new for each in changes] == ["manual:b"]


async def test_alerts_go_a_year_after_they_were_resolved_with_what_was_told_about_them(
    books: Books, table: Table
) -> None:
    for name, days, status in (("old", 400, "resolved"), ("open", 400, "firing"), ("new", 300, "resolved")):
        table.insert("events", key=name, rule="r", at=ago(days))
        table.insert(
            "alerts", id=name, fingerprint=name, rule="r", severity="warning", status=status,
            first_seen=ago(days), last_seen=ago(days),
        )  # fmt: skip
        table.insert("alert_sightings", event_key=name, alert_id=name)
        table.insert(
            "deliveries", subject=name, kind="firing", number=1, channel="log", state="delivered",
            planned_at=ago(days),
        )  # fmt: skip

    await retire(books, "alerts")

    assert {row[0] for row in table.execute("SELECT id FROM alerts")} == {"open", "new"}
    assert {row[0] for row in table.execute("SELECT event_key FROM alert_sightings")} == {"open", "new"}
    assert {row[0] for row in table.execute("SELECT subject FROM deliveries")} == {"open", "new"}
    assert {row[0] for row in table.execute("SELECT key FROM events")} == {"new"}


async def test_an_alert_that_was_lifted_lately_stays_however_long_ago_it_was_last_seen(
    books: Books, table: Table
) -> None:
    table.insert(
        "alerts", id="late", fingerprint="late", rule="switch_set", severity="warning", status="resolved",
        first_seen=ago(400), last_seen=ago(400), resolved_at=ago(0.1), look_at=ago(-0.1),
    )  # fmt: skip
    table.insert(
        "deliveries", subject="late", kind="firing", number=1, channel="log", state="delivered",
        planned_at=ago(400),
    )  # fmt: skip

    await retire(books, "alerts")

    assert [row[0] for row in table.execute("SELECT id FROM alerts")] == ["late"]
    assert [row[0] for row in table.execute("SELECT subject FROM deliveries")] == ["late"]


async def test_files_go_and_batches_that_have_ended_with_them(books: Books, table: Table) -> None:
    for name, days in (("old", 31), ("new", 29)):
        table.insert("files", id=name, bytes=2, content=b"{}", created_at=ago(days))
        for state in ("sent", "ended"):
            table.insert("batches", id=f"{name}-{state}", state=state, created_at=ago(days))

    assert await retire(books, "files") == {"files": 2}

    assert table.count("files") == 1
    assert table.execute("SELECT id FROM batches ORDER BY id") == [
        ("new-ended",),
        ("new-sent",),
        ("old-sent",),
    ]


async def test_small_tables_lose_what_is_old(books: Books, table: Table) -> None:
    table.insert("http_answers", call_key="dead", answer="{}", expires_at=ago(0.01))
    table.insert("http_answers", call_key="alive", answer="{}", expires_at=ago(-1))
    for days in (31, 29):
        table.insert("probes", provider="p", deployment="", at=ago(days), ok=True)
    for days in (366, 10):
        table.insert("usage_hours", hour=ago(days), day=ago(days).date())
        table.insert("latency_hours", hour=ago(days), day=ago(days).date(), bucket=3)
        table.insert("reconciliations", hour=ago(days))
    for days in (91, 10):
        await books.store.runs.record(f"r{days}", "escalation_approval", "k", {})
        table.execute("UPDATE run_events SET at = %(at)s WHERE run_id = %(id)s", at=ago(days), id=f"r{days}")
        await books.store.days.record_work("sample", ago(days), {})

    gone = await retire(books)

    once = ("http_answers", "probes", "run_events", "scheduled_work")
    assert {name: gone[name] for name in once} == dict.fromkeys(once, 1)
    assert (gone["usage"], gone["reconciliations"]) == (2, 1)
    assert table.execute("SELECT call_key FROM http_answers") == [("alive",)]


async def test_epochs_go_but_for_those_that_say_where_redis_and_the_outbox_are(
    books: Books, table: Table
) -> None:
    for epoch, state, drained in ((1, "open", 5), (2, "abandoned", 0), (3, "open", 9), (4, "open", 0)):
        table.insert("epochs", epoch=epoch, state=state, drained_seq=drained, closed_at=ago(200))
    table.insert("claims", epoch=1, attempt_id="a", process_id="p")
    table.insert("processes", process_id="gone", last_seen=ago(8))

    await retire(books, "housekeeping")

    assert {row[0] for row in table.execute("SELECT epoch FROM epochs")} == {3, 4}
    assert table.count("claims") == table.count("processes") == 0
    assert await books.store.ledger.mark() == (3, 9)


async def test_the_nightly_workflow_says_what_it_removed_and_how_far_back_each_class_goes(
    temporal: Any, redis_url: str, url: str, simulator: SimulatedProvider, books: Books, table: Table
) -> None:
    await a_run(books, table, "old", 91)
    await a_run(books, table, "alive", None)
    await books.store.ledger.apply_events([refusal("r", days_ago(100), "global")])
    gateway = config(simulator.url, ("balanced", ("gpt-5-mini@say-12",)))
    kept = RetentionPolicy({**RetentionPolicy().keep_seconds, "runs": 90 * 86_400.0})
    settings = Config(gateway=gateway, agents={}, limits={}, retention=kept)

    async with serving(temporal, Servers(redis_url, url), gateway, (), config=settings):
        outcomes = [
            await temporal.execute_workflow(
                "Retention",
                Scheduled(at=NOW.isoformat()),
                id=f"retention-{uuid.uuid4().hex[:8]}",
                task_queue=SUPERVISION,
                result_type=RetentionOutcome,
            )
            for _ in range(2)
        ]

    first, second = [{each.name: each for each in outcome.retired} for outcome in outcomes]
    assert (first["conversations"].removed, first["attempts"].removed, first["runs"].removed) == (4, 1, 1)
    assert all(each.finished for each in first.values())
    assert not any(each.removed for each in second.values())
    [work] = await books.store.days.work("retention")
    assert work.outcome["retired"][0]["name"] == "attempts"
    assert datetime.fromisoformat(work.outcome["oldest"]["attempts"]) <= ago(90)
    assert "conversations" in work.outcome["oldest"]
