"""Rebuilding the budget authority from Postgres alone (I8).

Redis may be emptied, thrown back in time or be new: admission is closed then. Every living
process writes what it remembers to Postgres; one of them leads, waits for the others, drains what
is left in the outbox, computes every counter from the books and opens the next epoch. Whoever
dies in the middle, the next round does it again from the start, with the same result.
"""

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import fields
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import structlog

from gateway.config import GatewayConfig
from gateway.drainer import Drainer, book
from gateway.errors import CurbError, StateUnavailable, StoreUnavailable
from gateway.events import Event, Opened
from gateway.policy.periods import windows
from gateway.policy.scopes import Period
from gateway.state.authority import (
    Authority,
    CounterLoad,
    EpochSnapshot,
    EpochState,
    Reservation,
    ReservationLoad,
)
from gateway.store import AttemptRow, Store, settlement_of
from gateway.store.epochs import Counter, Facts

BEAT_SECONDS = 1.0
CLOSED_ROUND_SECONDS = 0.2
LIVING_SECONDS = 5.0
WAIT_FOR_OTHERS_SECONDS = 10.0
DRAIN_SECONDS = 30.0
STRAYS_EVERY_SECONDS = 5.0
STRAYS_LEASE_MS = 15_000
FLUSH_BATCH = 500
# Slack of the drained mark: what a stepped clock of Redis may shift the age of an entry by.
MARK_SLACK_SECONDS = 2.0
_OPENED = tuple(field.name for field in fields(Opened))


