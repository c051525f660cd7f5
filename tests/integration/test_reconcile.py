"""Reconciliation: counters = ledger = invoice, and what is in doubt is resolved from the invoice."""

import asyncio
import dataclasses
import http.server
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
import pytest

from gateway.calls import Settlement
from gateway.drainer import Drainer
from gateway.errors import StateUnavailable
from gateway.events import Event
from gateway.rebuild import Rebuilder
from gateway.reconcile import (
    Report,
    SimulatorInvoice,
    UsageRow,
    UsageUnavailable,
    resolve,
    verify,
)
from gateway.state.authority import Reservation
from tests.integration.books import Books, open_books, settlement
from tests.integration.databases import migrated_database


@dataclasses.dataclass
class Invoice:
    """A provider's usage, as a list."""

    billed: list[UsageRow] = dataclasses.field(default_factory=list)

    def covers(self, provider: str) -> bool:
        return provider != "elsewhere"

    async def rows(self, since_ms: int = 0, until_ms: int | None = None) -> AsyncIterator[UsageRow]:
        for row in self.billed:
            yield row

    def bill(self, attempt_id: str, amount: int, *, final: bool = True, age_seconds: float = 0) -> None:
        at_ms = int((time.time() - age_seconds) * 1000)
        number = str(len(self.billed))
        row = UsageRow(attempt_id, "sim", "steady", amount, "final", at_ms, id=number, input_tokens=7)
        self.billed.append(row if final else dataclasses.replace(row, state="open"))


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_reconcile") as url:
        yield url


@pytest.fixture
async def books(redis_url: str, url: str) -> AsyncIterator[Books]:
    """Admission is open and a drainer works."""
    async with open_books(redis_url, url) as books, draining(books):
        assert await Rebuilder(books.authority, books.store, books.authority.process_id).round()
        yield books


@pytest.fixture
def invoice() -> Invoice:
    return Invoice()


