"""Having batches followed: a workflow for each."""

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from gateway.batches.opening import BatchStarter
from gateway.errors import StateUnavailable
from workflows.queues import RUNS


def batch_starter(client: Client | None) -> BatchStarter | None:
    """Starts the workflow of a batch; None where there is no Temporal."""
    if client is None:
        return None

    async def start(batch_id: str) -> None:
        try:
            await client.start_workflow(
                "Batch",
                batch_id,
                id=batch_id,
                task_queue=RUNS,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary="a batch at a provider",
            )
        except RPCError as error:
            raise StateUnavailable(f"nobody can follow the batch: Temporal says {error.message}") from error

    return start
