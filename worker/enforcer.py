"""The enforcer: brings runs and the world back together, once a second.

It only makes things faster: a waiting run looks by itself too. It wakes runs whose switch is gone
or whose limit rose, ends runs of agents with `on_switch: stop` while their switch is set, and closes
the record of runs that Temporal ended without them (terminated, timed out).
"""

import asyncio
from collections.abc import Sequence

import structlog
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.messages import EndRun
from activities.runs import RunActivities
from activities.signals import signal_run, workflow_of
from gateway.errors import CurbError
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.runs import WatchedRun
from workflows.messages import RunResult, Status

log = structlog.get_logger(__name__)

_INTERVAL_SECONDS = 1.0
_LEASE_MS = 3_000
_IDLE_SECONDS = 5.0
_DESCRIBED_AT_ONCE = 50

_Limit = tuple[str, int | None, int]  # counter, limit, topped up


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
        self._limits: dict[str, list[_Limit]] = {}  # by run, as when it was last woken

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
        """Look once at every run that waits, and at some that have been quiet for long."""
        watched = await self._store.runs.watched()
        await self._wake_if_switched_on(watched)
        await self._end_if_switched_off(watched)
        await self._wake_if_limit_changed(watched)
        quiet = await self._store.runs.oldest(idle_seconds=_IDLE_SECONDS, limit=_DESCRIBED_AT_ONCE)
        await asyncio.gather(*(self._close_if_ended(run_id, steps) for run_id, steps in quiet))

    async def _wake_if_switched_on(self, watched: Sequence[WatchedRun]) -> None:
        waiting = {run.id: f"kill:{scope}" for run in watched if (scope := run.waits_for("switched"))}
        present = await self._authority.read_switches(sorted(set(waiting.values())))
        for run_id, name in waiting.items():
            if name not in present:
                await self._signal(run_id, "wake")

    async def _end_if_switched_off(self, watched: Sequence[WatchedRun]) -> None:
        """A spent daily budget pauses, whatever the agent says about switches."""
        stoppers = [run for run in watched if run.stops_on_switch]
        names = {name for run in stoppers for name in _kill_names(run)}
        present = await self._authority.read_switches(sorted(names))
        for run in stoppers:
            found = next((name for name in _kill_names(run) if name in present), "")
            if not found or present[found].startswith("auto:budget:"):
                continue
            # Read again right before: a switch lifted in the meantime must not end a run.
            if await self._authority.read_switches([found]):
                await self._signal(run.id, "kill", f"{found}: {present[found]}")

    async def _wake_if_limit_changed(self, watched: Sequence[WatchedRun]) -> None:
        """Wake whoever waits for a budget whose limits are not what they were when it was last woken.

        A run that begins to wait is woken once: the limit may have been raised since it was refused.
        """
        waiting = {run.id: scope for run in watched if (scope := run.waits_for("exhausted"))}
        if not waiting:
            self._limits.clear()
            return
        limits: dict[str, list[_Limit]] = {scope: [] for scope in waiting.values()}
        for budget in await self._authority.budgets():
            if budget.scope in limits:
                # Top-ups apart: they tell even where the limit came with a call and is not known now.
                limits[budget.scope].append((budget.counter, budget.limit_nano_usd, budget.topped_nano_usd))
        now = {run_id: limits[scope] for run_id, scope in waiting.items()}
        for run_id, limit in now.items():
            if self._limits.get(run_id) != limit:
                await self._signal(run_id, "wake")
        self._limits = now

    async def _close_if_ended(self, run_id: str, steps: int) -> None:
        """Close the record of a run whose workflow is over without having said so."""
        end = await self._ending(await workflow_of(self._store, run_id), run_id, steps)
        if end is not None:
            await self._runs.end_run(end)

    async def _ending(self, workflow_id: str, run_id: str, steps: int) -> EndRun | None:
        """How a workflow ended; None while it goes on."""
        handle = self._client.get_workflow_handle(workflow_id, result_type=RunResult)
        try:
            found = await handle.describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return _end(run_id, steps, None)
        if found.status is WorkflowExecutionStatus.COMPLETED and found.workflow_type == "AgentRun":
            said = await handle.result()
            return EndRun(
                run_id=run_id,
                status=said.status,
                reason=said.reason,
                steps=said.steps,
                item=said.answer_item,
            )
        return _end(run_id, steps, found.status) if found.status in _ENDINGS else None

    async def _signal(self, run_id: str, signal: str, *arguments: str) -> None:
        await signal_run(self._client, self._store, run_id, signal, *arguments)


_ENDINGS: dict[WorkflowExecutionStatus | None, tuple[Status, str]] = {
    WorkflowExecutionStatus.TERMINATED: ("killed", "terminated from Temporal"),
    WorkflowExecutionStatus.CANCELED: ("killed", "cancelled from Temporal"),
    WorkflowExecutionStatus.TIMED_OUT: ("expired", "the workflow timed out"),
    WorkflowExecutionStatus.FAILED: ("failed", "the workflow failed; see its history"),
    WorkflowExecutionStatus.COMPLETED: ("completed", ""),
    None: ("failed", "its workflow is not known to Temporal any more"),
}


def _end(run_id: str, steps: int, status: WorkflowExecutionStatus | None) -> EndRun:
    """The end of a workflow that has not said itself how its run ended."""
    ending, reason = _ENDINGS[status]
    return EndRun(run_id=run_id, status=ending, reason=reason, steps=steps, item=-1)


def _kill_names(run: WatchedRun) -> tuple[str, str]:
    return "kill:global", f"kill:agent:{run.agent}"
