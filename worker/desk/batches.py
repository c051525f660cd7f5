"""Batches as people see them: those under way, how far they are, and their end."""

from typing import Any

from gateway.errors import Conflict
from gateway.store import Store
from gateway.store.batches import Batch
from worker.desk.documents import at_text, usd_text

_DONE = ("completed", "failed", "succeeded", "errored", "canceled", "expired")
_UNDER_WAY = ("held", "sending", "sent")


async def batch_documents(store: Store, *, ended: bool, limit: int) -> list[dict[str, Any]]:
    """Of every key, the latest first. ended: those that are over, too."""
    return [batch_document(each) for each in await store.batches.of_all(ended=ended, limit=limit)]


async def cancel_batch(store: Store, batch_id: str, *, by: str) -> dict[str, Any]:
    """Ask for the end of a batch; it comes at the next look. Raises NotFound, Conflict."""
    if not await store.batches.cancel(batch_id, None):
        found = await store.batches.get(batch_id)
        raise Conflict(f"batch {batch_id} is {found.state}: there is nothing to cancel any more")
    await store.events.audit(by, "batch_cancel", batch_id)
    return batch_document(await store.batches.get(batch_id))


def batch_document(batch: Batch) -> dict[str, Any]:
    """One batch. held_usd: its bound while it is under way; afterwards cost_usd says what it came to."""
    return {
        "id": batch.id,
        "state": batch.state,
        "agent": batch.opened.get("agent", ""),
        "key": batch.key_id,
        "provider": batch.provider,
        "deployment": batch.deployment,
        "endpoint": batch.endpoint,
        "requests": batch.requests,
        "done": requests_done(batch),
        "held_usd": usd_text(batch.asked_nano_usd if batch.state in _UNDER_WAY else 0),
        "cost_usd": usd_text(batch.cost_nano_usd),
        "cancel_asked": batch.cancel_asked,
        "error": batch.error,
        "created_at": at_text(batch.created_at),
        "sent_at": at_text(batch.sent_at),
        "ended_at": at_text(batch.ended_at),
    }


def requests_done(batch: Batch) -> int:
    """Requests that have an answer or an error, as the provider last said (Anthropic: only in the end)."""
    counts = batch.told.get("request_counts") or {}
    return sum(counts.get(name) or 0 for name in _DONE)
