"""The enforcer: brings runs and the world back together, once a second.

It only makes things faster: a waiting run looks by itself too. It wakes runs whose switch is gone
or whose limit rose, ends runs of agents with `on_switch: stop` while their switch is set, and closes
the record of runs that Temporal ended without them (terminated, timed out).
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

import structlog
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.messages import EndRun
from activities.runs import RunActivities
from activities.snapshot import RunSnapshot
from gateway.errors import CurbError
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.runs import Run

log = structlog.get_logger(__name__)

_INTERVAL_SECONDS = 1.0
_LEASE_MS = 3_000
_MAX_RUNS = 5_000
_DESCRIBE_EVERY_SECONDS = 5.0
_DESCRIBED_AT_ONCE = 50
_WAITS_FOR = re.compile(r"(switched|exhausted): (\S+?)(?:: | per | has |$)")


class Enforcer:
    """One of all processes does the work; the others stand by."""

    def __init__(
        self, client: Client, authority: Authority, store: Store, runs: RunActivities, process_id: str
    ) -> None:
        self._client = client
        self._authority = authority
        self._store = store
        self._runs = runs
        self._process_id = process_id
        self._limits: dict[tuple[str, str], int | None] = {}
        self._described_at = 0.0

    async def run(self) -> None:
        """Work until cancelled; servers that are down are tried again next second."""
        while True:
            try:
                if await self._authority.lead("enforcer", self._process_id, _LEASE_MS):
                    await self.round()
            except (CurbError, RPCError) as error:
                log.warning("enforcer waits", error=str(error))
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def round(self) -> None:
        """Look once at every live run."""
        live = await self._store.runs.list(live=True, limit=_MAX_RUNS)
        await self._switches(live)
        await self._budgets(live)
        if time.monotonic() - self._described_at >= _DESCRIBE_EVERY_SECONDS:
            self._described_at = time.monotonic()
            await self._ended(live)

    async def _switches(self, live: list[Run]) -> None:
        waiting = {run.id: f"kill:{scope}" for run in live if (scope := waits_for(run, "switched"))}
        stoppers = {run.id: run for run in live if _stops_on_switch(run)}
        names = set(waiting.values()) | {n for run in stoppers.values() for n in _kill_names(run)}
        if not names:
            return
        present = await self._authority.read_switches(sorted(names))
        for run_id, name in waiting.items():
            if name not in present:
                await self._signal(run_id, "wake")
        for run in stoppers.values():
            found = next((name for name in _kill_names(run) if name in present), None)
            value = present.get(found, "") if found else ""
            # Read again right before: a switch lifted in the meantime must not end a run.
            if found and not value.startswith("auto:budget") and await self._authority.read_switches([found]):
                await self._signal(run.id, "kill", f"{found}: {value}")

    async def _budgets(self, live: list[Run]) -> None:
        """Wake whoever waits for a budget whose limit has changed since the last look."""
        waiting = {run.id: name for run in live if (name := waits_for(run, "exhausted"))}
        if not waiting:
            self._limits.clear()
            return
        limits = {(b.scope, b.counter): b.limit_nano_usd for b in await self._authority.budgets()}
        changed = {key[0] for key, limit in limits.items() if self._limits.get(key, limit) != limit}
        self._limits = limits
        for run_id, scope in waiting.items():
            if scope in changed:
                await self._signal(run_id, "wake")

    async def _ended(self, live: list[Run]) -> None:
        """Close the records of runs whose workflow is over, oldest change first."""
        oldest = sorted(live, key=lambda run: run.updated_at.timestamp() if run.updated_at else 0.0)
        await asyncio.gather(*(self._close_if_ended(run) for run in oldest[:_DESCRIBED_AT_ONCE]))

    async def _close_if_ended(self, run: Run) -> None:
        try:
            status = (await self._client.get_workflow_handle(run.id).describe()).status
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            status = None
        ending = _ENDINGS.get(status)
        if ending is not None:
            status_name, reason = ending
            await self._runs.end_run(
                EndRun.model_validate(
                    {
                        "run_id": run.id,
                        "status": status_name,
                        "reason": reason,
                        "steps": run.steps,
                        "item": -1,
                    }
                )
            )
        else:
            await self._store.runs.update(run.id)

    async def _signal(self, run_id: str, signal: str, *arguments: str) -> None:
        handle = self._client.get_workflow_handle(run_id)
        try:
            await handle.signal(signal, args=list(arguments))
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise


_ENDINGS: dict[WorkflowExecutionStatus | None, tuple[str, str]] = {
    WorkflowExecutionStatus.TERMINATED: ("killed", "terminated from Temporal"),
    WorkflowExecutionStatus.CANCELED: ("killed", "cancelled from Temporal"),
    WorkflowExecutionStatus.TIMED_OUT: ("expired", "the workflow timed out"),
    WorkflowExecutionStatus.FAILED: ("failed", "the workflow failed; see its history"),
    WorkflowExecutionStatus.COMPLETED: ("completed", ""),
    None: ("failed", "its workflow is not known to Temporal any more"),
}


def waits_for(run: Run, kind: str) -> str:
    """The scope that a run waits for, '' when it waits for nothing of this kind."""
    found = _WAITS_FOR.match(run.waiting_for)
    return found[2] if found is not None and found[1] == kind else ""


def _stops_on_switch(run: Run) -> bool:
    return bool(run.spec) and RunSnapshot.model_validate(run.spec).agent.on_switch == "stop"


def _kill_names(run: Run) -> tuple[str, str]:
    return "kill:global", f"kill:agent:{run.agent}"


async def every(seconds: float, work: Callable[[], Awaitable[object]], name: str) -> None:
    """Do something again and again until cancelled; what fails is logged and tried again."""
    while True:
        try:
            await work()
        except CurbError as error:
            log.warning(f"{name} failed", error=str(error))
        await asyncio.sleep(seconds)
