"""The budget authority: decides, before a token is bought, whether every budget can afford it.

One Lua script per decision, one round trip each. This class is what the rest of the gateway
sees; the parts about switches, the outbox and epochs are in modules of their own.
"""

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, cast

from gateway.calls import Settlement
from gateway.config import GatewayConfig
from gateway.errors import StateUnavailable
from gateway.events import EventKind, Opened
from gateway.plain_json import dumps, loads
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.policy.scopes import Period
from gateway.state.breakers import Breakers
from gateway.state.connection import Connection, InvalidArgument
from gateway.state.decisions import Decisions, Place
from gateway.state.epochs import EpochKeeper
from gateway.state.memory import Memory, Record
from gateway.state.outbox import Outbox
from gateway.state.switches import SwitchBoard
from gateway.state.values import (
    AgentUse,
    Ask,
    BudgetState,
    CloseResult,
    CounterLoad,
    EpochSnapshot,
    EpochState,
    LeaseState,
    Reservation,
    ReservationLoad,
    ServerLoad,
    SwitchChange,
    TopUpResult,
)
from gateway.state.wire import (
    admit_json,
    budget_left,
    budget_states,
    milliseconds,
    opened_body,
    refusal_from,
    refused_body,
)

RETRY_UNAVAILABLE_MS = 2_000
GIVE_BACK_TRIES = 5
COUNTERS_PER_READ = 200


