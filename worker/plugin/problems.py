"""What Temporal is told when an activity's model call has no answer: when to try again, or never.

Waiting is Temporal's: a try that is refused fails with the moment of the next one, and holds no worker slot
until then. How often is the framework's own retry policy to say (by default for ever).
"""

import time
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from gateway.agents import Agent
from gateway.http.problems import of_refusal
from gateway.policy.refusals import Refusal, RefusalKind
from worker.plugin.asking import Problem

_MOST_FAILURES = 30
_LONGEST_SECONDS = 900.0
_FOR_GOOD = frozenset({RefusalKind.NEVER_FITS, RefusalKind.INVALID})


def error_of(problem: Refusal | Problem, info: activity.Info, agent: Agent | None) -> ApplicationError:
    """The error that an activity ends with. Its type is the kind of refusal, or killed, stopped, expired;
    its details are the refusal's numbers in dollars."""
    if isinstance(problem, Problem):
        return ApplicationError(problem.text, type=problem.kind, non_retryable=True)
    now_ms = time.time_ns() // 1_000_000
    numbers = dict(of_refusal(problem, now_ms).curb)
    if end := _end(problem, info, agent):
        type, why = end
        return ApplicationError(why, numbers, type=type, non_retryable=True)
    delay = timedelta(seconds=_delay_seconds(problem, info.attempt, now_ms))
    return ApplicationError(str(problem), numbers, type=problem.kind.value, next_retry_delay=delay)


def _end(refusal: Refusal, info: activity.Info, agent: Agent | None) -> tuple[str, str] | None:
    """How the call ends for good (type, message); None: it may be asked for again."""
    said = str(refusal)
    if refusal.kind in _FOR_GOOD:
        return refusal.kind.value, said
    if refusal.kind is RefusalKind.UNAVAILABLE and info.attempt >= _MOST_FAILURES:
        return "failed", f"{info.attempt} tries failed: {said}"
    if agent is None:
        return None
    if refusal.kind is RefusalKind.SWITCHED and agent.on_switch == "stop" and _is_kill(refusal):
        return "killed", said
    if refusal.kind is RefusalKind.EXHAUSTED and refusal.period == "run":
        patience = agent.limits.max_wait_seconds
        if agent.on_budget == "fail":
            return "exhausted", said
        if (datetime.now(UTC) - info.scheduled_time).total_seconds() >= patience:
            return "expired", f"no top-up within {patience:g} s: {said}"
    return None


def _is_kill(refusal: Refusal) -> bool:
    """A switch that somebody set for this agent or for all, not one that a budget set until its reset."""
    return refusal.scope.startswith(("global", "agent:")) and "auto:budget:" not in refusal.detail


def _delay_seconds(refusal: Refusal, attempt: int, now_ms: int) -> float:
    """Until it can succeed where that is known; looking before, too, as limits rise and switches go."""
    patience = float(min(2 ** min(attempt - 1, 6), 60))
    if refusal.retry_at_ms is None:
        return patience
    until = max((refusal.retry_at_ms - now_ms) / 1000, 0.0)
    if refusal.kind in (RefusalKind.EXHAUSTED, RefusalKind.SWITCHED):
        return max(min(until + 0.05, patience), 0.05)
    return min(max(until, min(0.25 * 2.0 ** min(attempt - 1, 7), 30.0)), _LONGEST_SECONDS)
