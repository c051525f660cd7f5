"""What the console shows, gathered at most once a second however many pages are open."""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.errors import CurbError
from gateway.policy.latency import percentile_ms
from gateway.state.authority import BudgetState
from gateway.store.figures import UsageSum
from gateway.store.health import Health
from gateway.store.reports import ReportListed
from worker.api.office import Office
from worker.client import Progress
from worker.desk.alerts import alert_documents
from worker.desk.batches import batch_documents
from worker.desk.budgets import current_budgets
from worker.desk.switches import Switch, switches_set
from worker.upkeep import switch_names

_FRESH_SECONDS = 1.0
_PART_SECONDS = 3.0
_RUNS, _ROWS, _AGENTS, _ALERTS, _REPORTS, _BATCHES, _NAMES = 30, 8, 100, 50, 40, 30, 500
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything on the page, of one moment. problems: what could not be asked; its part is empty then.

    velocity_nano_usd: what all agents spent in the last velocity_seconds. names: of switches that one may
    want to set.
    """

    today: UsageSum = UsageSum("")
    month: UsageSum = UsageSum("")
    p95_ms: float | None = None
    velocity_nano_usd: int = 0
    velocity_seconds: int = 0
    agents: Sequence[UsageSum] = ()
    models: Sequence[UsageSum] = ()
    budgets: Sequence[BudgetState] = ()
    health: Sequence[Health] = ()
    switches: Sequence[Switch] = ()
    runs: Sequence[Progress] = ()
    live_runs: int = 0
    batches: Sequence[Mapping[str, Any]] = ()
    names: Sequence[str] = ()
    alerts: Sequence[dict[str, Any]] = ()
    reports: Sequence[ReportListed] = ()
    problems: tuple[str, ...] = field(default=())


_NOTHING = Figures()
_STILL = (0, 0)
_NO_RUNS: tuple[Sequence[Progress], int] = ((), 0)


class Gatherer:
    """Gathers, and keeps it for a second."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._lock = asyncio.Lock()
        self._kept = Figures()
        self._at = float("-inf")

    def forget(self) -> None:
        """Gather again for whoever asks next: something was done."""
        self._at = float("-inf")

    async def now(self) -> Figures:
        """The figures, at most a second old."""
        async with self._lock:
            if time.monotonic() - self._at >= _FRESH_SECONDS:
                self._kept = await _gathered(self._office)
                self._at = time.monotonic()
            return self._kept


async def _gathered(office: Office) -> Figures:
    """Each part by itself: what does not answer leaves the others standing."""
    problems: list[str] = []

    async def part(what: str, asked: Awaitable[_T], otherwise: _T) -> _T:
        try:
            async with asyncio.timeout(_PART_SECONDS):
                return await asked
        except (CurbError, TimeoutError) as error:
            problems.append(f"{what}: {str(error) or 'did not answer in time'}")
            return otherwise

    money, state, told = await asyncio.gather(
        asyncio.gather(
            part("costs", _spent(office), _NOTHING),
            part("velocity", _velocity(office), _STILL),
            part("budgets", current_budgets(office.store, office.authority), []),
        ),
        asyncio.gather(
            part("health", office.store.health.latest(), []),
            part("switches", _switches(office), []),
            part("runs", _runs(office), _NO_RUNS),
            part("batches", batch_documents(office.store, ended=False, limit=_BATCHES), []),
        ),
        asyncio.gather(
            part("alerts", alert_documents(office.store, ended=False, limit=_ALERTS), []),
            part("reports", office.store.reports.list(limit=_REPORTS), []),
        ),
    )
    (spent, velocity, budgets), (health, switches, runs, batches), (alerts, reports) = money, state, told
    return Figures(
        today=spent.today,
        month=spent.month,
        p95_ms=spent.p95_ms,
        agents=spent.agents,
        models=spent.models,
        velocity_nano_usd=velocity[0],
        velocity_seconds=velocity[1],
        budgets=budgets,
        health=health,
        switches=switches,
        runs=runs[0],
        live_runs=runs[1],
        batches=batches,
        names=switch_names(office.config, office.agents)[:_NAMES],
        alerts=alerts,
        reports=reports,
        problems=tuple(dict.fromkeys(problems)),
    )


async def _spent(office: Office) -> Figures:
    today = await office.today()
    await office.freshness.now()
    by, first = office.store.spending.by, today.replace(day=1)
    day, month = await by("", today, today), await by("", first, today)
    latencies = await office.store.usage.latencies(today, today)
    return Figures(
        today=day[0] if day else UsageSum(""),
        month=month[0] if month else UsageSum(""),
        p95_ms=percentile_ms(latencies.get("", {}), 0.95),
        agents=await by("agent", today, today, limit=_ROWS),
        models=await by("model", today, today, limit=_ROWS),
    )


async def _velocity(office: Office) -> tuple[int, int]:
    uses = [await office.authority.utilization(name) for name in sorted(office.agents)[:_AGENTS]]
    window = max((use.velocity_window_seconds for use in uses), default=0)
    return sum(use.velocity_nano_usd for use in uses), window


async def _switches(office: Office) -> list[Switch]:
    return await switches_set(office.store, office.authority, switch_names(office.config, office.agents))


async def _runs(office: Office) -> tuple[Sequence[Progress], int]:
    """Those that live first, then the newest that have ended; and how many live."""
    live = await office.store.runs.list(live=True, limit=1_000)
    ended = await office.store.runs.list(live=False, limit=_RUNS // 3)
    shown = await office.runs.newest(limit=_RUNS, live=True)
    over = await office.runs.newest(limit=_RUNS // 3, live=False) if ended else ()
    return (*shown, *over), len(live)
