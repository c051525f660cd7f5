"""What a batch came to, and how that is booked."""

import time
from dataclasses import dataclass, field

from gateway.calls import Settlement
from gateway.policy.pricing import Price, cost
from gateway.policy.usage import Usage
from gateway.providers.batches import BatchApi, Results, Told
from gateway.store.batches import Batch


@dataclass
class Bought:
    """What a batch came to. unknown: answers without a usage that can be read; unread: those of them that
    are missing from the results, or torn."""

    usage: Usage = field(default_factory=Usage)
    cost_nano_usd: int = 0
    answered: int = 0
    unknown: int = 0
    unread: int = 0


def bought_of(price: Price, api: BatchApi, told: Told, results: Results) -> Bought:
    """Add up the answers; those that the provider counts and has not sent are unknown."""
    bought = Bought()
    for each in api.answered(results):
        bought.answered += 1
        if each.usage is None:
            bought.unknown += 1
            bought.unread += not each.custom_id
            continue
        bought.usage = _sum(bought.usage, each.usage)
        bought.cost_nano_usd += cost(price, each.usage, batch=True)
    missing = max(told.answered - bought.answered, 0)
    bought.answered += missing
    bought.unknown += missing
    bought.unread += missing
    return bought


def unsent(batch: Batch, why: str, error_type: str = "not_sent") -> Settlement:
    return settlement(
        batch, state="settled", status="error", basis="not_sent", error_type=error_type, error_message=why
    )


def settled(batch: Batch, told: Told, bought: Bought) -> Settlement:
    counts = {"requests": batch.requests, "answered": bought.answered, "unknown": bought.unknown}
    common: dict[str, object] = {
        "status": "success" if bought.answered else "error",
        "error_type": "" if bought.answered else "rejected" if told.rejected else "none_answered",
        "error_message": told.rejected,
        "input_tokens": bought.usage.input_tokens,
        "output_tokens": bought.usage.output_tokens,
        "cache_read_tokens": bought.usage.cache_read_tokens,
        "cache_write_tokens": bought.usage.cache_write_tokens,
        "reasoning_tokens": bought.usage.reasoning_tokens,
        "provider_usage": counts,
        "provider_request_id": told.id,
        "finish_reason": "stop" if bought.answered else "",
    }
    if bought.unknown:
        rest = -(-batch.asked_nano_usd * min(bought.unknown, batch.requests) // batch.requests)
        return settlement(batch, state="in_doubt", estimate_nano_usd=bought.cost_nano_usd + rest, **common)
    return settlement(batch, state="settled", basis="batch", cost_nano_usd=bought.cost_nano_usd, **common)


def settlement(batch: Batch, **fields: object) -> Settlement:
    common: dict[str, object] = {
        "attempt_id": batch.attempt_id,
        "price_id": str(batch.opened.get("price_id", "")),
        "done_ms": time.time_ns() // 1_000_000,
    }
    return Settlement.model_validate(common | fields)


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.cache_read_tokens + other.cache_read_tokens,
        one.cache_write_tokens + other.cache_write_tokens,
        one.reasoning_tokens + other.reasoning_tokens,
    )
