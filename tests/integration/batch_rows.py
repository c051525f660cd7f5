"""Batches in the books, in any state, without a provider that works on them."""

from dataclasses import asdict

from gateway.events import Opened
from gateway.store import Store
from gateway.store.batches import BatchState, NewBatch


async def add_batch(
    store: Store, batch_id: str, *, agent: str = "labeller", to: BatchState = "sent", done: int = 3
) -> str:
    """A batch of ten requests, three of them answered, for which two cents are held; its id."""
    opened = Opened(
        f"{batch_id}#1",
        batch_id,
        1,
        "test",
        agent,
        "",
        "openai/gpt-5-mini",
        "openai",
        "gpt-5-mini",
        20_000_000,
    )
    new = NewBatch(
        id=batch_id,
        key_id="key-of-a-test",
        family="openai",
        endpoint="/v1/chat/completions",
        requests=10,
        provider=opened.provider,
        deployment=opened.deployment,
        attempt_id=opened.attempt_id,
        process_id=opened.process_id,
        asked_nano_usd=opened.asked_nano_usd,
        opened=asdict(opened),
        upload=b"{}",
    )
    assert await store.batches.add(new)
    assert await store.batches.move(batch_id, "opening", to)
    await store.batches.note(batch_id, {"request_counts": {"total": 10, "completed": done, "failed": 0}})
    return batch_id
