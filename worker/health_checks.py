"""Whether this process and what it depends on are well: looked at when somebody asks, never for long.

A look is bounded in time and kept for a moment, so that a server that hangs holds up nobody who asks,
and nobody who asks often makes work.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from temporalio.client import Client

from gateway.errors import CurbError
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.health import Health

LOOK_SECONDS = 1.0
KEPT_SECONDS = 2.0

Status = Literal["healthy", "degraded", "unhealthy", "unknown"]
_STATUSES: Mapping[str, Status] = {
    "up": "healthy",
    "degraded": "degraded",
    "down": "unhealthy",
    "unknown": "unknown",
}
Look = Callable[[], Awaitable["Mapping[str, Seen] | Seen"]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look saw. latency_ms: how long it took; None where nobody looked."""

    status: Status
    message: str = ""
    latency_ms: float | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Check:
    """One dependency, or several that are read together. Raises nothing."""

    def __init__(self, name: str, look: Look, *, seconds: float = LOOK_SECONDS) -> None:
        self._name = name
        self._look = look
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._seen: Mapping[str, Seen] = {}
        self._at = float("-inf")

    async def seen(self) -> Mapping[str, Seen]:
        """By name; at most KEPT_SECONDS old."""
        async with self._lock:
            if time.monotonic() - self._at >= KEPT_SECONDS:
                self._seen = await self._looked()
                self._at = time.monotonic()
            return self._seen

    async def _looked(self) -> Mapping[str, Seen]:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._look()
        except TimeoutError:
            found = Seen("unhealthy", f"no answer within {self._seconds:g} s")
        except CurbError as error:
            found = Seen("unhealthy", str(error))
        except Exception as error:  # noqa: BLE001 - whatever a client library raises is this dependency's trouble
            found = Seen("unhealthy", type(error).__name__)
        if isinstance(found, Mapping):
            return found
        took = (time.monotonic() - began) * 1000
        return {self._name: Seen(found.status, found.message, round(took, 2), found.at)}


class HealthChecks:
    """Everything that one process depends on. It begins when it is made."""

    def __init__(
        self, store: Store, authority: Authority, providers: Collection[str], temporal: Client | None
    ) -> None:
        self._checks = [
            Check("database", lambda: _database(store)),
            Check("redis", lambda: _redis(authority)),
            *([] if temporal is None else [Check("temporal", lambda: _temporal(temporal))]),
            Check("providers", lambda: _providers(store, providers)),
        ]
        self.began_at = datetime.now(UTC)

    async def dependencies(self) -> dict[str, Seen]:
        """All of them, by name."""
        found: dict[str, Seen] = {}
        for seen in await asyncio.gather(*(check.seen() for check in self._checks)):
            found |= seen
        return found

    async def ready(self) -> Seen:
        """Whether something could be bought now: Redis answers and admission is open, Postgres answers."""
        found = await asyncio.gather(*(check.seen() for check in self._checks[:2]))
        worst = [seen for each in found for seen in each.values() if seen.status != "healthy"]
        return worst[0] if worst else Seen("healthy")


def overall(found: Mapping[str, Seen]) -> Status:
    """Nothing works without Redis and Postgres; without any other some things do."""
    if any(found[name].status == "unhealthy" for name in ("database", "redis") if name in found):
        return "unhealthy"
    bad = [seen for seen in found.values() if seen.status in ("unhealthy", "degraded")]
    return "degraded" if bad else "healthy"


async def _database(store: Store) -> Seen:
    await store.ping()
    return Seen("healthy")


async def _redis(authority: Authority) -> Seen:
    state = await authority.epoch_state()
    if state.open:
        return Seen("healthy")
    return Seen("unhealthy", f"admission is closed: {state.reason or 'the budgets are not loaded'}")


async def _temporal(temporal: Client) -> Seen:
    return Seen("healthy") if await temporal.service_client.check_health() else Seen("unhealthy")


async def _providers(store: Store, configured: Collection[str]) -> Mapping[str, Seen]:
    """As the last probe found them: nobody waits for a provider here."""
    latest = {each.provider: each for each in await store.health.latest() if not each.deployment}
    return {f"provider:{name}": _provider(latest.get(name)) for name in configured}


def _provider(held: Health | None) -> Seen:
    if held is None or held.checked_at is None:
        return Seen("unknown", "nobody has probed it yet")
    return Seen(_STATUSES[held.status], held.reason, float(held.latency_ms), held.checked_at)
