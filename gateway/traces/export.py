"""The exporter: reads what is marked, makes spans of it, sends them, and then forgets the marks.

A crash between sending and forgetting sends the same spans again, under the same ids.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import httpx
import structlog

from gateway.errors import StateUnavailable
from gateway.store import Store
from gateway.store.attempts import AttemptRow
from gateway.store.traces import Marked
from gateway.traces import ids
from gateway.traces.of_attempts import attempt_span
from gateway.traces.of_runs import run_spans
from gateway.traces.otlp import TracesRefused
from gateway.traces.spans import Told

log = structlog.get_logger(__name__)

BATCH = 100
_ENDED = ("settled", "in_doubt")
# By how much the clocks of Redis and Postgres may differ.
_CLOCKS = timedelta(seconds=1)
_NEVER = datetime.min.replace(tzinfo=UTC)


class Target(Protocol):
    """Who keeps traces."""

    @property
    def name(self) -> str: ...

    async def send(self, client: httpx.AsyncClient, told: Sequence[Told]) -> None:
        """Send all of it. Raises TraceTargetUnavailable, TracesRefused."""
        ...


class Outbox(Protocol):
    """What was decided and is not on the books yet; gateway.state.Authority is one."""

    async def clock_ms(self) -> int: ...

    async def oldest_event_ms(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class TracePolicy:
    """sample: which share of the traces is told. content: whether prompts and answers are, too."""

    sample: float = 1.0
    content: bool = False


@dataclass(frozen=True, slots=True)
class Exporter:
    """Tells one target what waits for it.

    A run is told once all that was decided before its end is on the books: its steps are made of that.
    """

    store: Store
    outbox: Outbox
    target: Target
    policy: TracePolicy

    async def batch(self, client: httpx.AsyncClient) -> int:
        """Tell up to BATCH subjects; how many it told. Raises TraceTargetUnavailable, StoreUnavailable."""
        booked = await self._booked()
        marked = await self.store.traces.next(self.target.name, BATCH)
        attempts = await self._attempts(marked)
        told = [(each, spans) for each in marked
                if (spans := await self._told(each, attempts, booked)) is not None]  # fmt: skip
        await self._send(client, told)
        return len(told)

    async def _booked(self) -> datetime:
        """All that was decided before this instant is on the books."""
        with contextlib.suppress(StateUnavailable):
            now_ms = await self.outbox.clock_ms()
            oldest_ms = await self.outbox.oldest_event_ms()
            return datetime.fromtimestamp((oldest_ms or now_ms) / 1000, UTC) - _CLOCKS
        return _NEVER

    async def _send(self, client: httpx.AsyncClient, told: Sequence[tuple[Marked, Told]]) -> None:
        """All at once; what is refused is halved until the culprit stands alone, and holds up nobody."""
        waiting = [told] if told else []
        while waiting:
            part = waiting.pop()
            marked = [each for each, _ in part]
            try:
                await self.target.send(client, [spans for _, spans in part])
            except TracesRefused as error:
                if len(part) > 1:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
                    continue
                log.error("a trace is refused", target=self.target.name, subject=marked[0].subject,
                          error=str(error))  # fmt: skip
                await self.store.traces.failed(self.target.name, marked, str(error))
            else:
                await self.store.traces.told(self.target.name, marked)

    async def _attempts(self, marked: Sequence[Marked]) -> dict[str, AttemptRow]:
        wanted = [each.id for each in marked if each.kind == "attempt"]
        rows = await self.store.traces.attempts(wanted) if wanted else []
        return {row["attempt_id"]: row for row in rows}

    async def _told(self, marked: Marked, attempts: dict[str, AttemptRow], booked: datetime) -> Told | None:
        """What a subject comes to: nothing when it is gone, not over, or not among the sample.

        None: it has to wait until it is on the books.
        """
        if marked.kind == "attempt":
            return await self._attempt(attempts.get(marked.id))
        record = await self.store.traces.run(marked.id)
        if record is None or record.run["ended_at"] is None:
            return Told()
        if record.run["ended_at"] > booked:
            return None
        return self._sampled(run_spans(record, content=self.policy.content))

    async def _attempt(self, row: AttemptRow | None) -> Told:
        if row is None or row["state"] not in _ENDED:
            return Told()
        content = await self.store.traces.content(row) if self.policy.content else None
        return self._sampled(Told((attempt_span(row, content),)))

    def _sampled(self, told: Told) -> Told:
        trace_id = told.spans[0].trace_id
        return told if ids.is_sampled(trace_id, self.policy.sample) else Told()
