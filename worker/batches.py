"""Having batches followed: a workflow for each, and again where one ended before its batch."""

import asyncio

import structlog
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from gateway.batches.opening import BatchStarter
from gateway.errors import CurbError, StateUnavailable
from gateway.state.authority import Authority
from gateway.store import Store
from workflows.queues import RUNS

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 60.0
_LEASE_MS = 180_000
_AT_ONCE = 1_000


def batch_starter(client: Client | None) -> BatchStarter | None:
    """Starts the workflow of a batch; None where there is no Temporal."""
    if client is None:
        return None

    async def start(batch_id: str) -> None:
        try:
            await _start(client, batch_id, WorkflowIDReusePolicy.REJECT_DUPLICATE)
        except RPCError as error:
            raise StateUnavailable(f"nobody can follow the batch: Temporal says {error.message}") from error

    return start


class BatchKeeper:
    """Sees to it that every batch under way is followed, whatever became of its workflow.

    One that was terminated is followed to the end of its batch, which is cancelled. One of all processes
    does it.
    """

    def __init__(
        self, client: Client, authority: Authority, store: Store, *, every_seconds: float = _EVERY_SECONDS
    ) -> None:
        self._client = client
        self._authority = authority
        self._store = store
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._every_seconds)
            try:
                if await self._authority.lead("batches", self._authority.process_id, _LEASE_MS):
                    await self.round()
            except (CurbError, RPCError) as error:
                log.warning("batches are not looked after", error=str(error))

    async def round(self) -> None:
        """Look at every batch under way once."""
        for batch in await self._store.batches.of_all(ended=False, limit=_AT_ONCE):
            status = await self._status(batch.id)
            if status is WorkflowExecutionStatus.RUNNING:
                continue
            if status is WorkflowExecutionStatus.TERMINATED:
                await self._store.batches.cancel(batch.id, None)
            log.warning("a batch is followed again", batch=batch.id, workflow=status and status.name)
            await _start(self._client, batch.id, WorkflowIDReusePolicy.ALLOW_DUPLICATE)

    async def _status(self, batch_id: str) -> WorkflowExecutionStatus | None:
        """How its workflow stands; None where Temporal knows none."""
        try:
            return (await self._client.get_workflow_handle(batch_id).describe()).status
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise


async def _start(client: Client, batch_id: str, reuse: WorkflowIDReusePolicy) -> None:
    await client.start_workflow(
        "Batch",
        batch_id,
        id=batch_id,
        task_queue=RUNS,
        id_reuse_policy=reuse,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary="a batch at a provider",
    )
