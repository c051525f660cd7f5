"""The one way to a model: hold the money, send, store the answer, settle. Read this file first.

    outcome = await gateway.complete(call)      # a Completion, or a Refusal with its numbers

`complete` walks the way of DESIGN 3: an answer already stored under the call key is returned
for free; otherwise deployments are tried in the tier's order, each attempt with a reservation
and a ledger row of its own, until one answers or the caller has to wait.
"""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from gateway.attempt import Ended, Option, Sender
from gateway.booking import Booker
from gateway.breakers import BreakerReports
from gateway.caching import AnswerCache
from gateway.calls import (
    BudgetLeft,
    Call,
    Completion,
    Outcome,
    Request,
    Settlement,
    StoredAnswer,
    WireRequest,
)
from gateway.config import GatewayConfig
from gateway.counting import TokenCounter
from gateway.errors import StateUnavailable, StoreUnavailable
from gateway.events import Opened
from gateway.leases import LeaseKeeper
from gateway.metrics import Metrics
from gateway.options import Options
from gateway.policy.budgets import affordable_tier
from gateway.policy.money import NanoUsd
from gateway.policy.periods import Calendar
from gateway.policy.refusals import Refusal, RefusalKind, invalid
from gateway.prices import PriceBook
from gateway.providers.base import Families, Hearing, Http, ProviderAnswer
from gateway.purchase import Purchase, unavailable
from gateway.scoping import Scoping
from gateway.state.authority import Authority
from gateway.state.values import Ask, Reservation
from gateway.state.watcher import CallWatcher
from gateway.state.wire import kill_switches
from gateway.store import Store
from gateway.store.cached import CachedAnswer
from gateway.traces.ids import TRACEPARENT, Place, attempt_span, placed, write_traceparent
from gateway.violations import ViolationLog
from gateway.waiting_line import WaitingLine

_T = TypeVar("_T")
log = structlog.get_logger(__name__)

_STORE_RETRY_SECONDS = 0.25
# Providers take the attempt's id, which is the key and a number, as a header of 512 characters at most.
_LONGEST_KEY = 480


