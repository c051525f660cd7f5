"""Calls as they would lie in the books, at any time: for tests of what looks at them."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.events import Event
from gateway.policy.money import usd
from gateway.store import Store
from tests.integration.ledger_events import reserved, settled

_NUMBERS = itertools.count(1)


def call(
    at: datetime,
    cost: str = "0",
    *,
    agent: str = "coder",
    status: str = "success",
    seconds: float = 1.0,
    of_call: str = "",
    **fields: Any,
) -> list[Event]:
    """One attempt that ended `seconds` after `at`. cost: dollars. of_call: what else is of this call."""
    number = next(_NUMBERS)
    name = f"{of_call or f'past-{number}'}#{number}"
    at_ms = round(at.timestamp() * 1000)
    day = fields.pop("day", f"{at.astimezone(UTC):%Y-%m-%d}")
    ends = settled(name, usd(cost), status=status, done_ms=at_ms + round(seconds * 1000))
    begins = reserved(name, agent=agent, queued_ms=at_ms, **fields)
    return [
        replace(begins, at_ms=at_ms, day=day),
        replace(ends, at_ms=at_ms + round(seconds * 1000), day=day),
    ]


def calls(at: datetime, count: int, cost: str = "0", **fields: Any) -> list[Event]:
    """So many calls, a tenth of a second after one another."""
    return [
        event
        for number in range(count)
        for event in call(at + timedelta(milliseconds=100 * number), cost, **fields)
    ]


async def book(store: Store, *groups: Sequence[Event]) -> None:
    await store.ledger.apply_events([event for group in groups for event in group])
