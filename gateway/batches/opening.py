"""Taking on a batch: every request is bounded, the sum is held as one attempt, somebody follows it.

The row and whoever follows it come before the hold, so that a crash at any point leaves nothing behind that
nobody looks after.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from gateway.attempt import Option
from gateway.calls import Call, Caller, Settlement, WireRequest
from gateway.config import Deployment, FamilyName
from gateway.errors import CurbError, NotFound, StateUnavailable
from gateway.gateway import Gateway
from gateway.policy import routing
from gateway.policy.money import MAX_NANO_USD, decimal_usd
from gateway.policy.pricing import upper_bound
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.providers.anthropic_batches import AnthropicBatches
from gateway.providers.batches import BatchApi
from gateway.providers.openai_batches import OpenAIBatches
from gateway.purchase import unavailable
from gateway.state.values import Ask, Reservation
from gateway.state.wire import opened_body
from gateway.store.batches import Batch, NewBatch
from gateway.turns import in_turns

_MOST_TIMES = 500


class CannotBatch(CurbError):
    """What is asked for cannot be a batch. position: of the request that is wrong, -1 for the whole."""

    def __init__(self, message: str, position: int = -1) -> None:
        super().__init__(message)
        self.position = position


class KeyReused(CurbError):
    """The client gave this name to another batch before."""


class BatchStarter(Protocol):
    """Sees to it that somebody follows a batch to its end. Raises StateUnavailable where nobody can."""

    async def __call__(self, batch_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class BatchAsk:
    """A batch as its client wants it. model: a tier or a deployment. requests: custom ids and requests.

    metadata: the client's own, or with Anthropic the headers that go along. digest: of the whole, where the
    client named it, so that asking again gives the same batch.
    """

    id: str
    caller: Caller
    family: FamilyName
    endpoint: str
    model: str
    requests: Sequence[tuple[str, WireRequest]]
    agent_daily_budget_nano_usd: int | None = None
    digest: str = ""
    input_file_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be held and sent. option: of the first request, at the price of all."""

    call: Call
    option: Option
    upload: bytes


