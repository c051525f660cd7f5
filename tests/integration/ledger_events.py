"""Events as the budget authority writes them, for tests of the ledger."""

from dataclasses import asdict
from typing import Any

from gateway.calls import Settlement
from gateway.events import Event, Opened

DAY = "2026-11-21"
AT_MS = 1_795_000_000_123
COUNTERS = ("agent:coder|day|2026-11-21", "global|day|2026-11-21", "run:r1|run|run")


def opened(attempt_id: str, *, asked: int = 900, **changes: Any) -> Opened:
    """An opening with something in every field that a test may look at."""
    call_key, _, number = attempt_id.partition("#")
    values: dict[str, Any] = {
        "process_id": "p1", "agent": "coder", "tier": "balanced", "deployment": "sim/steady",
        "provider": "sim", "model": "steady", "counters": COUNTERS, "run_id": "r1", "step": 1,
        "team": "red", "user": "ann", "tags": {"case": "7"}, "max_output_tokens": 100,
        "queued_ms": AT_MS - 20, **changes,
    }  # fmt: skip
    return Opened(attempt_id, call_key, int(number or 1), asked_nano_usd=asked, **values)


def reserved(attempt_id: str, *, seq: int = 1, asked: int = 900, **changes: Any) -> Event:
    body = asdict(opened(attempt_id, asked=asked, **changes))
    return Event("reserved", body, 1, seq, AT_MS, DAY, f"{seq}-0")


def settled(attempt_id: str, cost: int, *, seq: int = 2, epoch: int = 1, **changes: Any) -> Event:
    values = {"basis": "usage", "status": "success", "input_tokens": 10, "output_tokens": 5, **changes}
    body = Settlement(attempt_id=attempt_id, state="settled", cost_nano_usd=cost, **values)
    return Event("settled", body.model_dump(mode="json"), epoch, seq, AT_MS + 1000, DAY, f"{seq}-0")


def released(attempt_id: str, *, seq: int = 2) -> Event:
    body = Settlement(attempt_id=attempt_id, state="released", basis="not_sent", status="error")
    return Event("released", body.model_dump(mode="json"), 1, seq, AT_MS + 1000, DAY, f"{seq}-0")


def in_doubt(attempt_id: str, *, seq: int = 2, estimate: int = 40, **changes: Any) -> Event:
    """The owner's word: sent, and cut before the usage was known."""
    body = Settlement(
        attempt_id=attempt_id, state="in_doubt", estimate_nano_usd=estimate, status="timeout", **changes
    )
    return Event("in_doubt", body.model_dump(mode="json"), 1, seq, AT_MS + 500, DAY, f"{seq}-0")


def swept(attempt_id: str, *, seq: int = 2) -> Event:
    """The authority's own: the lease lapsed."""
    body = {"attempt_id": attempt_id, "state": "in_doubt", "by": "sweep"}
    return Event("in_doubt", body, 1, seq, AT_MS + 500, DAY, f"{seq}-0")


def refused(attempt_id: str, *, seq: int = 1) -> Event:
    refusal = {"kind": "exhausted", "scope": "agent:coder", "limit_nano_usd": 10, "detail": ""}
    body = {**asdict(opened(attempt_id)), "refusal": refusal}
    return Event("refused", body, 1, seq, AT_MS, DAY, f"{seq}-0")


def posted(posting_id: str, attempt_id: str, amount: int, *, seq: int = 9) -> Event:
    body = {
        "posting_id": posting_id, "attempt_id": attempt_id, "kind": "adjust", "amount_nano_usd": amount,
        "counters": list(COUNTERS),
    }  # fmt: skip
    return Event("posted", body, 1, seq, AT_MS + 2000, DAY, f"{seq}-0")


def switched(name: str, old: str, new: str, *, seq: int, expires_at_ms: int | None = None) -> Event:
    body = {"name": name, "old": old, "new": new, "expires_at_ms": expires_at_ms}
    return Event("switch", body, 1, seq, AT_MS + seq, "", f"{seq}-0")