class Authority(SwitchBoard, Outbox, EpochKeeper, Breakers):
    """See the methods; every one raises StateUnavailable when Redis cannot answer, but for
    `admit`, which refuses."""

    def __init__(self, connection: Connection, *, process_id: str, config: GatewayConfig) -> None:
        decisions = Decisions(connection)
        SwitchBoard.__init__(self, decisions)
        Outbox.__init__(self, decisions)
        EpochKeeper.__init__(self, decisions, config)
        Breakers.__init__(self, decisions, config)
        self.process_id = process_id
        self.memory = Memory()
        self._velocity = _velocity(config)
        self._nonces = (f"{secrets.token_hex(6)}.{n}" for n in itertools.count())
        self._background: set[asyncio.Task[None]] = set()

    @classmethod
    async def connect(
        cls, url: str, *, process_id: str, config: GatewayConfig, prefix: str = "curb:"
    ) -> "Authority":
        """Connect and check the server.

        Raises ConfigurationError for Redis Cluster, versions below 7 and servers that evict;
        StateUnavailable when nothing answers.
        """
        connection = Connection(url, prefix)
        try:
            await connection.check()
        except BaseException:
            await connection.close()
            raise
        return cls(connection, process_id=process_id, config=config)

    async def close(self) -> None:
        """Finish giving back what cancelled callers left behind, then disconnect."""
        await self.finish_background()
        await self._connection.close()

    async def finish_background(self, timeout_seconds: float = 5.0) -> None:
        """Wait until what cancelled callers asked for has been given back."""
        if self._background:
            await asyncio.wait(self._background, timeout=timeout_seconds)

    # The life of an attempt

    async def admit(self, ask: Ask) -> Reservation | Refusal:
        """Hold the asked amount in every line, or say why not.

        A caller that is cancelled meanwhile leaves no hold behind: whatever was held is released.
        """
        task = asyncio.ensure_future(self._admit(ask))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._in_background(self._give_back(task))
            raise

    async def renew(
        self, attempt_ids: Sequence[str], seconds: float | None = None
    ) -> dict[str, tuple[LeaseState, float]]:
        """Prolong leases, by as much as is configured or by `seconds`.

        Of each attempt its state, and until when (monotonic) its owner may send.

        held: go on. in_doubt: it was late, its money is in doubt, nobody took its place. fenced: a
        newer attempt of its call did. closed: settled or released, or unknown. Only `held` has a
        time in the future.
        """
        if not attempt_ids:
            return {}
        before = time.monotonic()
        seconds = self._config.lease_seconds if seconds is None else seconds
        reply = await self._decisions.decide(
            "renew", {"attempt_ids": list(attempt_ids), "lease_ms": milliseconds(seconds)}
        )
        states = cast("list[LeaseState]", reply[3:])
        until = {"held": before + seconds}
        return {i: (s, until.get(s, 0.0)) for i, s in zip(attempt_ids, states, strict=True)}

    async def close_attempt(self, settlement: Settlement, *, owner: str = "") -> CloseResult:
        """Settle, release or put in doubt, as `settlement.state` says. Idempotent by attempt id.

        applied. already: it had ended before (settled is final). unknown: no such attempt.
        refused: in doubt, and only its owner may say that it was not sent. owner: the process whose
        word this is; '' for this one's.
        Raises StateUnavailable, also while admission is closed: write it to Postgres then.
        """
        body = settlement.model_dump_json()
        ask = {
            "attempt_id": settlement.attempt_id,
            "state": settlement.state,
            "cost": settlement.cost_nano_usd,
            "basis": settlement.basis,
            "process_id": owner or self.process_id,
            "velocity": self._velocity,
        }
        reply = await self._decisions.decide("close", ask, body)
        if reply[0] == "applied":
            place = (int(reply[1]), int(reply[5]))
            self._remember(settlement.state, body, place, int(reply[4]), reply[3], settlement.attempt_id)
        if reply[0] != "refused":
            self.memory.let_go(settlement.attempt_id)
        return cast(CloseResult, reply[0])

    async def expire_overdue(self, limit: int = 100) -> int:
        """Put reservations in doubt whose lease and grace lapsed. How many (limit: there may be more)."""
        return int((await self._decisions.decide("expire", {"limit": limit}))[3])

    # Events that move no money

    async def refuse(self, opened: Opened, refusal: Refusal) -> None:
        """Have a refusal kept in the ledger's table of attempts (dropped while the outbox is full)."""
        await self._note("refused", refused_body(opened, refusal), opened.call_key)

    async def alert(self, rule: str, scope: str, evidence: Mapping[str, Any]) -> None:
        """Raise an alert (REQUIREMENTS 9); evidence: the numbers that made it."""
        body = json.dumps({"rule": rule, "scope": scope, "evidence": dict(evidence)})
        await self._note("alert", body)

    # Budgets

    async def post(
        self, posting_id: str, counters: Sequence[str], amount_nano_usd: int, body: Mapping[str, Any]
    ) -> bool:
        """Add an amount, also a negative one, to what the counters have spent. False: done before.

        body: of the `posted` event; `attempt_id` and `day` in it are where the ledger books it.
        """
        text = json.dumps(
            {
                "kind": "adjust",
                **body,
                "posting_id": posting_id,
                "amount_nano_usd": amount_nano_usd,
                "counters": list(counters),
            }
        )
        ask = {"posting_id": posting_id, "counters": list(counters), "amount": amount_nano_usd}
        day, attempt_id = str(body.get("day", "")), str(body.get("attempt_id", ""))
        reply = await self._decisions.decide("post", {**ask, "day": day, "attempt_id": attempt_id}, text)
        if reply[0] == "applied":
            self._remember("posted", text, (int(reply[1]), int(reply[2])), int(reply[3]), day, attempt_id)
        return reply[0] == "applied"

    async def apply_limits(self, version: int, limits: Mapping[tuple[str, Period], int]) -> bool:
        """Replace the table of limits, by (scope, period). False: a newer version is there.

        A scope may be a wildcard (`agent:*`): it holds where neither the table has an exact entry
        nor the call brings a limit of its own.
        """
        table = [(f"{scope}|{period.value}", limit) for (scope, period), limit in limits.items()]
        reply = await self._decisions.decide("apply_limits", {"version": version, "limits": table})
        return reply[0] == "applied"

    async def top_up(self, top_up_id: str, counter: str, amount_nano_usd: int, by: str = "") -> TopUpResult:
        """Add to the limit of one counter, for its window. Idempotent by top_up_id."""
        text = json.dumps(
            {"top_up_id": top_up_id, "counter": counter, "amount_nano_usd": amount_nano_usd, "by": by}
        )
        ask = {"top_up_id": top_up_id, "counter": counter, "amount": amount_nano_usd}
        reply = await self._decisions.decide("top_up", ask, text)
        if reply[0] == "applied":
            self._remember("top_up", text, (int(reply[1]), int(reply[2])), int(reply[3]))
        limit = int(reply[4]) if reply[4] else None
        return TopUpResult(reply[0] == "applied", limit, *map(int, reply[5:8]))

    async def budgets(self, ending: str = "") -> list[BudgetState]:
        """Every counter there is, also of past windows (`ends_ms` tells), sorted by name.

        ending: only those whose names end so, for example `|day|2026-11-21`.
        """
        redis, index = self._connection.redis, self._keys("counters")
        names = await self._connection.call(lambda: redis.zrange(index, 0, -1))
        return await self.counters(sorted(name for name in names if name.endswith(ending)))

    async def prune(self) -> int:
        """Forget what is listed and gone: counters past their end of life, agents, pauses. How many."""
        return int((await self._connection.run("prune"))[1])

    async def counters(self, names: Collection[str]) -> list[BudgetState]:
        """These counters; those that do not exist are left out. 200 at a time are of one instant."""
        states: list[BudgetState] = []
        for chunk in _batches(list(names), COUNTERS_PER_READ):
            states += budget_states(
                await self._connection.run("read_counters", json.dumps({"counters": chunk}))
            )
        return states

    async def utilization(self, agent: str) -> AgentUse:
        """How much of its current day the agent has used, and how fast it spends."""
        window = self._config.velocity.window_seconds
        reply = await self._connection.run("read_agent", json.dumps({"agent": agent, "window_s": window}))
        limit = int(reply[1]) if reply[1] else None
        spent, held, in_doubt, velocity = map(int, reply[2:6])
        return AgentUse(agent, limit, spent, held, in_doubt, velocity, window)

    async def server_load(self) -> ServerLoad:
        """How full and how busy Redis is, as it says itself."""
        said = await self._connection.call(self._connection.redis.info)
        names = ("used_memory", "maxmemory", "evicted_keys", "connected_clients")
        return ServerLoad(*(int(said.get(name, 0)) for name in names))

    # The order of decisions

    @property
    def seen(self) -> Place:
        """The highest (epoch, seq) this process knows of."""
        return self._decisions.seen

    def note_seen(self, epoch: int, seq: int) -> None:
        """Tell of a place that the ledger has: a Redis that is behind it was thrown back."""
        self._decisions.note_seen(epoch, seq)

    def note_drained(self, epoch: int, seq: int) -> None:
        """Everything up to this place is in Postgres: forget the copies, know the place."""
        self.memory.note_drained(epoch, seq)
        self.note_seen(epoch, seq)

    @property
    def on_closed(self) -> Callable[[str], None] | None:
        """Called with the reason, once, when this process notices that admission is closed."""
        return self._decisions.on_closed

    @on_closed.setter
    def on_closed(self, callback: Callable[[str], None] | None) -> None:
        self._decisions.on_closed = callback

    async def _admit(self, ask: Ask) -> Reservation | Refusal:
        before = time.monotonic()
        body = dumps(opened_body(ask.opened))
        values = admit_json(ask, self._config, self.process_id, next(self._nonces))
        try:
            reply = await self._decisions.decide("admit", values, body)
        except InvalidArgument as error:
            return _refusal(RefusalKind.INVALID, ask, str(error))
        except StateUnavailable as error:
            return _refusal(RefusalKind.UNAVAILABLE, ask, str(error), RETRY_UNAVAILABLE_MS)
        if reply[0] == "refused":
            return refusal_from(reply, ask.opened.asked_nano_usd)
        return self._held(ask, body, reply, before + self._config.lease_seconds)

    def _held(self, ask: Ask, body: str, reply: list[str], lease_until: float) -> Reservation:
        attempt_id, number, counters, day, at_ms, alerts, watched, left = reply[3:11]
        reservation = Reservation(
            attempt_id=attempt_id,
            number=int(number),
            opened=ask.opened,
            counters=tuple(loads(counters)),
            day=day,
            asked_nano_usd=ask.opened.asked_nano_usd,
            lease_until=lease_until,
            alerts=tuple(loads(alerts)),
            watched=watched == "1",
            left=budget_left(left),
        )
        self.memory.hold(reservation)
        place = (int(reply[1]), int(reply[2]))
        self._remember("reserved", body, place, int(at_ms), day, attempt_id, number, counters)
        return reservation

    async def _give_back(self, task: asyncio.Task[Reservation | Refusal]) -> None:
        """What a cancelled caller asked for and will never use."""
        reservation = await task
        if not isinstance(reservation, Reservation):
            return
        unsent = Settlement(
            attempt_id=reservation.attempt_id,
            state="released",
            basis="not_sent",
            status="killed",
            error_type="cancelled",
        )
        for attempt in range(GIVE_BACK_TRIES):
            try:
                await self.close_attempt(unsent)
            except StateUnavailable:
                await asyncio.sleep(0.1 * 2**attempt)
            else:
                return

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _note(self, kind: EventKind, body: str, call_key: str = "") -> None:
        ask = {"kind": kind, "call": call_key, "nonce": next(self._nonces)}
        reply = await self._decisions.decide("note", {**ask, "outbox_max": self._config.outbox_max}, body)
        if reply[0] == "noted":
            place = (int(reply[1]), int(reply[2]))
            self._remember(kind, body, place, int(reply[3]), "", reply[4], reply[5])

    def _remember(
        self,
        kind: EventKind,
        body: str,
        place: Place,
        at_ms: int,
        day: str = "",
        attempt_id: str = "",
        number: str = "",
        counters: str = "",
    ) -> None:
        self.memory.remember(Record(kind, body, *place, at_ms, day, attempt_id, number, counters))


def _velocity(config: GatewayConfig) -> dict[str, int]:
    velocity = config.velocity
    return {
        "window_s": velocity.window_seconds,
        "alert": velocity.alert_nano_usd,
        "pause": velocity.pause_nano_usd,
        "pause_ms": velocity.pause_seconds * 1000,
        "global": velocity.global_nano_usd,
    }


def _refusal(kind: RefusalKind, ask: Ask, detail: str, retry_in_ms: int | None = None) -> Refusal:
    """A refusal that Redis did not give, so without its clock."""
    retry_at_ms = None if retry_in_ms is None else int(time.time() * 1000) + retry_in_ms
    return Refusal(kind, asked_nano_usd=ask.opened.asked_nano_usd, retry_at_ms=retry_at_ms, detail=detail)


def _batches(items: list[str], size: int) -> list[list[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


__all__ = [
    "AgentUse",
    "Ask",
    "Authority",
    "BudgetState",
    "CloseResult",
    "CounterLoad",
    "EpochSnapshot",
    "EpochState",
    "LeaseState",
    "Reservation",
    "ReservationLoad",
    "SwitchChange",
    "TopUpResult",
]