class BatchDesk:
    """Takes batches on. start: has one followed."""

    def __init__(self, gateway: Gateway, start: BatchStarter) -> None:
        self._gateway = gateway
        self._store = gateway.store
        self._start = start

    async def open(self, ask: BatchAsk) -> Batch | Refusal:
        """The batch, held and followed, or why not.

        Raises CannotBatch, KeyReused, StateUnavailable (also when nobody can follow it), StoreUnavailable.
        """
        ask, known = await self._named(ask)
        if known is not None:
            return _as_known(ask, known)
        plan = await self._planned(ask)
        now_ms = time.time_ns() // 1_000_000
        asked = self._gateway.ask(plan.call, plan.option, now_ms, used=0, downgrade=False)
        seconds = self._gateway.config.batches.hold_seconds
        asked = replace(asked, hold_seconds=seconds, in_flight=(), circuit=False)
        if not await self._store.batches.add(_row(ask, plan, asked)):
            return _as_known(ask, await self._store.batches.get(ask.id))  # somebody was faster
        await self._followed(ask.id)
        answer = await self._gateway.authority.admit(asked)
        if isinstance(answer, Refusal):
            return await self._refused(ask, plan.call, asked, answer)
        if not await self._store.batches.move(ask.id, "opening", "held", day=answer.day):
            await self._give_back(answer)
            return unavailable("taking on the batch took too long; ask again", 0)
        # Whoever follows it settles it: this process has nothing more to say of it.
        self._gateway.authority.memory.let_go(answer.attempt_id)
        return await self._store.batches.get(ask.id)

    async def _named(self, ask: BatchAsk) -> tuple[BatchAsk, Batch | None]:
        """The batch of this name, or the name under which it may be taken on: what never was is tried anew,
        under a name of its own."""
        for times in range(_MOST_TIMES):
            id = f"{ask.id}_{times}" if times else ask.id
            try:
                batch = await self._store.batches.get(id)
            except NotFound:
                return replace(ask, id=id), None
            if not batch.was_never_held:
                break
        return ask, batch

    async def _followed(self, batch_id: str) -> None:
        try:
            await self._start(batch_id)
        except StateUnavailable as error:
            await self._store.batches.move(batch_id, "opening", "failed", error=str(error))
            raise

    async def _refused(self, ask: BatchAsk, call: Call, asked: Ask, refusal: Refusal) -> Refusal:
        await self._store.batches.move(ask.id, "opening", "refused", error=str(refusal))
        self._gateway.count_refusal(call, refusal)
        if refusal.kind not in (RefusalKind.UNAVAILABLE, RefusalKind.RATE_LIMITED):
            with contextlib.suppress(StateUnavailable):
                await self._gateway.authority.refuse(asked.opened, refusal)
        return refusal

    async def _give_back(self, reservation: Reservation) -> None:
        unsent = Settlement(
            attempt_id=reservation.attempt_id, state="released", basis="not_sent", status="killed"
        )
        await self._gateway.booker.close_attempt(unsent, reservation.day)

    async def _planned(self, ask: BatchAsk) -> _Plan:
        """Every request for the first deployment that takes batches and may be asked. Raises CannotBatch."""
        rules = self._gateway.config.batches
        if not 1 <= len(ask.requests) <= rules.most_requests:
            raise CannotBatch(
                f"a batch has from 1 to {rules.most_requests} requests, this one {len(ask.requests)}"
            )
        call = Call(
            key=f"batch:{ask.caller.key_id}:{ask.id}",  # no client can name a call like that
            caller=ask.caller,
            request=ask.requests[0][1],
            tier=ask.model,
            agent_daily_budget_nano_usd=ask.agent_daily_budget_nano_usd,
        )
        deployment = await self._deployment(ask)
        total, bodies, first = 0, [], None
        async for position, (custom_id, request) in in_turns(enumerate(ask.requests)):
            option = self._gateway.options.option(call, request, ask.model, deployment.name)
            if isinstance(option, Refusal):
                raise CannotBatch(option.detail, position)
            first = first or option
            bodies.append((custom_id, option.body))
            total += upper_bound(
                option.price, option.input_bound, option.max_output_tokens, request.n, batch=True
            )
        assert first is not None
        if total > MAX_NANO_USD:
            raise CannotBatch(f"it may cost more than any budget counts, ${decimal_usd(MAX_NANO_USD)}")
        upload = await asyncio.to_thread(api_of(ask.family).encode, bodies, ask.endpoint)
        return _Plan(call, replace(first, asked_nano_usd=total), upload)

    async def _deployment(self, ask: BatchAsk) -> Deployment:
        config = self._gateway.config
        names = routing.candidates(ask.model, config.tiers, config.deployments, config.aliases)
        known = [config.deployments[name] for name in names]
        api = ask.requests[0][1].api
        able = [each for each in known if self._takes(each, ask.family, api)]
        if not able:
            raise CannotBatch(
                f"nothing that {ask.model} stands for takes batches of {ask.endpoint}; ask for a deployment "
                f"of a provider with `batches: true` and of family {ask.family}"
            )
        for each in able:
            switches = [f"kill:model:{name}" for name in (each.name, each.model)]
            switches.append(f"kill:provider:{each.provider}")
            if not await self._gateway.authority.read_switches(switches):
                return each
        return able[0]  # admission says which switch it is

    def _takes(self, deployment: Deployment, family: FamilyName, api: str) -> bool:
        provider = self._gateway.config.providers[deployment.provider]
        kind = "embedding" if api == "embeddings" else "chat"
        speaks = api != "responses" or provider.responses
        return provider.batches and provider.family == family and deployment.kind == kind and speaks


def _as_known(ask: BatchAsk, batch: Batch) -> Batch | Refusal:
    if batch.digest != ask.digest:
        raise KeyReused("this key was used for another request; take a new one")
    if batch.state == "opening":
        return unavailable("this batch is being taken on; ask again", 0)
    if batch.was_never_held:
        return unavailable("this batch was not taken on, however often; take another key", 0)
    return batch


def api_of(family: FamilyName) -> BatchApi:
    """The batch API of a family."""
    return AnthropicBatches() if family == "anthropic" else OpenAIBatches()


def _row(ask: BatchAsk, plan: _Plan, asked: Ask) -> NewBatch:
    opened = asked.opened
    return NewBatch(
        id=ask.id,
        key_id=ask.caller.key_id,
        family=ask.family,
        endpoint=ask.endpoint,
        requests=len(ask.requests),
        provider=opened.provider,
        deployment=opened.deployment,
        attempt_id=f"{plan.call.key}#1",
        process_id=opened.process_id,
        asked_nano_usd=opened.asked_nano_usd,
        opened=opened_body(opened),
        upload=plan.upload,
        digest=ask.digest,
        input_file_id=ask.input_file_id,
        metadata=ask.metadata,
    )
