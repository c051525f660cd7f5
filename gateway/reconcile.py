"""Reconciliation: counters = ledger = invoice, shown row by row and, where it is in doubt, resolved.

`verify` changes nothing. `resolve` settles what is in doubt from the provider's own usage, and
corrects what had been estimated, by settlements and postings through the budget authority, never
by editing the books. Both first wait until the outbox is drained, as far as it will.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

import structlog

from gateway.calls import Settlement
from gateway.errors import StateUnavailable
from gateway.events import Event, Opened
from gateway.policy.scopes import Period, Window
from gateway.settling import Settler
from gateway.state.authority import Authority, BudgetState
from gateway.store import AttemptRow, Booked, Store
from gateway.store.days import WindowSum, suffix
from gateway.usage import TOKENS, SimulatorInvoice, UsageRow, UsageSource, UsageUnavailable, invoice_of

DRAIN_SECONDS = 15.0
PAGE = 1_000
CHECKS = 4
LOST_AFTER_SECONDS = 3_600.0

_Amounts = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not agree. Amounts in nano-dollars; `subject` is a counter or an attempt.

    what: `counter` (Redis against the ledger), `amount`, `not_booked`, `not_invoiced` (the ledger
    against the invoice), `in_doubt` and `open` (not decided yet).
    """

    what: Literal["counter", "amount", "not_booked", "not_invoiced", "in_doubt", "open"]
    subject: str
    ledger_nano_usd: int
    other_nano_usd: int
    note: str = ""


@dataclass(slots=True)
class Report:
    """What reconciliation found and did. `ok`: everything agrees and nothing is open.

    invoice_nano_usd is None where no usage is to be had. overspend: what the invoice has more
    than the ledger and what is in doubt together: zero, always.
    """

    ledger_nano_usd: int = 0
    invoice_nano_usd: int | None = None
    in_doubt_nano_usd: int = 0
    pending_nano_usd: int = 0
    counters: int = 0
    undrained: int = 0
    dead_events: int = 0
    differences: list[Difference] = field(default_factory=list)
    settled: int = 0
    adjusted: int = 0
    adopted: int = 0
    left_open: int = 0

    @property
    def ok(self) -> bool:
        return not (self.differences or self.undrained or self.dead_events)

    @property
    def overspend_nano_usd(self) -> int:
        covered = self.ledger_nano_usd + self.in_doubt_nano_usd + self.pending_nano_usd
        return max(0, (self.invoice_nano_usd or 0) - covered)


async def verify(
    authority: Authority,
    store: Store,
    usage: UsageSource | None = None,
    *,
    windows: Sequence[tuple[Period, Window]] | None = None,
    drain_seconds: float = DRAIN_SECONDS,
) -> Report:
    """Compare counters with the ledger and the ledger with the invoice. Changes nothing.

    windows: compare the counters of these days and months only, which reads no more of the ledger than
    theirs; None: every counter there is. Raises StateUnavailable, StoreUnavailable, UsageUnavailable.
    """
    report = Report(undrained=await drained(authority, drain_seconds))
    if windows is None:
        await _compare_counters(authority, store, report)
    for period, window in windows or ():
        sums, found = await compare_window(authority, store, period, window)
        report.counters += len(sums)
        report.differences += found
    if usage is not None:
        await _compare_invoice(authority, store, usage, report)
    totals = await store.attempts.totals()
    report.ledger_nano_usd = totals.ledger_nano_usd
    report.in_doubt_nano_usd = totals.in_doubt_nano_usd
    report.pending_nano_usd = totals.pending_nano_usd
    report.dead_events = await store.ledger.dead()
    return report


async def compare_window(
    authority: Authority, store: Store, period: Period, window: Window
) -> tuple[list[WindowSum], list[Difference]]:
    """Compare the counters of one day or month with the books: their sums, and what differs.

    Reads the postings of that window only. What differs is read again, a few times, because traffic
    moves both. Raises StateUnavailable, also while the budgets are being rebuilt, StoreUnavailable.
    """
    await _must_be_open(authority)
    for check in range(CHECKS + 1):
        if check:
            await drained(authority, 1.0)
        sums = await store.days.sums(period, window)
        found = _differences(_amounts(await authority.budgets(suffix(period, window))), _amounts(sums))
        if not found:
            break
    await _must_be_open(authority)
    return sums, found