class Gateway:
    """Makes model calls within every budget. One per process; safe for concurrent use."""

    def __init__(
        self,
        *,
        config: GatewayConfig,
        authority: Authority,
        store: Store,
        prices: PriceBook,
        families: Families,
        http: Http,
        metrics: Metrics,
        process_id: str,
    ) -> None:
        self.config = config
        self.authority = authority
        self.store = store
        self.options = Options(config, prices, families)
        self.http = http
        self.metrics = metrics
        self._process_id = process_id
        self._scoping = Scoping(config)
        self.watcher = CallWatcher(authority)
        metrics.watcher_delay_seconds.set_function(lambda: self.watcher.delay_seconds)
        self._leases = LeaseKeeper(authority, config.lease_seconds)
        self._sender = Sender(http, self.watcher, self._leases)
        self.booker = Booker(authority, store)
        self._violations = ViolationLog(store, process_id)
        self.counter = TokenCounter(config, authority, http)
        self._breakers = BreakerReports(authority, metrics, off=not config.breaker.failures)
        self.cache = AnswerCache(self, config.cache)
        self.line = WaitingLine(config.queue_calls)
        self._bookings: set[asyncio.Task[Any]] = set()

    async def complete(self, call: Call) -> Outcome:
        """Answer one logical call, or say why not.

        Returns a Completion, or a Refusal whose kind says what to do. Raises ProviderError for
        what no retry can mend (invalid request, context length, auth, refused content) and
        StoreUnavailable when the prompt or the stored answer cannot be reached.
        """
        call = replace(call, caller=placed(call.caller, call.key))
        names = {"call": call.key, "trace_id": call.caller.trace_id, "run": call.caller.run_id}
        with structlog.contextvars.bound_contextvars(**{k: v for k, v in names.items() if v}):
            return await self._complete(call)

    async def _complete(self, call: Call) -> Outcome:
        if not _fits_a_header(call.key):
            return invalid(f"a call key is at most {_LONGEST_KEY} printable ASCII characters")
        if call.keep and (call.answered is None or await call.answered()):
            stored = await self.store.answers.load(call.key)
            if stored is not None:
                return await self.replayed(stored)
        request = await call.load_request()
        known = await self.store.attempts.of_call(call.key) if call.retried else []
        used = max((row["number"] for row in known), default=0)
        looked = await self.cache.look(call, request)
        if looked is not None and looked.hit is not None:
            given = await self._from_cache(call, request, looked.hit, used)
            if given is not None:
                return given
        elif looked is not None:
            self.metrics.missed(call.caller.agent)
        try:
            async with asyncio.timeout(call.total_timeout_seconds):
                outcome = await Purchase(self, call, request, used).run()
        except TimeoutError:
            outcome = unavailable(
                f"no answer within {call.total_timeout_seconds:g} s over all attempts", attempts=1
            )
        if isinstance(outcome, Refusal):
            self.count_refusal(call, outcome)
        elif looked is not None and not outcome.replayed:
            self._booking(self.cache.keep(call, looked, outcome))  # after the caller has it
        return outcome

    def count_refusal(self, call: Call, refusal: Refusal) -> None:
        """Count a refusal that reaches its caller, and log one by a rate limit."""
        self.metrics.refused(call.caller.agent, refusal)
        if refusal.kind is RefusalKind.RATE_LIMITED and not call.recheck:
            self._violations.note(call.caller, refusal)

    async def _from_cache(
        self, call: Call, request: Request, hit: CachedAnswer, used: int
    ) -> Completion | None:
        """Give an answer that was bought before, as an attempt that costs nothing. None: it may not be
        given, and whoever buys is told why."""
        deployment = self.config.deployments.get(hit.deployment)
        if deployment is None:
            return None
        option = self.options.free(call, request, deployment)
        ask = self.ask(call, option, time.time_ns() // 1_000_000, used=used, downgrade=False)
        answer = await self.authority.admit(replace(ask, circuit=False))
        if not isinstance(answer, Reservation):
            return None
        self.metrics.cached(call.caller, deployment.name)
        return await asyncio.shield(self._booking(self._given(call, hit, answer)))

    async def _given(self, call: Call, hit: CachedAnswer, reservation: Reservation) -> Completion:
        settlement = Settlement(
            attempt_id=reservation.attempt_id,
            state="settled",
            basis="cache",
            status="success",
            saved_nano_usd=hit.cost_nano_usd,
            finish_reason="stop",
            done_ms=time.time_ns() // 1_000_000,
        )
        stored = StoredAnswer(
            call_key=call.key,
            message=hit.message,
            finish_reason="stop",
            deployment=hit.deployment,
            settlement=settlement,
            rendered=hit.rendered,
            digest=call.digest,
        )
        try:
            stored = await self._keep(call, stored)
        finally:
            await self.booker.close_attempt(settlement, reservation.day)
        return Completion(
            message=stored.message,
            finish_reason=stored.finish_reason,
            deployment=stored.deployment,
            attempt_id=reservation.attempt_id,
            usage=settlement.usage,
            cost_nano_usd=NanoUsd(0),
            item=stored.item,
            replayed=stored.settlement.attempt_id != reservation.attempt_id,
            cached=True,
            similar=hit.similar,
            saved_nano_usd=hit.cost_nano_usd,
            rendered=stored.rendered,
            digest=stored.digest,
            left=reservation.left,
        )

    @property
    def busy(self) -> bool:
        """Whether something is still to be booked, or kept."""
        return bool(self._bookings)

    @property
    def calendar(self) -> Calendar:
        """The accounting periods by which this gateway counts."""
        return self._scoping.calendar

    async def close(self, timeout_seconds: float = 10.0) -> bool:
        """Book what is still open, then stop; False when something could not be booked in time."""
        if self._bookings:
            await asyncio.wait(self._bookings, timeout=timeout_seconds)
        done = await self.booker.drain(timeout_seconds) and not self._bookings
        for part in (self.booker, self._leases, self.watcher, self._violations):
            await part.close()
        await self.http.aclose()
        return done

    async def replayed(self, stored: StoredAnswer) -> Completion:
        """Give a stored answer again, and settle its attempt should a crash have come in between."""
        settlement = stored.settlement
        await self.booker.close_attempt(settlement, day="")
        with contextlib.suppress(StoreUnavailable):
            await self.store.attempts.mark_replayed(settlement.attempt_id)
        return Completion(
            message=stored.message,
            finish_reason=stored.finish_reason,
            deployment=stored.deployment,
            attempt_id=settlement.attempt_id,
            usage=settlement.usage,
            cost_nano_usd=NanoUsd(settlement.cost_nano_usd),
            item=stored.item,
            replayed=True,
            rendered=stored.rendered,
            digest=stored.digest,
        )

    async def tier_of(self, call: Call) -> str:
        """The tier to begin with: as asked, or what the rest of the agent's day allows."""
        if not call.cost_aware:
            return call.tier
        try:
            day = await self.authority.utilization(call.caller.agent)
        except StateUnavailable:  # admission is about to say the same, with its reason
            return call.tier
        limit = day.limit_nano_usd
        used = day.spent_nano_usd + day.held_nano_usd + day.in_doubt_nano_usd
        tiers = tuple(tier.name for tier in self.config.tiers)
        return affordable_tier(tiers, call.tier, (limit or 0) - used, limit)

    def waited(self, tier: str, milliseconds: int) -> None:
        """Count what a call waited in line for."""
        self.metrics.waited(tier, milliseconds / 1000)

    def ask(self, call: Call, option: Option, queued_ms: int, *, used: int, downgrade: bool) -> Ask:
        """What the authority is asked for: the row to open and the budgets to hold it in.

        used: the highest number of an attempt of this call that is known to Postgres.
        """
        ratio = self.config.downgrade_at_ratio
        return Ask(
            opened=self._opened(call, option, queued_ms, used),
            lines=self._scoping.lines(call, option.tier, option.deployment, queued_ms),
            downgrade_at_ratio=ratio if downgrade and self._scoping.is_dear(option.tier) else None,
            rates=self._scoping.rates(call, option.tier, option.deployment, option.asked_nano_usd),
            in_flight=self._scoping.in_flight(call),
        )

    def _opened(self, call: Call, option: Option, queued_ms: int, used: int) -> Opened:
        caller = call.caller
        return Opened(
            attempt_id="",
            call_key=call.key,
            number=used,
            process_id=self._process_id,
            agent=caller.agent,
            tier=call.tier,
            deployment=option.deployment.name,
            provider=option.provider.name,
            model=option.deployment.model,
            asked_nano_usd=option.asked_nano_usd,
            run_id=caller.run_id,
            step=caller.step,
            team=caller.team,
            user=caller.user,
            key_id=caller.key_id,
            session=caller.session,
            endpoint=caller.endpoint,
            application=caller.application,
            feature=caller.feature,
            mode=caller.mode,
            tags=caller.tags,
            trace_id=caller.trace_id,
            span_id=caller.span_id,
            prompt_version=caller.prompt_version,
            temperature=option.request.temperature,
            max_output_tokens=option.max_output_tokens,
            price_id=option.price.id,
            queued_ms=queued_ms,
        )

    async def attempt(
        self, call: Call, option: Option, reservation: Reservation, *, pass_refusals: bool = False
    ) -> Outcome | Ended:
        """Send under the reservation, store the answer, settle; shielded, so that it is always booked.

        pass_refusals: an answer withheld for its content is paid for, but is not the call's answer, unless
        the client has seen some of it.
        """
        caller = call.caller
        started = time.monotonic()
        ended = await self._sender.send(
            option,
            reservation,
            switches=tuple(name for name, _ in kill_switches(reservation.opened)),
            run_ids=tuple(i for i in (caller.run_id, *caller.ancestors) if i),
            timeout_seconds=call.timeout_seconds,
            hearing=self._hearing(call, option, reservation),
        )
        self.metrics.attempted(caller, option, ended, time.monotonic() - started)
        wanted = not (pass_refusals and ended.refused) or call.heard
        completion = await asyncio.shield(self._booking(self._book(call, option, reservation, ended, wanted)))
        if ended.cancelled:
            raise asyncio.CancelledError
        return completion if completion is not None else ended

    @staticmethod
    def _hearing(call: Call, option: Option, reservation: Reservation) -> Hearing:
        """Who hears this attempt, nobody in runs; and where in its trace the provider is asked."""
        here = Place(call.caller.trace_id, attempt_span(reservation.attempt_id))
        headers = {TRACEPARENT: write_traceparent(here)}
        if call.listener is None:
            return Hearing(headers=headers)
        call.listener.answering(
            option.deployment, reservation.attempt_id, as_it_is=option.as_it_is, left=reservation.left
        )
        if isinstance(option.request, WireRequest) and option.as_it_is:
            headers = {**option.request.headers, **headers}
        return Hearing(call.listener, call.silence_seconds if option.streamed else None, headers)

    async def _book(
        self, call: Call, option: Option, reservation: Reservation, ended: Ended, wanted: bool
    ) -> Completion | None:
        """Store, then settle (in this order: a crash in between is healed by the replay).

        Raises what storing raises; the attempt is settled all the same, and a retry buys the answer
        again, in an attempt of its own.
        """
        stored = None
        try:
            if ended.answer is not None and wanted:
                stored = await self._store_answer(call, option, ended, ended.answer)
        finally:
            await self.booker.close_attempt(ended.settlement, reservation.day)
            await self._breakers.tell(option, reservation, ended)
        if stored is None:
            return None
        self.options.counted(option, call, ended.settlement.usage.prompt_tokens)
        return Completion(
            message=stored.message,
            finish_reason=stored.finish_reason,
            deployment=stored.deployment,
            attempt_id=reservation.attempt_id,
            usage=ended.settlement.usage,
            cost_nano_usd=NanoUsd(ended.settlement.cost_nano_usd),
            item=stored.item,
            replayed=stored.settlement.attempt_id != reservation.attempt_id,
            settled=ended.settlement.state == "settled",
            rendered=stored.rendered,
            digest=stored.digest,
            left=_left(reservation, ended.settlement),
        )

    async def answered_meanwhile(self, call: Call, reservation: Reservation) -> Completion | None:
        """The answer of an earlier attempt, when it was stored after this call had first looked for one.

        What was held for another attempt is given back then.
        """
        try:
            stored = await self.store.answers.load(call.key)
        except BaseException:
            self._booking(self._give_back(reservation))
            raise
        if stored is None:
            return None
        self._booking(self._give_back(reservation))
        return await self.replayed(stored)

    async def _give_back(self, reservation: Reservation) -> None:
        unsent = Settlement(
            attempt_id=reservation.attempt_id,
            state="released",
            basis="not_sent",
            status="killed",
            error_type="answered",
            error_message="the call was given up or answered before this attempt was sent",
        )
        await self.booker.close_attempt(unsent, reservation.day)

    def _booking(self, work: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
        """Work on the books goes on when its caller goes away; `close` waits for it."""
        task = asyncio.create_task(work)
        self._bookings.add(task)
        task.add_done_callback(self._bookings.discard)
        return task

    async def _store_answer(
        self, call: Call, option: Option, ended: Ended, answer: ProviderAnswer
    ) -> StoredAnswer:
        """Keep the paid answer, waiting for Postgres as long as the call may take.

        Raises StoreUnavailable when that was too long, StoreRejected, NotFound.
        """
        told = (answer.message, answer.finish_reason, answer.usage, answer.document)
        mine = StoredAnswer(
            call_key=call.key,
            message=answer.message,
            finish_reason=answer.finish_reason,
            deployment=option.deployment.name,
            settlement=ended.settlement,
            rendered="" if call.listener is None else call.listener.rendered(*told),
            digest=call.digest,
        )
        return await self._keep(call, mine)

    async def _keep(self, call: Call, mine: StoredAnswer) -> StoredAnswer:
        """Store an answer under the call key, where that is wanted; the one that stands."""
        if not call.keep:
            return mine
        deadline = time.monotonic() + call.total_timeout_seconds
        while True:
            try:
                return await self.store.answers.save(
                    call.conversation_id, mine, run_id=call.caller.run_id, step=call.caller.step
                )
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_STORE_RETRY_SECONDS)


def _left(reservation: Reservation, settlement: Settlement) -> BudgetLeft | None:
    """What is left when an attempt is paid: what was held for it beyond its price is free again."""
    left = reservation.left
    if left is None or settlement.state != "settled":
        return left
    free = reservation.asked_nano_usd - settlement.cost_nano_usd
    return replace(left, amount_nano_usd=left.amount_nano_usd + free)


def _fits_a_header(key: str) -> bool:
    return len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()
