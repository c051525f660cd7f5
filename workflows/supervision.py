"""Buying a step: one model call with all the waiting that its refusals ask for.

Shared by AgentRun and by workflows of the user's own (`supervised_model_call`).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError

with workflow.unsafe.imports_passed_through():
    from activities.llm import LlmActivities
    from activities.messages import CallResult, ModelCall, OnBudget, Parent, Refused, RunPlan
    from gateway.policy.refusals import RefusalKind
    from workflows.messages import Status
    from workflows.retries import CALLS

_T = TypeVar("_T")
_BUYING = ("budget", "switch", "rate", "provider")
_MAX_PROVIDER_FAILURES = 30


class RunOver(Exception):
    """The run cannot go on: how it ends and why."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status: Status = status
        self.reason = reason


class Waiting:
    """What the run waits for, by cause; it goes on when nothing is left.

    Causes are hand, switch, budget, rate, approval, question and provider. `changed` is called with
    every change, to keep true what people see.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.causes: dict[str, str] = {}
        self._changed = changed
        self._wakes = 0
        self._over: RunOver | None = None

    def set(self, cause: str, text: str) -> None:
        if self.causes.get(cause) != text:
            self.causes[cause] = text
            self._changed()

    def clear(self, *causes: str) -> None:
        if [self.causes.pop(cause) for cause in causes if cause in self.causes]:
            self._changed()

    def only(self, among: Sequence[str], cause: str, text: str) -> None:
        """Of these causes only one stands, and this one."""
        before = dict(self.causes)
        for each in among:
            self.causes.pop(each, None)
        self.causes[cause] = text
        if self.causes != before:
            self._changed()

    def wake(self) -> None:
        """Something changed: whoever waits should look again now."""
        self._wakes += 1

    def end(self, status: Status, reason: str) -> None:
        """Whoever waits here, now or later, gets RunOver."""
        self._over = RunOver(status, reason)

    async def sleep(self, seconds: float) -> None:
        """Wait at most that long, or until woken."""
        seen = self._wakes
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: self._wakes != seen or self._over is not None, timeout=max(seconds, 0.05)
            )
        self._check()

    async def until_clear(self, *causes: str) -> None:
        """Wait until none of these causes stands."""
        await workflow.wait_condition(
            lambda: self._over is not None or not any(cause in self.causes for cause in causes)
        )
        self._check()

    async def unless_over(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do some work, and give it up when the run ends meanwhile."""
        task = asyncio.create_task(work)
        await workflow.wait_condition(lambda: task.done() or self._over is not None)
        if not task.done():
            task.cancel()
            self._check()
        return await task

    def _check(self) -> None:
        if self._over is not None:
            raise self._over


@dataclass
class _Refusals:
    """What has happened since this step was first refused. since: workflow time."""

    rounds: int = 0
    since: float = 0.0
    told: bool = False  # that a run's budget is exhausted

    @property
    def waited(self) -> float:
        return workflow.time() - self.since


