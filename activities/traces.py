"""Telling traces, as an activity: batch after batch, for one target."""

from datetime import timedelta

import httpx
import structlog
from pydantic import BaseModel, ConfigDict
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.dependencies import Dependencies
from activities.heartbeats import heartbeating
from activities.supervision import Supervision
from gateway.traces.export import BATCH, Exporter
from gateway.traces.otlp import TraceTargetUnavailable

log = structlog.get_logger(__name__)

_BATCHES = 50
_LONGEST_WAIT_SECONDS = 300.0


class TracesTold(BaseModel):
    """How many subjects were told. more: some wait still."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    told: int = 0
    more: bool = False


class TraceActivities:
    """Needs the store and the targets."""

    def __init__(self, dependencies: Dependencies, supervision: Supervision) -> None:
        self._store = dependencies.store
        self._authority = dependencies.authority
        self._supervision = supervision

    @activity.defn
    async def export_traces(self, target: str) -> TracesTold:
        """Tell one target what waits for it, a bounded number of batches at most.

        Fails when the target is away, in a way that says when to try again; nothing is lost.
        """
        found = next((each for each in self._supervision.trace_targets if each.name == target), None)
        if found is None:
            raise ApplicationError(
                f"this worker does not know where {target} is", type="TraceTarget", non_retryable=True
            )
        exporter = Exporter(self._store, self._authority, found, self._supervision.traces)
        told = 0
        async with heartbeating(), httpx.AsyncClient() as client:
            for _ in range(_BATCHES):
                try:
                    done = await exporter.batch(client)
                except TraceTargetUnavailable as error:
                    raise _again(error) from error
                told += done
                if done < BATCH:
                    return TracesTold(told=told)
        return TracesTold(told=told, more=True)


def _again(error: TraceTargetUnavailable) -> ApplicationError:
    if error.retry_after_seconds is None:
        return ApplicationError(str(error), type="TraceTargetUnavailable")
    wait = timedelta(seconds=min(error.retry_after_seconds, _LONGEST_WAIT_SECONDS))
    return ApplicationError(str(error), type="TraceTargetUnavailable", next_retry_delay=wait)
