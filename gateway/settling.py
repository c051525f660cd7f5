"""Bringing single attempts to what a provider says of them: by settlements and postings, never by editing.

Both ways of reconciliation (row by row, and by sums) end here.
"""

import time
from collections.abc import Mapping
from typing import Any

from gateway.calls import Settlement
from gateway.events import Event
from gateway.state.authority import Authority
from gateway.store import AttemptRow, Booked, Store, settlement_of


class Settler:
    """Each step may be done again without harm. settled, adjusted: how many there were."""

    def __init__(self, authority: Authority, store: Store) -> None:
        self._authority = authority
        self._store = store
        self._closed_there: list[Settlement] = []
        self.settled = 0
        self.adjusted = 0

    async def settle(
        self,
        row: AttemptRow,
        amount_nano_usd: int,
        basis: str,
        tokens: Mapping[str, int] | None = None,
        said: Mapping[str, Any] | None = None,
    ) -> None:
        """Settle what is in doubt. tokens: by their columns. said: what the provider reported, to keep."""
        # An attempt whose owner died never said how it ended.
        how = {"status": row["status"] or "error", "error_type": row["error_type"] or "lost"}
        cost = {"state": "settled", "cost_nano_usd": amount_nano_usd, "basis": basis}
        changes = {**(how if row["status"] != "success" else {}), **cost, **(tokens or {})}
        if said is not None:
            changes["provider_usage"] = dict(said)
        settlement = settlement_of(row).model_copy(update=changes)
        result = await self._authority.close_attempt(settlement)
        if result == "unknown":
            await self._store.ledger.apply_events([_direct(settlement)])
        elif result == "already":
            self._closed_there.append(settlement)
        self.settled += 1

    async def adjust(self, booked: Booked, amount_nano_usd: int) -> str:
        """Post the difference between the books and what was billed; its posting's id, '' for none."""
        difference = amount_nano_usd - booked.ledger_nano_usd
        if not difference:
            return ""
        # Numbered: two that adjust at once post the same, and the next difference is another posting.
        posting_id = f"{booked.attempt_id}/adjust/{booked.adjustments + 1}"
        body = {"attempt_id": booked.attempt_id, "kind": "adjust", "day": booked.day, "reason": "invoice"}
        if await self._authority.post(posting_id, booked.counters, difference, body):
            self.adjusted += 1
        return posting_id

    async def book_what_redis_had_closed(self) -> None:
        """Closed in Redis, but its event never came: book here what was to be settled."""
        for settlement in self._closed_there:
            row = await self._store.attempts.get(settlement.attempt_id)
            if row is not None and row["state"] == "in_doubt":
                await self._store.ledger.apply_events([_direct(settlement)])


def _direct(settlement: Settlement) -> Event:
    return Event("settled", settlement.model_dump(mode="json"), at_ms=time.time_ns() // 1_000_000)
