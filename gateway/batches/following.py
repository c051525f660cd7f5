"""Following a batch: handed in once, looked at until it has ended, settled from its results.

Handing in is the dangerous step: its answer may be lost. The row says `sending` before a byte leaves; who
finds it so later looks for the batch at the provider before he sends again, and where the provider cannot be
asked, nobody sends again: its money is in doubt.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from gateway.batches.opening import api_of
from gateway.batches.results import bought_of, settled, settlement, unsent
from gateway.calls import Settlement
from gateway.config import Deployment, Provider
from gateway.errors import ConfigurationError, CurbError
from gateway.events import Event, Opened
from gateway.gateway import Gateway
from gateway.providers.batches import BatchApi, Results, Sending, Told
from gateway.providers.errors import ErrorKind, ProviderError
from gateway.settling import Settler
from gateway.state.watcher import BUDGET_SWITCH
from gateway.state.wire import kill_switches
from gateway.store.batches import Batch, BatchState
from gateway.store.store import Store

log = structlog.get_logger(__name__)

_OPENING_SECONDS = 60.0
_ANSWER_SECONDS = 90.0  # the longest that a request which was sent in time may still be on its way
_GONE = (404, 410)
_NOBODY_KNOWS = "handing it in was cut off, and the provider cannot say whether it came"
_CANCELLING = frozenset({"cancelling", "canceling"})


class NotYet(CurbError):
    """The next step cannot be done now; try it again."""


class Follower:
    """The steps of a batch's life; each may be done again, by any process."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._store = gateway.store
        self._rules = gateway.config.batches

    async def submit(self, batch_id: str) -> bool:
        """Hand the batch in, once. False: there is nothing to follow.

        Raises NotYet, ProviderError (then, too, try again), StateUnavailable, StoreUnavailable.
        """
        batch = await self._store.batches.get(batch_id)
        if batch.state == "opening":
            return await self._still_opening(batch)
        if batch.state == "held" and batch.cancel_asked:
            return await self._never_sent(batch, "cancelled before it was handed in", "cancelled")
        if batch.state == "held" and await self._is_cut(batch):
            return await self._never_sent(batch, "a switch was set before it was handed in", "switched")
        if batch.state == "held":
            return await self._send(batch)
        if batch.state == "sending":
            return await self._look_for(batch)
        return batch.state == "sent"

    async def _still_opening(self, batch: Batch) -> bool:
        """Whoever takes it on is at it, or gone: then what he may have held is given back."""
        if batch.asked_at - batch.created_at < timedelta(seconds=_OPENING_SECONDS):
            raise NotYet("it is being taken on")
        if not await self._store.batches.move(batch.id, "opening", "failed", error="taking it on failed"):
            raise NotYet("it was just taken on")
        await self._close(batch, unsent(batch, "taking it on failed"))
        return False

    async def _never_sent(self, batch: Batch, why: str, error_type: str) -> bool:
        if not await self._store.batches.move(batch.id, "held", "failed", error=why):
            raise NotYet("somebody else hands it in")
        await self._close(batch, unsent(batch, why, error_type))
        return False

    async def _send(self, batch: Batch) -> bool:
        """All that can fail without harm comes before the row says `sending`."""
        if not await self._is_held(batch):
            why = "its money was settled before it was handed in"
            await self._store.batches.move(batch.id, "held", "failed", error=why)
            return False
        provider, _ = self._place(batch)
        upload = await self._store.batches.upload(batch.id)
        headers = batch.metadata if batch.family == "anthropic" else {}
        sending = Sending(batch.endpoint, upload, batch.id, batch.attempt_id, headers)
        api, turn = api_of(batch.family), _Turn(self._store, batch.id, self._rules.send_seconds)
        try:
            told = await api.create(self._gateway.http, provider, sending, begin=turn.begin)
        except ProviderError as error:
            if turn.since is not None and _may_have_come(error, api):
                raise  # the row says `sending`: it is looked for
            await self._not_taken(batch, error, turn.since)
            return False
        return await self._sent(batch, told, turn.since)

    async def _is_held(self, batch: Batch) -> bool:
        """Whether its money is counted still, held or in doubt; held anew for as long as it may take."""
        renewed = await self._gateway.authority.renew([batch.attempt_id], self._rules.hold_seconds)
        return renewed[batch.attempt_id][0] in ("held", "in_doubt")

    async def _not_taken(self, batch: Batch, error: ProviderError, since: datetime | None) -> None:
        """Nothing was bought. since: when its turn began, None before that. Raises NotYet where trying again
        may help."""
        batches = self._store.batches
        if error.retryable:
            if since is not None:
                await batches.move(batch.id, "sending", "held", since=since)
            raise NotYet(error.summary) from error
        was: BatchState = "held" if since is None else "sending"
        if not await batches.move(batch.id, was, "failed", error=error.summary, since=since):
            raise NotYet("somebody else hands it in") from error
        await self._close(batch, unsent(batch, error.summary, error.kind.value))

    async def _sent(self, batch: Batch, told: Told, since: datetime | None) -> bool:
        batches = self._store.batches
        if not await batches.move(batch.id, "sending", "sent", provider_batch_id=told.id, since=since):
            now = await batches.get(batch.id)
            if now.provider_batch_id != told.id:
                log.error("a batch came late: nobody follows it", batch=batch.id, provider_batch=told.id)
            return now.state == "sent"
        await batches.note(batch.id, told.document)
        log.info("batch handed in", batch=batch.id, provider=batch.provider, requests=batch.requests)
        return True

    async def _look_for(self, batch: Batch) -> bool:
        """Somebody began to hand it in and never said how that ended."""
        began = batch.sending_at or batch.created_at
        if batch.asked_at - began < timedelta(seconds=self._rules.send_seconds + self._answer_seconds):
            raise NotYet("it may still be on its way")
        provider, _ = self._place(batch)
        api = api_of(batch.family)
        if not api.findable:
            return await self._lost(batch)
        told = await api.find(self._gateway.http, provider, batch.id, batch.created_at)
        if told is not None:
            return await self._sent(batch, told, batch.sending_at)
        await self._store.batches.move(batch.id, "sending", "held", since=batch.sending_at)
        raise NotYet("the provider has no such batch: it is handed in again")

    @property
    def _answer_seconds(self) -> float:
        return min(_ANSWER_SECONDS, self._rules.send_seconds * 3)

    async def _lost(self, batch: Batch, why: str = _NOBODY_KNOWS) -> bool:
        """Nobody can say what came of it: what it may cost stays counted until its provider's usage tells."""
        doubt = settlement(
            batch,
            state="in_doubt",
            status="error",
            error_type="lost",
            error_message=why,
            estimate_nano_usd=batch.asked_nano_usd,
        )
        await self._close(batch, doubt)
        await self._store.batches.move(batch.id, batch.state, "lost", error=why)
        return False

    async def give_up(self, batch_id: str) -> None:
        """Nobody follows it any more: what was not sent is given back, and of the rest nobody can say."""
        batch = await self._store.batches.get(batch_id)
        why = "it could not be followed to its end: its provider did not answer for days"
        if batch.state in ("sending", "sent"):
            await self._lost(batch, why)
        elif batch.state in ("opening", "held") and await self._store.batches.move(
            batch_id, batch.state, "failed", error=why
        ):
            await self._close(batch, unsent(batch, why))

    async def look(self, batch_id: str) -> bool:
        """Keep what the provider says, and have the batch cancelled where it is to be; whether it ended."""
        batch = await self._store.batches.get(batch_id)
        if batch.state != "sent":
            return True
        provider, _ = self._place(batch)
        api = api_of(batch.family)
        told = await api.look(self._gateway.http, provider, batch.provider_batch_id)
        wanted = await self._store.batches.note(batch_id, told.document) or await self._is_cut(batch)
        status = told.document.get("status") or told.document.get("processing_status")
        if wanted and not told.ended and status not in _CANCELLING:
            await api.cancel(self._gateway.http, provider, batch.provider_batch_id)
            log.info("batch cancelled", batch=batch_id)
        return told.ended

    async def _is_cut(self, batch: Batch) -> bool:
        """Whether a switch or a kill signal stops it. Raises StateUnavailable."""
        opened = Opened(**batch.opened)
        names = [name for name, _ in kill_switches(opened)]
        runs = [opened.run_id] if opened.run_id else []
        switches, cut = await self._gateway.authority.watch_values(names, runs)
        return bool(cut) or any(not value.startswith(BUDGET_SWITCH) for value in switches.values())

    async def settle(self, batch_id: str, *, patient: bool = True) -> None:
        """Fetch what came of an ended batch, keep it for its client, and book what it cost.

        patient: results that are gone, or lack answers, raise ProviderError, since they may be better
        the next time; else what is missing is in doubt.
        """
        batch = await self._store.batches.get(batch_id)
        if batch.state != "sent":
            return
        provider, deployment = self._place(batch)
        api = api_of(batch.family)
        told = await api.look(self._gateway.http, provider, batch.provider_batch_id)
        if not told.ended:
            raise NotYet("it has not ended")
        results = await self._results(api, provider, told, patient=patient)
        price = self._gateway.options.price(deployment, batch.created_at)
        if price is None:
            raise ConfigurationError(f"{batch.deployment}: no price is known any more: batch {batch.id}")
        bought = await asyncio.to_thread(bought_of, price, api, told, results)
        if bought.unread and patient:
            what = f"{batch.provider} has not told of {bought.unread} answers that there are"
            raise ProviderError(ErrorKind.BAD_RESPONSE, what, sent=True)
        output, errors = [
            await self._kept(batch, name, content)
            for name, content in (("output", results.output), ("errors", results.errors))
        ]
        close = settled(batch, told, bought)
        await self._close(batch, close)
        ended = await self._store.batches.end(
            batch_id,
            cost_nano_usd=bought.cost_nano_usd,
            told=told.document,
            output_file_id=output,
            error_file_id=errors,
        )
        if ended:
            self._gateway.metrics.bought(Opened(**batch.opened), batch.deployment, close)
            log.info("batch settled", batch=batch_id, cost_nano_usd=bought.cost_nano_usd)

    async def _results(self, api: BatchApi, provider: Provider, told: Told, *, patient: bool) -> Results:
        if told.rejected:
            return Results()
        try:
            return await api.results(self._gateway.http, provider, told)
        except ProviderError as error:
            if patient or not (error.kind is ErrorKind.BAD_RESPONSE or error.status in _GONE):
                raise
            log.error("the results of a batch are not to be had", batch=told.id, error=error.summary)
            return Results()

    async def _kept(self, batch: Batch, name: str, content: bytes) -> str:
        """Keep a file of results; its id, '' where there is nothing in it."""
        if not content:
            return ""
        file = await self._store.files.keep(
            f"file-{batch.id}-{name}", batch.key_id, "batch_output", f"{batch.id}_{name}.jsonl", content
        )
        return file.id

    async def _close(self, batch: Batch, settlement: Settlement) -> None:
        """Book how it ended, whoever held it, and whatever was booked of it meanwhile."""
        authority = self._gateway.authority
        result = await authority.close_attempt(settlement, owner=batch.process_id)
        if result == "unknown":
            body = settlement.model_dump(mode="json")
            event = Event(settlement.state, body, at_ms=time.time_ns() // 1_000_000, day=batch.day)
            await self._store.ledger.apply_events([event])
        elif result == "already" and settlement.state == "settled":
            known = await self._store.attempts.booked([batch.attempt_id])
            booked = known.get(batch.attempt_id)
            if booked is not None and booked.state == "settled":
                await Settler(authority, self._store).adjust(booked, settlement.cost_nano_usd)

    def _place(self, batch: Batch) -> tuple[Provider, Deployment]:
        """Where it is. Raises ConfigurationError for what is no longer configured."""
        config = self._gateway.config
        try:
            return config.providers[batch.provider], config.deployments[batch.deployment]
        except KeyError as error:
            raise ConfigurationError(
                f"batch {batch.id} is at {batch.deployment}, which is no longer configured: put {error} back"
            ) from None


@dataclass
class _Turn:
    """One follower's turn to hand a batch in. since: when it began, by the clock of Postgres; None before.

    Its time runs from before the row says so: who is held up in between, however long, sends nothing more.
    """

    store: Store
    batch_id: str
    seconds: float
    since: datetime | None = None
    _end: float = 0.0

    async def begin(self) -> Callable[[], None]:
        """Called again when it is another key's turn, which gets no more time. Raises NotYet."""
        if self.since is None:
            self._end = time.monotonic() + self.seconds
            self.since = await self.store.batches.begin(self.batch_id)
        if self.since is None:
            raise NotYet("somebody else hands it in, or it is to be cancelled")
        return self._check

    def _check(self) -> None:
        if time.monotonic() > self._end:
            raise ProviderError(ErrorKind.CONNECT, "its time to be sent was over", sent=False)


def _may_have_come(error: ProviderError, api: BatchApi) -> bool:
    """Whether the batch may be at the provider all the same. What a server says that failed (500 and more) is
    not believed where looking costs nothing: a batch is a day's work for thousands of calls."""
    return error.sent and (not error.complete or (api.findable and (error.status or 0) >= 500))
