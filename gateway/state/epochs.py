"""Epochs (I8): closing admission, and opening it again with everything that Postgres knows."""

import functools
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence

from gateway.config import GatewayConfig
from gateway.errors import ConfigurationError, StateUnavailable
from gateway.state.decisions import Decisions
from gateway.state.keys import REBUILT
from gateway.state.values import CounterLoad, EpochSnapshot, EpochState, ReservationLoad
from gateway.state.wire import milliseconds

CHUNK = 500
DAY_MS = 86_400_000
COUNTER_KEEPS_MS = 40 * DAY_MS
RUN_KEEPS_MS = 35 * DAY_MS
CLOSED_KEEPS_MS = 2 * DAY_MS


Command = tuple[str | int, ...]


class EpochKeeper:
    """The part of the authority that a rebuild uses. One rebuild at a time: see gateway.rebuild."""

    def __init__(self, decisions: Decisions, config: GatewayConfig) -> None:
        self._decisions = decisions
        self._connection = decisions.connection
        self._config = config

    async def epoch_state(self) -> EpochState:
        """Whether admission is open, without deciding anything."""
        keys = self._connection.keys
        names = (keys("epoch"), keys("seq"), keys("closed"))
        epoch, seq, reason = await self._connection.call(lambda: self._connection.redis.mget(names))
        return EpochState(epoch is not None, int(epoch or 0), int(seq or 0), "" if epoch else reason or "")

    async def close_epoch(self, reason: str) -> None:
        """Close admission for everybody."""
        await self._shut(reason)

    async def open_epoch(self, snapshot: EpochSnapshot) -> None:
        """Replace what Redis knows by the snapshot, in bounded chunks, then open admission.

        What fails in between leaves admission closed. Raises ConfigurationError when the epoch is
        not a new one, StateUnavailable when Redis fails or another process opened meanwhile.
        """
        if snapshot.epoch <= self._decisions.seen[0]:
            raise ConfigurationError(
                f"epoch {snapshot.epoch} is not new: {self._decisions.seen[0]} has been seen already"
            )
        server = await self._shut("the budgets are being rebuilt")
        await self._clear()
        await self._load(snapshot)
        reply = await self._connection.run(
            "open_epoch", json.dumps({"epoch": snapshot.epoch, "server": server})
        )
        if reply[0] == "restarted":
            raise StateUnavailable("Redis was restarted or failed over while the budgets were being loaded")
        if reply[0] != "opened":
            raise StateUnavailable(f"another process opened epoch {reply[1]} meanwhile")
        self._decisions.note_seen(snapshot.epoch, 0)

    async def _shut(self, reason: str) -> str:
        """Close admission; the run id of the server that it was closed on."""
        reply = await self._connection.run("close_epoch", json.dumps({"reason": reason}))
        return str(reply[4])

    async def _clear(self) -> None:
        prefix = _escaped(self._connection.keys.prefix)
        for name in REBUILT:
            cursor = await self._clear_some(prefix + name, 0)
            while cursor:
                cursor = await self._clear_some(prefix + name, cursor)

    async def _clear_some(self, pattern: str, cursor: int) -> int:
        redis = self._connection.redis
        cursor, found = await self._connection.call(lambda: redis.scan(cursor, pattern, count=CHUNK))
        if found:
            await self._connection.call(lambda: redis.unlink(*found))
        return int(cursor)

    async def _load(self, snapshot: EpochSnapshot) -> None:
        seconds, micros = await self._connection.call(self._connection.redis.time)
        loader = _Loader(self._connection.keys.prefix, self._config, seconds * 1000 + micros // 1000)
        commands = loader.commands(snapshot)
        while chunk := list(itertools.islice(commands, CHUNK)):
            await self._connection.call(functools.partial(self._execute, chunk))

    async def _execute(self, commands: Sequence[Command]) -> None:
        async with self._connection.redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            await pipe.execute()


class _Loader:
    """Turns a snapshot into plain Redis commands."""

    def __init__(self, prefix: str, config: GatewayConfig, now_ms: int) -> None:
        self._prefix = prefix
        self._lease_ms = milliseconds(config.lease_seconds)
        self._grace_ms = milliseconds(config.lease_grace_seconds)
        self._now_ms = now_ms

    def commands(self, snapshot: EpochSnapshot) -> Iterator[Command]:
        yield from self._limits(snapshot)
        yield from self._counters(snapshot)
        for reservation in snapshot.reservations:
            yield from self._reservation(reservation)
        yield from self._calls(snapshot)
        yield from self._done(snapshot)
        yield from self._switches(snapshot)

    def _limits(self, snapshot: EpochSnapshot) -> Iterator[Command]:
        yield "SET", self._prefix + "limits_version", snapshot.limits_version
        for (scope, period), limit in snapshot.limits.items():
            yield "HSET", self._prefix + "limits", f"{scope}|{period.value}", limit

    def _counters(self, snapshot: EpochSnapshot) -> Iterator[Command]:
        held: defaultdict[str, int] = defaultdict(int)
        in_doubt: defaultdict[str, int] = defaultdict(int)
        for reservation in snapshot.reservations:
            sums = held if reservation.state == "pending" else in_doubt
            for counter in reservation.counters:
                sums[counter] += reservation.amount_nano_usd
        known = {load.counter: load for load in snapshot.counters}
        for counter in [*known, *(c for c in {**held, **in_doubt} if c not in known)]:
            load = known.get(counter, CounterLoad(counter))
            yield from self._counter(load, held[counter], in_doubt[counter])
        yield from self._agents(snapshot)

    def _counter(self, load: CounterLoad, held: int, in_doubt: int) -> Iterator[Command]:
        gone_ms = load.ends_ms + COUNTER_KEEPS_MS if load.ends_ms else self._now_ms + self._unended(load)
        if gone_ms <= self._now_ms:
            return
        key = f"{self._prefix}c:{load.counter}"
        amounts = ("spent", load.spent_nano_usd, "held", held, "in_doubt", in_doubt)
        ends = ("topped", load.topped_nano_usd, "ends", load.ends_ms, "until", gone_ms)
        yield "HSET", key, *amounts, *ends
        if load.default_limit_nano_usd is not None:
            yield "HSET", key, "default", load.default_limit_nano_usd
        yield "PEXPIREAT", key, gone_ms
        yield "ZADD", self._prefix + "counters", gone_ms, load.counter

    def _unended(self, load: CounterLoad) -> int:
        return RUN_KEEPS_MS if load.counter.endswith("|run|run") else COUNTER_KEEPS_MS

    def _agents(self, snapshot: EpochSnapshot) -> Iterator[Command]:
        days = sorted((c.counter for c in snapshot.counters if c.counter.startswith("agent:")), key=_window)
        for counter in days:
            scope, period, _ = counter.rsplit("|", 2)
            if period == "day":
                yield "HSET", self._prefix + "agents", scope.removeprefix("agent:"), counter

    def _reservation(self, load: ReservationLoad) -> Iterator[Command]:
        """A pending one gets a whole lease: time for its owner, if it lives, to renew it."""
        lease_ms = self._now_ms + self._lease_ms
        fields: dict[str, str | int] = {
            "state": load.state,
            "amount": load.amount_nano_usd,
            "counters": json.dumps(load.counters),
            "day": load.day,
            "agent": load.agent,
            "call": load.call_key,
            "number": load.number,
            "lease": lease_ms,
            "grace": self._grace_ms,
            "process_id": load.process_id,
            "deployment": load.deployment,
            "provider": load.provider,
            "busy": load.key_id,
        }
        yield (
            "HSET",
            f"{self._prefix}a:{load.attempt_id}",
            *(part for item in fields.items() for part in item),
        )
        if load.state == "pending":
            deadline_ms = lease_ms + self._grace_ms
            yield "ZADD", self._prefix + "pending", deadline_ms, load.attempt_id
            lists = (f"live:{load.agent}", *([f"busy:{load.key_id}"] if load.key_id else ()))
            for live in (self._prefix + name for name in lists):
                yield "ZADD", live, deadline_ms, load.attempt_id
                yield "PEXPIRE", live, 3_600_000

    def _calls(self, snapshot: EpochSnapshot) -> Iterator[Command]:
        """How many attempts each call has had, and which was the last."""
        numbers: dict[str, int] = {}
        for attempt_id in [*snapshot.closed, *(r.attempt_id for r in snapshot.reservations)]:
            call, _, number = attempt_id.rpartition("#")
            numbers[call] = max(numbers.get(call, 0), int(number))
        for call, last in numbers.items():
            key = f"{self._prefix}call:{call}"
            yield "HSET", key, "number", last, "live", f"{call}#{last}"
            yield "PEXPIRE", key, CLOSED_KEEPS_MS

    def _done(self, snapshot: EpochSnapshot) -> Iterator[Command]:
        for attempt_id in snapshot.closed:
            key = f"{self._prefix}a:{attempt_id}"
            yield "HSET", key, "state", "settled"
            yield "PEXPIRE", key, CLOSED_KEEPS_MS
        for kind, ids in (("topped", snapshot.top_ups), ("posted", snapshot.postings)):
            for done in ids:
                yield "SET", f"{self._prefix}{kind}:{done}", "1", "PX", COUNTER_KEEPS_MS

    def _switches(self, snapshot: EpochSnapshot) -> Iterator[Command]:
        for name, (value, ends_ms) in snapshot.switches.items():
            if value and (not ends_ms or ends_ms > self._now_ms):
                yield "HSET", self._prefix + "switches", name, value
                yield "SET", name, value, "NX", *(("PXAT", ends_ms) if ends_ms else ())


def _window(counter: str) -> str:
    return counter.rsplit("|", 1)[1]


def _escaped(prefix: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\^" else c for c in prefix)