@asynccontextmanager
async def draining(books: Books) -> AsyncIterator[None]:
    task = asyncio.create_task(Drainer(books.authority, books.store, "d").run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def in_doubt(books: Books, call_key: str, *, asked: int = 1000, estimate: int = 30) -> Reservation:
    held = await books.admit(call_key, asked)
    doubt = settlement(held.attempt_id, state="in_doubt", estimate_nano_usd=estimate, status="timeout")
    await books.authority.close_attempt(doubt)
    return held


async def fix(books: Books, invoice: Invoice | None, **options: float) -> Report:
    values: dict[str, Any] = {"min_age_seconds": 0, **options}
    return await resolve(books.authority, books.store, invoice, **values)


async def test_books_that_agree_are_ok(books: Books, invoice: Invoice) -> None:
    held = await books.admit("a")
    await books.settle(held, 640)
    invoice.bill(held.attempt_id, 640)

    report = await verify(books.authority, books.store, invoice)

    assert report.ok
    assert (report.ledger_nano_usd, report.invoice_nano_usd, report.in_doubt_nano_usd) == (640, 640, 0)
    assert report.counters == 4


async def test_every_kind_of_difference_is_shown_row_by_row(books: Books, invoice: Invoice) -> None:
    wrong, extra = await books.admit("wrong"), await books.admit("extra")
    await books.settle(wrong, 10)
    await books.settle(extra, 5)
    doubt = await in_doubt(books, "doubt")
    invoice.bill(wrong.attempt_id, 12)
    invoice.bill("somebody-else", 99)
    await books.redis.hincrby(f"{books.prefix}c:run:{books.prefix}run|run|run", "spent", 1)

    report = await verify(books.authority, books.store, invoice)

    assert not report.ok
    found = {(d.what, d.subject): (d.ledger_nano_usd, d.other_nano_usd) for d in report.differences}
    assert found == {
        ("counter", f"run:{books.prefix}run|run|run"): (15, 16),
        ("amount", wrong.attempt_id): (10, 12),
        ("not_booked", "somebody-else"): (0, 99),
        ("not_invoiced", extra.attempt_id): (5, 0),
        ("in_doubt", doubt.attempt_id): (1000, 0),
    }
    assert report.in_doubt_nano_usd == 1000


async def test_a_counter_that_redis_lost_is_a_difference(books: Books) -> None:
    await books.settle(await books.admit("a"), 10)
    [name] = [b.counter for b in await books.authority.budgets() if b.counter.startswith("agent:")]
    await books.redis.delete(f"{books.prefix}c:{name}")
    await books.redis.zrem(f"{books.prefix}counters", name)

    report = await verify(books.authority, books.store)

    assert [(d.subject, d.note, d.ledger_nano_usd, d.other_nano_usd) for d in report.differences] == [
        (name, "spent", 10, 0)
    ]


async def test_the_silence_of_one_provider_says_nothing_of_another(books: Books, invoice: Invoice) -> None:
    """Its doubts stay counted until they have waited long enough for their estimate."""
    held = await books.admit("quiet", provider="elsewhere")
    doubt = settlement(held.attempt_id, state="in_doubt", estimate_nano_usd=30, status="timeout")
    await books.authority.close_attempt(doubt)
    bought = await books.admit("bought", provider="elsewhere")
    await books.settle(bought, 5)

    report = await fix(books, invoice)

    assert (report.in_doubt_nano_usd, report.settled) == (1000, 0)
    assert [(d.what, d.subject) for d in report.differences] == [("in_doubt", held.attempt_id)]
    late = await fix(books, invoice, estimate_after_seconds=0)
    assert (late.settled, late.ledger_nano_usd, late.ok) == (1, 35, True)


async def test_verify_changes_nothing(books: Books, invoice: Invoice) -> None:
    await in_doubt(books, "doubt")
    invoice.bill("unknown", 5)
    first = await verify(books.authority, books.store, invoice)
    before = (await books.counters(), await books.store.attempts.totals())

    again = await verify(books.authority, books.store, invoice)

    assert again == first
    assert (await books.counters(), await books.store.attempts.totals()) == before


async def test_a_doubt_is_settled_at_what_the_invoice_says(books: Books, invoice: Invoice) -> None:
    held = await in_doubt(books, "a")
    invoice.bill(held.attempt_id, 222)

    report = await fix(books, invoice)

    assert (report.ok, report.settled, report.ledger_nano_usd) == (True, 1, 222)
    row = await books.store.attempts.get(held.attempt_id)
    assert row is not None
    assert (row["basis"], row["status"], row["input_tokens"]) == ("invoice", "timeout", 7)
    assert set((await books.counters()).values()) == {(222, 0, 0)}


async def test_a_request_billed_twice_costs_both(books: Books, invoice: Invoice) -> None:
    held = await in_doubt(books, "a")
    invoice.bill(held.attempt_id, 222)
    invoice.bill(held.attempt_id, 8)

    report = await fix(books, invoice)

    assert (report.ok, report.ledger_nano_usd, report.invoice_nano_usd) == (True, 230, 230)


async def test_an_amount_that_may_still_change_is_left_alone(books: Books, invoice: Invoice) -> None:
    held = await in_doubt(books, "a")
    invoice.bill(held.attempt_id, 10, final=False)

    report = await fix(books, invoice)

    assert (report.ok, report.settled, report.left_open, report.in_doubt_nano_usd) == (False, 0, 1, 1000)


async def test_a_doubt_that_the_provider_does_not_know_was_never_sent(books: Books, invoice: Invoice) -> None:
    held = await in_doubt(books, "a")
    young = await fix(books, invoice, min_age_seconds=3600)
    assert (young.settled, young.left_open) == (0, 1)

    report = await fix(books, invoice)

    assert (report.ok, report.settled, report.ledger_nano_usd) == (True, 1, 0)
    row = await books.store.attempts.get(held.attempt_id)
    assert row is not None
    assert (row["state"], row["basis"]) == ("settled", "not_sent")


async def test_an_estimate_is_adjusted_by_a_posting(books: Books, invoice: Invoice) -> None:
    held = await in_doubt(books, "a", estimate=30)
    first = await fix(books, None, estimate_after_seconds=0)
    assert (first.settled, first.ledger_nano_usd) == (1, 30)
    invoice.bill(held.attempt_id, 25)

    report = await fix(books, invoice)

    assert (report.ok, report.adjusted, report.ledger_nano_usd) == (True, 1, 25)
    booked = (await books.store.attempts.booked([held.attempt_id]))[held.attempt_id]
    assert (booked.basis, booked.adjustments) == ("estimate", 1)
    assert set((await books.counters()).values()) == {(25, 0, 0)}
    assert await books.store.events.alerts(rule="invoice_differs") == []


async def test_without_usage_a_young_doubt_waits(books: Books) -> None:
    await in_doubt(books, "a")

    report = await fix(books, None, estimate_after_seconds=3600)

    assert (report.settled, report.left_open) == (0, 1)


async def test_an_invoice_that_contradicts_the_reported_usage_is_followed_and_alerts(
    books: Books, invoice: Invoice
) -> None:
    held = await books.admit("a")
    await books.settle(held, 100)
    invoice.bill(held.attempt_id, 140)

    report = await fix(books, invoice)

    assert (report.ok, report.adjusted, report.ledger_nano_usd) == (True, 1, 140)
    [alert] = await books.store.events.alerts(rule="invoice_differs")
    assert (alert.evidence["ledger_nano_usd"], alert.evidence["invoice_nano_usd"]) == (100, 140)


async def test_usage_that_no_attempt_knows_is_adopted_and_alerts(books: Books, invoice: Invoice) -> None:
    invoice.bill("lost-with-everything#1", 70)
    invoice.bill("", 4)

    report = await fix(books, invoice)

    assert (report.ok, report.adopted, report.ledger_nano_usd) == (True, 2, 74)
    row = await books.store.attempts.get("lost-with-everything#1")
    assert row is not None
    assert (row["state"], row["basis"], row["model"], row["cost_nano_usd"]) == (
        "settled",
        "invoice",
        "steady",
        70,
    )
    assert len(await books.store.events.alerts(rule="usage_adopted")) == 2
    counters = await books.counters()
    assert {counter.partition("|")[0] for counter in counters} == {"global"}
    assert set(counters.values()) == {(74, 0, 0)}


async def test_young_usage_is_not_adopted_yet(books: Books, invoice: Invoice) -> None:
    invoice.bill("on-its-way#1", 70, age_seconds=1)

    assert (await fix(books, invoice, min_age_seconds=60)).adopted == 0


async def test_resolving_again_changes_nothing(books: Books, invoice: Invoice) -> None:
    held = await in_doubt(books, "a")
    invoice.bill(held.attempt_id, 222)
    invoice.bill("unknown#1", 5)
    await fix(books, invoice)
    before = (await books.counters(), await books.store.attempts.totals())

    report = await fix(books, invoice)

    assert (report.settled, report.adjusted, report.adopted) == (0, 0, 0)
    assert (await books.counters(), await books.store.attempts.totals()) == before


async def test_two_that_resolve_at_once_book_everything_once(books: Books, invoice: Invoice) -> None:
    held = [await in_doubt(books, f"a{i}") for i in range(10)]
    for number, reservation in enumerate(held):
        invoice.bill(reservation.attempt_id, number)
    invoice.bill("unknown#1", 5)

    await asyncio.gather(*(fix(books, invoice) for _ in range(3)))

    report = await verify(books.authority, books.store, invoice)
    assert (report.ok, report.ledger_nano_usd) == (True, sum(range(10)) + 5)


async def test_a_doubt_that_redis_does_not_know_is_settled_here(books: Books, invoice: Invoice) -> None:
    body = Settlement(attempt_id="gone#1", state="in_doubt").model_dump(mode="json")
    await books.store.ledger.apply_events([Event("in_doubt", body, day="2026-11-21")])
    invoice.bill("gone#1", 9)

    report = await fix(books, invoice)

    assert (report.ledger_nano_usd, report.in_doubt_nano_usd) == (9, 0)


async def test_a_pending_attempt_that_redis_forgot_becomes_in_doubt_after_an_hour(
    books: Books, invoice: Invoice, url: str
) -> None:
    held = await books.admit("a")
    await Drainer(books.authority, books.store, "d2", claim_idle_ms=0).drain_all()
    await books.redis.delete(f"{books.prefix}a:{held.attempt_id}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE attempts SET at = at - interval '2 hours'")
    invoice.bill(held.attempt_id, 9)

    report = await fix(books, invoice)

    assert (report.settled, report.ledger_nano_usd, report.pending_nano_usd) == (1, 9, 0)


async def test_an_outbox_that_nobody_drains_is_said(redis_url: str, url: str) -> None:
    async with open_books(redis_url, url) as books:
        assert await Rebuilder(books.authority, books.store, books.authority.process_id).round()
        await books.admit("a")

        report = await verify(books.authority, books.store, drain_seconds=0.1)

    assert (report.ok, report.undrained) == (False, 1)


async def test_closed_admission_cannot_be_verified(redis_url: str, url: str) -> None:
    async with open_books(redis_url, url) as books:
        with pytest.raises(StateUnavailable, match="being rebuilt"):
            await verify(books.authority, books.store)


async def test_the_simulators_invoice_is_read_over_http() -> None:
    row = {
        "client_request_id": "a#1", "id": "req_1", "model": "steady", "input_tokens": 3, "output_tokens": 2,
        "cache_read_tokens": 0, "cache_write_tokens": 0, "reasoning_tokens": 1, "amount_nano_usd": 55,
        "amount_usd": "0.000000055", "state": "final", "at_ms": 1000,
    }  # fmt: skip
    with serving({"rows": [row, row | {"at_ms": 5000, "state": "open"}], "total_nano_usd": 110}) as address:
        everything = [row async for row in SimulatorInvoice(address).rows()]
        late = [row async for row in SimulatorInvoice(address).rows(since_ms=2000)]

    assert everything[0] == UsageRow(
        "a#1", "simulator", "steady", 55, "final", 1000, "req_1", 3, 2, reasoning_tokens=1
    )
    assert [row.state for row in late] == ["open"]


async def test_an_invoice_that_cannot_be_read_says_where_it_looked() -> None:
    with pytest.raises(UsageUnavailable, match=r"127\.0\.0\.1:1/invoice"):
        [row async for row in SimulatorInvoice("http://127.0.0.1:1").rows()]


@contextmanager
def serving(document: object) -> Iterator[str]:
    """An HTTP server that answers everything with one JSON document."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