class Rebuilder:
    """One per process. `run` keeps it going; `until_open` waits for admission.

    config: for the zone in which days end; without it they end at midnight UTC.
    """

    def __init__(
        self, authority: Authority, store: Store, process_id: str, *, config: GatewayConfig | None = None
    ) -> None:
        self._authority = authority
        self._store = store
        self._process_id = process_id
        self._zone = ZoneInfo(config.timezone if config else "UTC")
        self._day_start_seconds = config.day_start_seconds if config else 0
        self._drainer = Drainer(authority, store, f"{process_id}.rebuild")
        self._mark = DrainedMark()
        self._wake = asyncio.Event()
        self._open = asyncio.Event()
        self._flushed: tuple[int, int, int] | None = None
        self._noted_epoch = 0
        self._knows_the_books = False
        self._trouble = ""
        self._strays_at = 0.0
        self.rebuilds = 0
        self._log = structlog.get_logger("gateway.rebuild").bind(process_id=process_id)

    async def run(self) -> None:
        """Register this process, watch the epoch and rebuild when it is closed, until cancelled."""
        self._authority.on_closed = self._noticed
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat())
                group.create_task(self._watch())
        finally:
            self._authority.on_closed = None
            with contextlib.suppress(CurbError):
                await asyncio.wait_for(self._store.epochs.leave(self._process_id), timeout=2)

    async def until_open(self, timeout_seconds: float = 60.0) -> None:
        """Wait until admission is open; raises StateUnavailable when that takes too long."""
        try:
            await asyncio.wait_for(self._open.wait(), timeout_seconds)
        except TimeoutError:
            why = self._trouble or "another process is at it"
            raise StateUnavailable(
                f"the budgets could not be loaded in {timeout_seconds:.0f} s: {why}"
            ) from None

    async def heartbeat(self) -> None:
        """Tell the others that this process lives."""
        await self._store.epochs.heartbeat(self._process_id)

    async def round(self) -> bool:
        """Look at the epoch once, and do what it needs. True when admission is open.

        Raises StateUnavailable and StoreUnavailable.
        """
        if not self._knows_the_books:
            await self._read_the_books()
        seen, now = self._authority.seen, time.monotonic()
        lag = await self._drainer.lag()
        state = await self._authority.epoch_state()
        if state.open and (state.epoch, state.seq) >= seen:
            await self._is_open(state)
            if seen[0] == state.epoch:
                self._note_drained(seen, now, lag.entries, lag.oldest_age_ms)
            # Also a process that decides nothing knows the place, and notices a Redis that is behind it.
            self._authority.note_seen(state.epoch, state.seq)
            return True
        self._open.clear()
        if state.open:
            await self._authority.close_epoch(f"Redis is at {state.epoch}.{state.seq}, {seen} was seen")
        return await self._rebuild(state, max(state.epoch, seen[0]) + 1)

    # While admission is open

    async def _is_open(self, state: EpochState) -> None:
        if self._noted_epoch != state.epoch:
            # What a process remembers of an older epoch is written now, if it slept through the rebuild.
            await self._flush(state.epoch)
            await self._store.epochs.opened(state.epoch)
            self._noted_epoch = state.epoch
        self._flushed = None
        self._open.set()
        if time.monotonic() >= self._strays_at:
            self._strays_at = time.monotonic() + STRAYS_EVERY_SECONDS
            if await self._authority.lead("strays", self._process_id, STRAYS_LEASE_MS):
                await tell_of_strays(self._authority, self._store, state.epoch)

    def _note_drained(self, seen: tuple[int, int], now: float, entries: int, age_ms: int) -> None:
        mark = seen if not entries else self._mark.before(now - age_ms / 1000 - MARK_SLACK_SECONDS)
        self._mark.add(now, seen)
        if mark is not None and mark[0] == seen[0]:
            self._authority.note_drained(*mark)

    async def _read_the_books(self) -> None:
        """A Redis that is behind what Postgres has seen was thrown back while nobody looked."""
        self._authority.note_seen(*await self._store.ledger.mark())
        epoch, state = await self._store.epochs.newest()
        if state == "open":
            self._authority.note_seen(epoch, 0)
        self._knows_the_books = True

    # While it is closed

    async def _rebuild(self, state: EpochState, at_least: int) -> bool:
        """Lead the rebuild, or write for the one that does what this process remembers.

        The epoch is named by the leader, while it holds the lock and has seen that admission is closed.
        So it cannot open before everybody's flush for just this epoch, and no flush is older than the
        closing; a name from before might have been flushed for while admission was open.
        """
        async with self._store.epochs.lead() as leading:
            if leading:
                now = await self._authority.epoch_state()
                if now.open and (now.epoch, now.seq) >= self._authority.seen:
                    return True  # somebody was faster; the next round notices
                epoch = await self._store.epochs.want(state.reason or "the budgets are not loaded", at_least)
                await self._flush(epoch)
                return await self._lead(epoch)
        if (wanted := await self._store.epochs.wanted()) is not None:
            await self._flush(wanted)
        return False

    async def _flush(self, epoch: int) -> None:
        """Write what this process remembers to Postgres; again when it remembers more since."""
        memory = self._authority.memory
        live = memory.live()
        picture = (epoch, len(memory), len(live))
        if self._flushed == picture:
            return
        events = [*memory.undrained(), *(_reserved(reservation) for reservation in live)]
        for start in range(0, len(events), FLUSH_BATCH):
            await book(self._store, events[start : start + FLUSH_BATCH])
        await self._store.epochs.flushed(self._process_id, epoch, [r.attempt_id for r in live])
        self._flushed = picture

    async def _lead(self, epoch: int) -> bool:
        self._log.info("loading the budgets from Postgres", epoch=epoch)
        await self._wait_for_others(epoch)
        if not await self._drainer.drain_all(within_seconds=DRAIN_SECONDS, claim_idle_ms=0):
            self._log.warning("the outbox is not empty yet; once more", epoch=epoch)
            return False
        doubted = await self._store.epochs.doubt_unclaimed(epoch)
        snapshot = await self._snapshot(epoch)
        await self._authority.open_epoch(snapshot)
        self.rebuilds += 1
        await self._store.epochs.opened(epoch)
        self._log.info(
            "the budgets are loaded", epoch=epoch, counters=len(snapshot.counters), doubted=doubted
        )
        self._strays_at = 0.0
        return True

    async def _wait_for_others(self, epoch: int) -> None:
        """Until every living process has flushed, ten seconds at most: the dead do not speak."""
        deadline = time.monotonic() + WAIT_FOR_OTHERS_SECONDS
        while missing := await self._store.epochs.unflushed(epoch, LIVING_SECONDS):
            if time.monotonic() > deadline:
                self._log.warning("rebuilding without some processes", epoch=epoch, missing=missing)
                return
            await asyncio.sleep(0.05)

    async def _snapshot(self, epoch: int) -> EpochSnapshot:
        ends = self._window_ends()
        since = datetime.fromtimestamp(min(start for start, _ in ends.values()) / 1000, UTC)
        facts = await self._store.epochs.facts(list(ends), since)
        return snapshot_of(epoch, facts, {name: end for name, (_, end) in ends.items()})

    def _window_ends(self) -> dict[str, tuple[int, int]]:
        """(start, end) of the days and months from the first of last month to the next month."""
        now_ms = time.time_ns() // 1_000_000
        months = windows(Period.MONTH, now_ms, self._zone, self._day_start_seconds)
        found = {month.id: (month.start_ms, month.end_ms) for month in months}
        at_ms = now_ms + 86_400_000
        while at_ms >= months[0].start_ms:
            day = windows(Period.DAY, at_ms, self._zone, self._day_start_seconds)[1]
            found[day.id] = (day.start_ms, day.end_ms)
            at_ms = day.start_ms - 1
        return found

    # Keeping on

    def _noticed(self, reason: str) -> None:
        self._log.warning("admission is closed", reason=reason)
        self._wake.set()

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):  # the other loop says so
                await self.heartbeat()
            await asyncio.sleep(BEAT_SECONDS)

    async def _watch(self) -> None:
        while True:
            is_open = True
            try:
                is_open = await self.round()
                self._trouble = ""
            except CurbError as error:
                if not self._trouble:
                    self._log.warning("the budgets cannot be looked after", error=str(error))
                self._trouble = str(error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), BEAT_SECONDS if is_open else CLOSED_ROUND_SECONDS)
            self._wake.clear()


