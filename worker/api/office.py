"""What the admin API works with in one process."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from prometheus_client import CollectorRegistry
from temporalio.client import Client

from gateway.agents import Agent
from gateway.errors import CurbError
from gateway.http.endpoint import KeyHolder
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.tokens import TokenSecrets
from worker.client import Runs
from worker.config import Config
from worker.desk.reports import ReportDesk
from worker.health_checks import HealthChecks

_FRESH_SECONDS = 1.0
_HOURS = 200


class NoTemporal(CurbError):
    """This process was not told where Temporal is."""


class Freshness:
    """Brings the sums up to date, at most once a second however many ask."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = asyncio.Lock()
        self._at = float("-inf")

    async def now(self) -> None:
        """Raises StoreUnavailable."""
        async with self._lock:
            if time.monotonic() - self._at >= _FRESH_SECONDS:
                await self._store.usage.refresh(limit=_HOURS)
                self._at = time.monotonic()


@dataclass(frozen=True, slots=True)
class Office:
    """Everything that an endpoint may ask.

    keys: who calls. temporal: None where this process knows none. is_open: whoever comes without a key is
    the developer, so that requests which other web pages send are to be told apart. registry: what
    /metrics tells, and before_scrape what is to be done before.
    """

    store: Store
    authority: Authority
    config: Config
    agents: Mapping[str, Agent]
    keys: KeyHolder
    secrets: TokenSecrets
    temporal: Client | None
    workflow_url: Callable[[str], str]
    is_open: bool = False
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    before_scrape: Callable[[], Awaitable[None]] | None = None
    freshness: Freshness = field(init=False)
    health: HealthChecks = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "freshness", Freshness(self.store))
        checks = HealthChecks(self.store, self.authority, self.config.gateway.providers, self.temporal)
        object.__setattr__(self, "health", checks)

    @property
    def runs(self) -> Runs:
        """Raises NoTemporal."""
        if self.temporal is None:
            raise NoTemporal(
                "this server does not know Temporal: set CURB_TEMPORAL_ADDRESS where it is started"
            )
        return Runs(self.temporal, self.store, self.authority, agents=self.agents)

    @property
    def reports(self) -> ReportDesk:
        return ReportDesk(self.store, self.authority, self.config)

    async def today(self) -> date:
        """The running accounting day. Raises StateUnavailable."""
        return await self.reports.today()