async def resolve(
    authority: Authority,
    store: Store,
    usage: UsageSource | None = None,
    *,
    min_age_seconds: float = 300.0,
    estimate_after_seconds: float = 86_400.0,
    windows: Sequence[tuple[Period, Window]] | None = None,
    drain_seconds: float = DRAIN_SECONDS,
) -> Report:
    """Resolve what is in doubt, then verify (in these windows); the report says both.

    min_age_seconds: how long a doubt without any usage row is left alone before it counts as not
    sent, and how old a usage row must be to be adopted. estimate_after_seconds: after this long,
    where no usage is to be had, a doubt settles at its estimate (config.doubt_settles_after_seconds).
    Raises StateUnavailable, StoreUnavailable, UsageUnavailable; running it again goes on.
    """
    resolver = _Resolver(authority, store, Report())
    await drained(authority, drain_seconds)
    await resolver.leave_batches_alone()
    await resolver.doubt_the_lost()
    if usage is None:
        await resolver.settle_at_estimates(estimate_after_seconds)
    else:
        await resolver.follow_invoice(usage, min_age_seconds, drain_seconds)
        await resolver.settle_at_estimates(estimate_after_seconds, besides=usage)
    await drained(authority, drain_seconds)
    await resolver.settler.book_what_redis_had_closed()
    report = await verify(authority, store, usage, windows=windows, drain_seconds=drain_seconds)
    done = resolver.report
    report.settled, report.adjusted = resolver.settler.settled, resolver.settler.adjusted
    report.adopted, report.left_open = done.adopted, done.left_open
    return report


class _Resolver:
    """The steps of `resolve`; each may be done again without harm."""

    def __init__(self, authority: Authority, store: Store, report: Report) -> None:
        self._authority = authority
        self._store = store
        self.report = report
        self.settler = Settler(authority, store)
        self._under_way: set[str] = set()
        self._log = structlog.get_logger("gateway.reconcile")

    async def leave_batches_alone(self) -> None:
        """A batch that has not ended will be billed for more than its provider has told of yet."""
        self._under_way = await self._store.batches.under_way()

    async def doubt_the_lost(self) -> None:
        """Attempts pending here for an hour that Redis does not know: nobody will end them."""
        async for rows in _open_attempts(self._store, ("pending",)):
            old = [row for row in rows if _age_seconds(row["at"]) > LOST_AFTER_SECONDS]
            states = await self._authority.renew([row["attempt_id"] for row in old])
            lost = [attempt_id for attempt_id, (state, _) in states.items() if state == "closed"]
            if not lost:
                continue
            now_ms = _now_ms()
            await self._store.ledger.apply_events(
                [Event("in_doubt", {"attempt_id": lost_id, "by": "lost"}, at_ms=now_ms) for lost_id in lost]
            )

    async def settle_at_estimates(self, after_seconds: float, besides: UsageSource | None = None) -> None:
        """No usage is to be had: after long enough, what had been received is the best that is known.

        besides: leaves alone what this tells of.
        """
        async for rows in _open_attempts(self._store, ("in_doubt",)):
            for row in self._decidable(rows):
                if besides is not None and besides.covers(row["provider"]):
                    continue
                if _age_seconds(row["in_doubt_at"] or row["at"]) >= after_seconds:
                    await self.settler.settle(row, row["estimate_nano_usd"], "estimate")
                else:
                    self.report.left_open += 1

    async def follow_invoice(self, usage: UsageSource, min_age_seconds: float, drain_seconds: float) -> None:
        """Bring the books to what the provider's usage says."""
        invoice = await invoice_of(usage)
        unknown: list[UsageRow] = []
        for rows in _pages(invoice.values()):
            unknown += await self._follow_rows(rows)
        await self._settle_unsent(usage, invoice, min_age_seconds)
        old = [row for row in unknown if _now_ms() - row.at_ms >= min_age_seconds * 1000]
        if old:
            await drained(self._authority, drain_seconds)  # perhaps they were only on their way here
            known = await self._store.attempts.booked([row.attempt_id for row in old])
            for row in old:
                if row.attempt_id not in known:
                    await self._adopt(row)

    async def _follow_rows(self, rows: Sequence[UsageRow]) -> list[UsageRow]:
        """Settle and adjust; returns the rows that no attempt knows."""
        known = await self._store.attempts.booked([row.attempt_id for row in rows])
        for row in rows:
            booked = known.get(row.attempt_id)
            if row.state == "open" or row.attempt_id in self._under_way:
                self.report.left_open += booked is not None and booked.state == "in_doubt"
            elif booked is not None and booked.state == "in_doubt":
                await self._settle_by(row)
            elif booked is not None and booked.state != "pending":
                await self._adjust(booked, row)
        return [row for row in rows if row.attempt_id not in known and row.state == "final"]

    async def _settle_by(self, usage: UsageRow) -> None:
        row = await self._store.attempts.get(usage.attempt_id)
        if row is not None:
            tokens = {name: getattr(usage, name) for name in TOKENS}
            await self.settler.settle(row, usage.amount_nano_usd, "invoice", tokens)

    async def _settle_unsent(
        self, usage: UsageSource, invoiced: Collection[str], min_age_seconds: float
    ) -> None:
        """In doubt for long, and the provider, which tells all, knows nothing of it: it was never sent."""
        async for rows in _open_attempts(self._store, ("in_doubt",)):
            for row in self._decidable(rows):
                if row["attempt_id"] in invoiced or not usage.covers(row["provider"]):
                    continue
                if _age_seconds(row["in_doubt_at"] or row["at"]) >= min_age_seconds:
                    await self.settler.settle(row, 0, "not_sent")
                else:
                    self.report.left_open += 1

    def _decidable(self, rows: Sequence[AttemptRow]) -> list[AttemptRow]:
        found = [row for row in rows if row["attempt_id"] not in self._under_way]
        self.report.left_open += len(rows) - len(found)
        return found

    async def _adjust(self, booked: Booked, usage: UsageRow) -> None:
        """What was booked differs from the invoice: post the difference, and say so."""
        posting_id = await self.settler.adjust(booked, usage.amount_nano_usd)
        if posting_id and booked.basis != "estimate":
            evidence = {"attempt_id": booked.attempt_id, "basis": booked.basis, "state": booked.state}
            amounts = {
                "ledger_nano_usd": booked.ledger_nano_usd,
                "invoice_nano_usd": usage.amount_nano_usd,
            }
            await self._store.events.alert(
                "invoice_differs", f"provider:{usage.provider}", evidence | amounts, key=posting_id
            )

    async def _adopt(self, usage: UsageRow) -> None:
        """A usage row that no attempt knows gets an attempt and a posting of its own, and an alert."""
        attempt_id = usage.attempt_id
        day = datetime.fromtimestamp(usage.at_ms / 1000, UTC).date().isoformat()
        counters = (f"global|day|{day}", f"global|month|{day[:7]}")
        body = {
            "attempt_id": attempt_id,
            "kind": "settle",
            "day": day,
            "reason": "adopted",
            "adopted": _adopted(attempt_id, usage, counters),
        }
        posted = await self._authority.post(f"{attempt_id}/settle", counters, usage.amount_nano_usd, body)
        self.report.adopted += posted
        evidence = {"attempt_id": attempt_id, "model": usage.model, "amount_nano_usd": usage.amount_nano_usd}
        await self._store.events.alert(
            "usage_adopted", f"provider:{usage.provider}", evidence, key=f"adopted:{attempt_id}"
        )
        self._log.warning("usage that no attempt knows", **evidence)


