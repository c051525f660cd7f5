"""The search for a deployment that may and does answer: attempt after attempt, each with its own hold."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gateway.attempt import Ended, Option
from gateway.calls import Call, Completion, Outcome, Request
from gateway.errors import StateUnavailable
from gateway.leases import LeaseLapsed
from gateway.policy import fallback, routing
from gateway.policy.budgets import next_cheaper
from gateway.policy.refusals import Refusal, RefusalKind, invalid
from gateway.providers.errors import ErrorKind, ProviderError
from gateway.state.values import Reservation
from gateway.state.watcher import Cut
from gateway.waiting_line import now_ms, wait_ms

if TYPE_CHECKING:
    from gateway.gateway import Gateway

_IN_FLIGHT_POLL_SECONDS = 0.1
_RETRY_DELAY_MS = 1_000
_PASSING = frozenset({RefusalKind.RATE_LIMITED, RefusalKind.UNAVAILABLE})
_WORTH_A_ROW = frozenset(RefusalKind) - {
    RefusalKind.CONTENDED,
    RefusalKind.IN_FLIGHT,
    RefusalKind.PRESSURE,
    RefusalKind.RATE_LIMITED,  # counted by the minute, see gateway.violations
    RefusalKind.UNAVAILABLE,
}


@dataclass
class Purchase:
    """The search for a deployment that may and does answer one call."""

    gateway: "Gateway"
    call: Call
    request: Request
    used: int
    queued_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    attempts: int = 0
    excluded: set[str] = field(default_factory=set)
    last: Refusal | None = None
    permanent: ProviderError | None = None
    too_long: bool = False
    resting: dict[str, int] = field(default_factory=dict)

    async def run(self) -> Outcome:
        """Try deployments in the tier's order until one answers or the caller has to wait.

        Raises ProviderError for what no retry can mend.
        """
        tier, downgrade = await self.gateway.tier_of(self.call), self.call.downgrade
        while True:
            option = self._next_option(tier)
            if option is None and await self._waited(tier):
                continue
            if option is None:
                cheaper = next_cheaper(self._tiers(), tier)
                if self.last is None or not fallback.is_soft(self.last) or cheaper is None:
                    return self._give_up()
                tier = cheaper
                continue
            answer = await self.gateway.authority.admit(
                self.gateway.ask(self.call, option, self.queued_ms, used=self.used, downgrade=downgrade)
            )
            if isinstance(answer, Reservation):
                outcome = await self._spend(option, answer)
                if outcome is not None:
                    return outcome
                continue
            match fallback.after_refusal(answer, tier, self._tiers()):
                case fallback.TakeTier(name):
                    tier, downgrade = name, downgrade and answer.kind is not RefusalKind.PRESSURE
                case fallback.Skip():
                    self._skip(option, answer)
                case fallback.Wait():
                    stored = await self._await_other()
                    if stored is not None:
                        return stored
                case fallback.Return():
                    return await self._refused(option, answer)

    def _tiers(self) -> tuple[str, ...]:
        return tuple(tier.name for tier in self.gateway.config.tiers)

    def _next_option(self, tier: str) -> Option | None:
        """The first deployment that likely has room for the request, else the first that may have.

        Those beyond the tier are asked only once one of its own is, or seems, too small.
        """
        config = self.gateway.config
        known = (tier, config.tiers, config.deployments, config.aliases)
        small: Option | None = None
        for name in self._ordered(tier):
            option = self._option(tier, name)
            if option is not None and _likely_fits(option):
                return option
            small = small or option
        if small is not None or self.too_long:
            for name in routing.larger(*known):
                option = self._option(tier, name)
                if option is not None and _likely_fits(option):
                    return option
                small = small or option
        return small

    def _ordered(self, tier: str) -> Sequence[str]:
        """The tier's deployments, in the order that it wants for this call."""
        config = self.gateway.config
        names = routing.candidates(tier, config.tiers, config.deployments, config.aliases)
        found = routing.find(tier, config.tiers, config.deployments, config.aliases)
        if found is None:
            return names
        if found.weights:
            return routing.shared_out(names, found.weights, self.call.key)
        if found.prefer == "cheapest":
            options = [option for name in names if (option := self._option(tier, name)) is not None]
            return [each.deployment.name for each in sorted(options, key=lambda each: each.asked_nano_usd)]
        return names

    async def _waited(self, tier: str) -> bool:
        """Wait in line for the first deployment that said when to come again, where the tier allows it."""
        config = self.gateway.config
        found = routing.find(tier, config.tiers, config.deployments, config.aliases)
        seconds = 0.0 if found is None else min(found.queue_seconds, self.call.total_timeout_seconds)
        wait = wait_ms(self.resting, now_ms(), self.queued_ms + int(seconds * 1000))
        if wait is None:
            return False
        if not await self.gateway.line.wait(wait):
            self.last = self.last and _with_full_line(self.last, self.gateway.line.waiting)
            return False
        self.gateway.waited(tier, wait)
        now = now_ms()
        ready = {name for name, at in self.resting.items() if at <= now}
        self.excluded -= ready
        self.resting = {name: at for name, at in self.resting.items() if name not in ready}
        return True

    def _option(self, tier: str, name: str) -> Option | None:
        if name in self.excluded:
            return None
        option = self.gateway.options.option(self.call, self.request, tier, name)
        if isinstance(option, Option):
            return option
        self.excluded.add(name)
        self.last = self.last or option
        return None

    def _skip(self, option: Option, refusal: Refusal) -> None:
        self.excluded.add(option.deployment.name)
        self.last = refusal
        if refusal.retry_at_ms is not None and refusal.kind in _PASSING:
            self.resting[option.deployment.name] = refusal.retry_at_ms
        self.permanent = None  # this one may answer yet, whatever others never will

    def _give_up(self) -> Refusal:
        """No deployment is left: why the last one was left out. Raises what no retry can mend."""
        if self.permanent is not None:
            raise self.permanent
        if self.last is None:
            return invalid(
                f"tier {self.call.tier!r} is not configured; known are {', '.join(self._tiers())} "
                "and the deployments' own names"
            )
        return replace(self.last, attempts=self.attempts)

    async def _spend(self, option: Option, reservation: Reservation) -> Outcome | None:
        """One attempt. None: try the next deployment."""
        if reservation.number > 1 and self.call.keep:
            answer = await self.gateway.answered_meanwhile(self.call, reservation)
            if answer is not None:
                return answer
        self.attempts += 1
        moves_on = self._moves_on_when_refused(option) and self.attempts < self.call.max_attempts
        result = await self.gateway.attempt(self.call, option, reservation, pass_refusals=moves_on)
        if not isinstance(result, Ended):
            return result
        if result.cut is not None:
            return self._after_cut(result.cut)
        if result.refused:
            return self._after_error(option, _withheld(option))
        return self._after_error(option, result.error)

    def _after_cut(self, cut: Cut) -> Refusal:
        """A switch cut the call; without a switch's name a newer attempt of the same call took over."""
        if not cut.name:
            return unavailable(cut.reason, self.attempts)
        return Refusal(
            RefusalKind.SWITCHED,
            scope=cut.name.removeprefix("kill:"),
            detail=f"{cut.name} is set: {cut.reason}; the call in flight was cut",
            attempts=self.attempts,
        )

    def _after_error(self, option: Option, error: ProviderError | LeaseLapsed | None) -> Refusal | None:
        if isinstance(error, ProviderError) and not error.retryable and not self._moves_on(option, error):
            raise error
        self.permanent = error if isinstance(error, ProviderError) and not error.retryable else None
        said = error.summary if isinstance(error, ProviderError) else str(error)
        self.last = unavailable(said, self.attempts, _retry_at(error))
        if isinstance(error, ProviderError):
            self.excluded.add(option.deployment.name)
            if error.kind is ErrorKind.RATE_LIMITED and error.retryable:
                self.resting[option.deployment.name] = _retry_at(error)
        again = self.attempts < self.call.max_attempts and not self.call.heard
        return None if again else self._give_up()

    def _moves_on(self, option: Option, error: ProviderError) -> bool:
        """Whether another deployment may do what this one never will."""
        if error.kind is ErrorKind.CONTEXT_LENGTH:
            self._leave_out_small(option)
            return True
        if error.kind is ErrorKind.CONTENT_REFUSED:
            return self._moves_on_when_refused(option)
        return error.fallback

    def _leave_out_small(self, refusing: Option) -> None:
        """What is too long for one deployment is too long for those that are known to take no more."""
        self.too_long = True
        took = refusing.deployment.context_window_tokens
        self.excluded |= {
            name
            for name, each in self.gateway.config.deployments.items()
            if routing.no_larger(each.context_window_tokens, took)
        }

    def _moves_on_when_refused(self, option: Option) -> bool:
        config = self.gateway.config
        tier = routing.find(option.tier, config.tiers, config.deployments, config.aliases)
        return tier is not None and tier.on_content_refusal == "next"

    async def _refused(self, option: Option, refusal: Refusal) -> Refusal:
        if refusal.kind in _WORTH_A_ROW and not self.call.recheck:
            opened = self.gateway.ask(
                self.call, option, self.queued_ms, used=self.used, downgrade=False
            ).opened
            with contextlib.suppress(StateUnavailable):
                await self.gateway.authority.refuse(opened, refusal)
        return replace(refusal, attempts=self.attempts)

    async def _await_other(self) -> Completion | None:
        """Another attempt of this call is alive: its answer, or None once it is worth asking again."""
        await asyncio.sleep(_IN_FLIGHT_POLL_SECONDS)
        stored = await self.gateway.store.answers.load(self.call.key)
        return None if stored is None else await self.gateway.replayed(stored)


def _with_full_line(refusal: Refusal, waiting: int) -> Refusal:
    return replace(refusal, detail=f"{refusal.detail}; {waiting} calls wait in line here, which is the most")


def _likely_fits(option: Option) -> bool:
    return routing.likely_fits(option.size, option.max_output_tokens, option.deployment.context_window_tokens)


def _withheld(option: Option) -> ProviderError:
    return ProviderError(
        ErrorKind.CONTENT_REFUSED,
        f"{option.provider.name} withheld its answer for the content",
        sent=True,
        complete=True,
    )


def unavailable(detail: str, attempts: int, retry_at_ms: int | None = None) -> Refusal:
    """Nobody can answer now."""
    return Refusal(RefusalKind.UNAVAILABLE, detail=detail, retry_at_ms=retry_at_ms, attempts=attempts)


def _retry_at(error: ProviderError | LeaseLapsed | None) -> int:
    seconds = error.retry_after_seconds if isinstance(error, ProviderError) else None
    delay_ms = _RETRY_DELAY_MS if seconds is None else int(seconds * 1000)
    return time.time_ns() // 1_000_000 + delay_ms
