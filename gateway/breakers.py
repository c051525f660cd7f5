"""Tells the circuit breakers how attempts ended: those that failed, and all where a circuit wants to know."""

import structlog

from gateway.attempt import Ended, Option
from gateway.errors import StateUnavailable
from gateway.metrics import Metrics
from gateway.policy.breaker import Outcome
from gateway.providers.errors import ErrorKind, ProviderError
from gateway.state.authority import Authority
from gateway.state.values import Reservation

log = structlog.get_logger(__name__)


class BreakerReports:
    """One per process. off: nothing is told."""

    def __init__(self, authority: Authority, metrics: Metrics, *, off: bool) -> None:
        self._authority = authority
        self._metrics = metrics
        self._off = off

    async def tell(self, option: Option, reservation: Reservation, ended: Ended) -> None:
        """Tell how an attempt ended, if that is of interest. Never raises for a Redis that is down."""
        outcome, why, pause_seconds = _said(ended)
        if self._off or not (outcome == "bad" or pause_seconds or reservation.watched):
            return
        name = option.deployment.name
        try:
            change = await self._authority.report_breaker(
                name, reservation.attempt_id, outcome, why=why, pause_seconds=pause_seconds
            )
        except StateUnavailable:  # learned again from the next calls
            return
        if change:
            log.warning("a circuit changed", deployment=name, circuit=change, why=why)
            self._metrics.circuit_changed(name, change)


def _said(ended: Ended) -> tuple[Outcome, str, float]:
    """What an attempt says of its deployment, why, and for how many seconds that asked to be left alone."""
    error = ended.error
    if not isinstance(error, ProviderError):  # answered; or cut, cancelled or never sent, for reasons of ours
        return "good" if ended.answer is not None else "unknown", "", 0.0
    kind, pause_seconds = error.kind, error.retry_after_seconds or 0.0
    if kind is ErrorKind.RATE_LIMITED and pause_seconds:  # it is well, and says when to come again
        return "unknown", kind.value, pause_seconds
    if not error.fallback:  # the request was refused for what it is: somebody is there
        return "good", "", 0.0
    if kind is ErrorKind.TIMEOUT and ended.settlement.first_token_ms is not None:
        return "unknown", "", 0.0  # in the middle of an answer: long ones take long
    return "bad", kind.value, pause_seconds