class Supervision:
    """Buys the model calls of one run.

    on_exhausted(refused, on_budget): called once a step when the budget of the run or of a run
    above it is exhausted, with what that run wants done; it may raise RunOver, or escalate.
    """

    def __init__(
        self,
        plan: RunPlan,
        waiting: Waiting,
        on_exhausted: Callable[[Refused, OnBudget], Awaitable[None]],
        *,
        task_queue: str,
        run_id: str,
        inline: bool = False,
        parent: Parent | None = None,
        provider_failures: int = 0,
    ) -> None:
        self._plan = plan
        self._waiting = waiting
        self._on_exhausted = on_exhausted
        self._task_queue = task_queue
        self._run_id = run_id
        self._inline = inline
        self._above = parent.on_budget if parent is not None else {}
        self.provider_failures = provider_failures

    async def buy(self, step: int) -> CallResult:
        """Return the step's answer. Raises RunOver when there will never be one."""
        refusals = _Refusals()
        while True:
            await self._waiting.until_clear("hand")
            recheck = refusals.rounds > 0
            call = ModelCall(run_id=self._run_id, step=step, recheck=recheck, inline=self._inline)
            result = await self._waiting.unless_over(self._ask(call))
            if result.error:
                raise RunOver("failed", result.error)
            if result.refused is None:
                self._waiting.clear(*_BUYING)
                return result
            refusals.since = refusals.since or workflow.time()
            await self._wait_out(result, result.refused, refusals)
            refusals.rounds += 1

    async def _ask(self, call: ModelCall) -> CallResult:
        try:
            return await workflow.execute_activity_method(
                LlmActivities.call_model,
                call,
                task_queue=self._task_queue,
                start_to_close_timeout=timedelta(seconds=self._plan.total_timeout_seconds + 150),
                heartbeat_timeout=timedelta(seconds=self._plan.lost_after_seconds),
                retry_policy=CALLS,
                cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
                summary=f"step {call.step}",
            )
        except ActivityError as error:
            cause = error.cause
            if isinstance(cause, (ApplicationError, TimeoutError)):
                raise RunOver("failed", f"model call: {str(cause)[:300]}") from error
            raise

    async def _wait_out(self, result: CallResult, refused: Refused, refusals: _Refusals) -> None:
        """Wait as long as this kind of refusal deserves, or raise RunOver."""
        kind = refused.kind
        if kind in (RefusalKind.NEVER_FITS, RefusalKind.INVALID):
            raise RunOver("failed", refused.text)
        if kind is RefusalKind.EXHAUSTED:
            await self._wait_for_money(refused, refusals)
        elif kind is RefusalKind.SWITCHED:
            await self._wait_for_switch(refused, refusals.rounds)
        elif kind is RefusalKind.RATE_LIMITED:
            await self._wait_for_turn(refused, refusals.rounds)
        elif kind is RefusalKind.UNAVAILABLE:
            await self._wait_for_servers(result, refused, refusals.rounds)
        else:  # somebody else is at it: a matter of seconds, worth no words
            self._waiting.clear(*_BUYING)
            await self._waiting.sleep(min(_until(refused, default=1.0), 2.0**refusals.rounds, 30.0))

    async def _wait_for_money(self, refused: Refused, refusals: _Refusals) -> None:
        if refused.period != "run":
            self._waiting.only(_BUYING, "budget", refused.text)
            seconds = min(_until(refused, default=60.0) + 0.05, _backoff(refusals.rounds))
            await self._waiting.sleep(seconds)
            return
        if not refusals.told:
            refusals.told = True
            owner = refused.scope.removeprefix("run:")
            await self._on_exhausted(refused, self._above.get(owner, self._plan.on_budget))
        patience = self._plan.max_wait_seconds
        if refusals.waited >= patience:
            raise RunOver("expired", f"no top-up within {patience:g} s: {refused.text}")
        self._waiting.only(_BUYING, "budget", refused.text)
        await self._waiting.sleep(min(patience - refusals.waited, _backoff(refusals.rounds)))

    async def _wait_for_switch(self, refused: Refused, rounds: int) -> None:
        if self._plan.on_switch == "stop" and _is_kill(refused):
            raise RunOver("killed", refused.text)
        self._waiting.only(_BUYING, "switch", refused.text)
        # A call that was cut in flight asks again at once: the refusal of admission says until when.
        cut = rounds == 0 and refused.retry_at_ms is None
        await self._waiting.sleep(0.1 if cut else min(_until(refused, default=900.0), _backoff(rounds)))

    async def _wait_for_turn(self, refused: Refused, rounds: int) -> None:
        """Until a place is free; longer each time, as all who wait for one are told the same moment."""
        self._waiting.only(_BUYING, "rate", refused.text)
        until, patience = _until(refused, default=900.0), 0.25 * 2 ** min(rounds, 7)
        await self._waiting.sleep(min(max(until, patience), _backoff(rounds)))

    async def _wait_for_servers(self, result: CallResult, refused: Refused, rounds: int) -> None:
        self.provider_failures += result.attempts
        if self.provider_failures >= _MAX_PROVIDER_FAILURES:
            raise RunOver("failed", f"{self.provider_failures} attempts at providers failed: {refused.text}")
        self._waiting.only(_BUYING, "provider", refused.text)
        await self._waiting.sleep(min(max(_until(refused, default=1.0), 2.0 ** min(rounds, 6)), 60.0))


def _is_kill(refused: Refused) -> bool:
    """A switch that somebody set for this agent or for all, not one that a budget set until its reset."""
    return refused.scope.startswith(("global", "agent:")) and "auto:budget:" not in refused.text


def _until(refused: Refused, default: float) -> float:
    if refused.retry_at_ms is None:
        return default
    return max(refused.retry_at_ms / 1000 - workflow.time(), 0.0)


def _backoff(rounds: int) -> float:
    """A waiting run looks by itself too: after one minute, backing off to fifteen."""
    return float(min(60 * 2 ** min(rounds, 4), 900))
