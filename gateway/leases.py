"""Leases: an attempt may send only while its process provably holds it.

The keeper renews all live attempts of the process in one script call. A lease is measured by
this process's monotonic clock from before the script was sent, so it can only be shorter
than what Redis granted.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from gateway.errors import CurbError, StateUnavailable
from gateway.state.authority import Authority
from gateway.state.values import Reservation

log = structlog.get_logger(__name__)


class LeaseLapsed(CurbError):
    """The attempt's lease ran out before its request was sent; it must not be sent any more."""


@dataclass(slots=True)
class Lease:
    """The right to send one attempt, until a moment of the monotonic clock."""

    attempt_id: str
    until: float
    on_lost: Callable[[], None]

    def check(self) -> None:
        """Raise LeaseLapsed unless the lease is live; called right before the bytes leave."""
        if time.monotonic() >= self.until:
            raise LeaseLapsed(f"the lease of attempt {self.attempt_id} lapsed before it was sent")


class LeaseKeeper:
    """Renews the leases of this process's attempts at a third of their length."""

    def __init__(self, authority: Authority, lease_seconds: float) -> None:
        self._authority = authority
        self._interval = lease_seconds / 3
        self._leases: dict[str, Lease] = {}
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def holding(self, reservation: Reservation, on_lost: Callable[[], None]) -> Iterator[Lease]:
        """Keep the reservation's lease alive inside the block; on_lost is called when it is fenced."""
        lease = Lease(reservation.attempt_id, reservation.lease_until, on_lost)
        self._leases[lease.attempt_id] = lease
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._renew_for_ever(), name="curb-leases")
        try:
            yield lease
        finally:
            self._leases.pop(lease.attempt_id, None)

    async def close(self) -> None:
        """Stop renewing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _renew_for_ever(self) -> None:
        while self._leases:
            await asyncio.sleep(self._interval)
            try:
                await self._renew()
            except StateUnavailable as error:
                log.warning("leases not renewed", error=str(error), attempts=len(self._leases))

    async def _renew(self) -> None:
        renewed = await self._authority.renew(tuple(self._leases))
        for attempt_id, (state, until) in renewed.items():
            lease = self._leases.get(attempt_id)
            if lease is None:
                continue
            if state == "held":
                lease.until = until
            elif state == "fenced":
                lease.until = 0.0
                lease.on_lost()