class DrainedMark:
    """Which place in the order of decisions is surely in Postgres, from the age of the oldest entry.

    Whatever this process had seen when the oldest entry that still waits was written has left
    the outbox. Only durations are compared, never clocks of different machines.
    """

    def __init__(self, capacity: int = 600) -> None:
        self._samples: deque[tuple[float, tuple[int, int]]] = deque(maxlen=capacity)

    def add(self, at: float, seen: tuple[int, int]) -> None:
        """`seen` was the highest place known at monotonic time `at`."""
        self._samples.append((at, seen))

    def before(self, at: float) -> tuple[int, int] | None:
        """The highest place that was known before monotonic time `at`; older samples go."""
        found = None
        while self._samples and self._samples[0][0] < at:
            found = self._samples.popleft()[1]
        return found


def snapshot_of(epoch: int, facts: Facts, ends_ms: dict[str, int]) -> EpochSnapshot:
    """What the authority is loaded with, from what the books say. ends_ms: by the window's id."""
    return EpochSnapshot(
        epoch=epoch,
        limits_version=facts.limits_version,
        limits=facts.limits,
        counters=tuple(_counter_load(counter, ends_ms) for counter in facts.counters),
        reservations=tuple(_reservation_load(row) for row in facts.open),
        closed=facts.closed,
        top_ups=facts.top_ups,
        postings=facts.postings,
        switches=facts.switches,
    )


async def tell_of_strays(authority: Authority, store: Store, epoch: int) -> int:
    """Tell Redis of attempts that were closed in Postgres while it could not be asked.

    Their counters follow; a settlement that Redis knows nothing of at all is posted to them. All
    of it is idempotent, so it does not matter that the owner may be doing the same. Returns how
    many Redis has accepted.
    """
    told: list[str] = []
    for row in await store.attempts.direct():
        settlement = settlement_of(row)
        # Only its owner writes an attempt here so; the word stands when the owner is gone.
        result = await authority.close_attempt(settlement, owner=row["process_id"])
        if result == "refused":
            continue  # in doubt there, and nobody has said that it was never sent
        if result == "unknown" and settlement.cost_nano_usd and row["counters"]:
            # The same posting id as the settlement's: counters move, the ledger has it already.
            body = {"attempt_id": row["attempt_id"], "kind": "settle", "day": str(row["day"] or "")}
            await authority.post(
                f"{row['attempt_id']}/settle", row["counters"], settlement.cost_nano_usd, body
            )
        told.append(row["attempt_id"])
    if told:
        await store.attempts.confirm(told, epoch)
    return len(told)


def _reserved(reservation: Reservation) -> Event:
    body = {name: getattr(reservation.opened, name) for name in _OPENED} | {
        "attempt_id": reservation.attempt_id,
        "number": reservation.number,
        "counters": list(reservation.counters),
        "asked_nano_usd": reservation.asked_nano_usd,
    }
    return Event("reserved", body, at_ms=time.time_ns() // 1_000_000, day=reservation.day)


def _counter_load(counter: Counter, ends_ms: dict[str, int]) -> CounterLoad:
    return CounterLoad(
        counter=counter.counter,
        spent_nano_usd=counter.spent_nano_usd,
        topped_nano_usd=counter.topped_nano_usd,
        default_limit_nano_usd=counter.default_limit_nano_usd,
        ends_ms=ends_ms.get(counter.counter.rsplit("|", 1)[-1], 0),
    )


def _reservation_load(row: AttemptRow) -> ReservationLoad:
    return ReservationLoad(
        attempt_id=row["attempt_id"],
        call_key=row["call_key"],
        number=row["number"],
        state=row["state"],
        amount_nano_usd=row["reserved_nano_usd"],
        counters=tuple(row["counters"]),
        day=str(row["day"] or ""),
        agent=row["agent"],
        process_id=row["process_id"],
        deployment=row["deployment"],
        provider=row["provider"],
        key_id=row["key_id"],
    )
