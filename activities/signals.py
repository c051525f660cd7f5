"""Signals to the workflows of runs."""

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from gateway.store import Store


async def workflow_of(store: Store, run_id: str) -> str:
    """The id of the workflow that makes the run's calls; mostly that is the run id."""
    return str((await store.runs.get(run_id)).spec.get("workflow_id") or run_id)


async def signal_run(client: Client, store: Store, run_id: str, signal: str, *arguments: str) -> bool:
    """Signal a run; False when its workflow is over."""
    handle = client.get_workflow_handle(await workflow_of(store, run_id))
    try:
        await handle.signal(signal, args=list(arguments))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True