async def _compare_counters(authority: Authority, store: Store, report: Report) -> None:
    """Spent, held and in doubt of every counter in Redis, against the sums of the books.

    Traffic moves both while they are read: what differs is read again, a few times.
    """
    await _must_be_open(authority)
    states = await authority.budgets()
    report.counters = len(states)
    found = await _counters_that_differ(store, states, _current_windows(states))
    for _ in range(CHECKS):
        if not found:
            return
        await drained(authority, 1.0)
        names = {difference.subject for difference in found}
        found = await _counters_that_differ(store, await authority.counters(names), (), names)
    report.differences += found


async def _must_be_open(authority: Authority) -> None:
    if not (await authority.epoch_state()).open:
        raise StateUnavailable("admission is closed: the budgets are being rebuilt")


async def _counters_that_differ(
    store: Store, states: Sequence[BudgetState], windows: Sequence[str], names: Collection[str] = ()
) -> list[Difference]:
    """windows: also counters of these that Redis does not have at all; names: also these."""
    redis = _amounts(states)
    spent = await store.attempts.spent_by_counter([*redis, *names], windows)
    open_ = await store.attempts.open_by_counter()
    books = {counter: (spent.get(counter, 0), *open_.get(counter, (0, 0))) for counter in {*redis, *spent}}
    return _differences(redis, books)


def _amounts(counters: Iterable[BudgetState | WindowSum]) -> dict[str, _Amounts]:
    """(spent, held, in doubt) by counter."""
    return {c.counter: (c.spent_nano_usd, c.held_nano_usd, c.in_doubt_nano_usd) for c in counters}


def _differences(redis: Mapping[str, _Amounts], books: Mapping[str, _Amounts]) -> list[Difference]:
    nothing = (0, 0, 0)
    return [
        Difference("counter", counter, booked, counted, part)
        for counter in sorted({*redis, *books})
        for part, booked, counted in zip(
            ("spent", "held", "in doubt"),
            books.get(counter, nothing),
            redis.get(counter, nothing),
            strict=True,
        )
        if booked != counted
    ]


def _current_windows(states: Sequence[BudgetState]) -> list[str]:
    """The newest day and month that Redis counts."""
    newest: dict[Period, str] = {}
    for state in states:
        if state.period is not Period.RUN:
            newest[state.period] = max(newest.get(state.period, ""), state.window)
    return list(newest.values())


async def _compare_invoice(authority: Authority, store: Store, usage: UsageSource, report: Report) -> None:
    """The ledger against the invoice, attempt by attempt; read again while something moves."""
    for _ in range(CHECKS):
        invoice = await invoice_of(usage)
        found = [difference async for difference in _invoice_differences(store, usage, invoice)]
        report.invoice_nano_usd = sum(row.amount_nano_usd for row in invoice.values())
        if not found or all(difference.what == "in_doubt" for difference in found):
            break
        await drained(authority, 1.0)
    report.differences += found


async def _invoice_differences(
    store: Store, usage: UsageSource, invoice: dict[str, UsageRow]
) -> AsyncIterator[Difference]:
    for rows in _pages(invoice.values()):
        known = await store.attempts.booked([row.attempt_id for row in rows])
        for row in rows:
            difference = _invoice_difference(row, known.get(row.attempt_id))
            if difference is not None:
                yield difference
    async for booked in store.attempts.all_booked():
        if booked.attempt_id not in invoice:
            for difference in _not_invoiced(booked, told=usage.covers(booked.provider)):
                yield difference


def _invoice_difference(row: UsageRow, booked: Booked | None) -> Difference | None:
    subject, amount = row.attempt_id, row.amount_nano_usd
    if booked is None:
        return Difference("not_booked", subject, 0, amount, row.model)
    if booked.state in ("in_doubt", "pending"):
        return Difference("in_doubt", subject, booked.reserved_nano_usd, amount, booked.state)
    if row.state == "open":
        return Difference("open", subject, booked.ledger_nano_usd, amount, "the invoice may still change")
    if booked.ledger_nano_usd != amount:
        return Difference("amount", subject, booked.ledger_nano_usd, amount, booked.basis)
    return None


def _not_invoiced(booked: Booked, *, told: bool) -> list[Difference]:
    if booked.state in ("in_doubt", "pending"):
        return [Difference("in_doubt", booked.attempt_id, booked.reserved_nano_usd, 0, booked.state)]
    if told and booked.ledger_nano_usd and booked.basis != "observed":  # another account may have paid
        return [Difference("not_invoiced", booked.attempt_id, booked.ledger_nano_usd, 0, booked.basis)]
    return []


def _adopted(attempt_id: str, usage: UsageRow, counters: tuple[str, ...]) -> dict[str, Any]:
    """An opening and a settlement in one object, as gateway.store.folding reads it."""
    opened = Opened(
        attempt_id=attempt_id,
        call_key="",
        number=0,
        process_id="",
        agent="",
        tier="",
        deployment="",
        provider=usage.provider,
        model=usage.model,
        asked_nano_usd=0,
        counters=counters,
        queued_ms=usage.at_ms,
    )
    settlement = Settlement(
        attempt_id=attempt_id,
        state="settled",
        cost_nano_usd=usage.amount_nano_usd,
        basis="invoice",
        status="success",
        provider_request_id=usage.id,
        done_ms=usage.at_ms,
        **{name: getattr(usage, name) for name in TOKENS},
    )
    return {**asdict(opened), **settlement.model_dump(mode="json", exclude={"price_id"})}


async def drained(authority: Authority, seconds: float) -> int:
    """Wait until the outbox is empty; returns what is left in it when `seconds` were not enough."""
    deadline = time.monotonic() + seconds
    while True:
        left, _ = await authority.outbox_stats()
        if not left or time.monotonic() >= deadline:
            return left
        await asyncio.sleep(0.05)


async def _open_attempts(store: Store, states: Sequence[str]) -> AsyncIterator[list[AttemptRow]]:
    after = ""
    while rows := await store.attempts.open(states, after=after, limit=PAGE):
        yield rows
        after = rows[-1]["attempt_id"]


def _pages(rows: Iterable[UsageRow]) -> Iterator[list[UsageRow]]:
    waiting = iter(rows)
    while page := list(islice(waiting, PAGE)):
        yield page


def _age_seconds(at: datetime) -> float:
    return (datetime.now(UTC) - at).total_seconds()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


__all__ = [
    "Difference",
    "Report",
    "SimulatorInvoice",
    "UsageRow",
    "UsageSource",
    "UsageUnavailable",
    "compare_window",
    "resolve",
    "verify",
]
