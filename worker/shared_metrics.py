"""Gauges of what all processes share: budgets, velocity, switches, cache hits. Asked when somebody scrapes.

From Redis and the hours in Postgres, never from this process's memory, so that every process tells the
same; kept for some seconds, so that many who scrape cost as much as one. What cannot be asked is left out.
"""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from gateway.agents import Agent
from gateway.errors import CurbError
from gateway.policy.money import NANO_PER_USD
from gateway.policy.report_periods import running
from gateway.state.authority import Authority, BudgetState
from gateway.state.values import AgentUse
from gateway.store import Store
from gateway.store.figures import UsageSum
from worker.config import Config
from worker.config_teams import Team
from worker.desk.reports import calendar_of
from worker.house_metrics import House, budgets_of_many, gauge, house_families, used_nano_usd
from worker.upkeep import switch_names

KEPT_SECONDS = 5.0
ASK_SECONDS = 2.0
MOST_AGENTS = 200
_THREAD_SECONDS = 5.0
_T = TypeVar("_T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """One look. uses: agents with what they spent today and lately; months: budgets of this month."""

    uses: Sequence[AgentUse] = ()
    months: Sequence[BudgetState] = ()
    switches: Mapping[str, str] = field(default_factory=dict)
    hits: Sequence[UsageSum] = ()
    house: House = field(default_factory=House)


@contextlib.asynccontextmanager
async def shared_state(
    registry: CollectorRegistry,
    authority: Authority,
    store: Store,
    config: Config,
    agents: Mapping[str, Agent],
) -> AsyncIterator["SharedState"]:
    """Tell what is shared to whoever scrapes this registry, while the block runs."""
    shared = SharedState(authority, store, config, agents)
    registry.register(shared)
    try:
        yield shared
    finally:
        registry.unregister(shared)


class SharedState(Collector):
    """Looks, and tells what it saw. Made in the event loop that it asks in."""

    def __init__(
        self, authority: Authority, store: Store, config: Config, agents: Mapping[str, Agent]
    ) -> None:
        self._authority = authority
        self._store = store
        self._calendar = calendar_of(config)
        self._agents = tuple(agents)
        self._names = switch_names(config, agents)
        self._deployments = config.gateway.deployments
        self._teams = config.teams
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._lock = asyncio.Lock()
        self._seen = Shared()
        self._at = float("-inf")

    async def fresh(self) -> None:
        """Look, unless it was done just now. Raises nothing; await it before collecting in the loop."""
        async with self._lock:
            if time.monotonic() - self._at >= KEPT_SECONDS:
                self._seen = await self._look()
                self._at = time.monotonic()

    def collect(self) -> Iterable[Metric]:
        """What the last look saw; from another thread than the loop's it looks first."""
        if threading.get_ident() != self._thread and self._loop.is_running():
            looking = asyncio.run_coroutine_threadsafe(self.fresh(), self._loop)
            with contextlib.suppress(TimeoutError):
                looking.result(_THREAD_SECONDS)
        yield from _families(self._seen, self._teams)
        yield from house_families(self._seen.house, self._deployments)

    async def _look(self) -> Shared:
        now_ms = await _part(self._authority.clock_ms(), 0)
        if not now_ms:
            return Shared()
        day = running("daily", self._calendar, now_ms).first_day
        states, switches, hits, house = await asyncio.gather(
            _part(self._authority.budgets(), []),
            _part(self._authority.read_switches(sorted(await self._switch_names())), {}),
            _part(self._store.spending.by("agent", day, day, limit=MOST_AGENTS), ()),
            self._house(),
        )
        uses = await _part(self._uses(states, day), [])
        months = [s for s in states if s.period == "month" and s.window == f"{day:%Y-%m}"]
        return Shared(uses, months, switches, hits, replace(house, budgets=budgets_of_many(states, day)))

    async def _house(self) -> House:
        """All of it at once, so that a server which does not answer costs its time once."""
        store = self._store
        doubt, backlogs, backup, health, redis = await asyncio.gather(
            _part(store.attempts.in_doubt(), None),
            _part(store.traces.backlog(), []),
            _part(store.backups.last(), None),
            _part(store.health.latest(), []),
            _part(self._authority.server_load(), None),
        )
        return House(doubt=doubt, backlogs=backlogs, backup=backup, health=health, redis=redis)

    async def _uses(self, states: Sequence[BudgetState], day: date) -> list[AgentUse]:
        """Agents that spent today, the dearest first, then those that are configured."""
        today = [
            s for s in states if s.period == "day" and s.window == str(day) and s.scope.startswith("agent:")
        ]
        today.sort(key=lambda state: -state.spent_nano_usd)
        names = dict.fromkeys([*(s.scope.partition(":")[2] for s in today), *self._agents])
        return list(
            await asyncio.gather(*(self._authority.utilization(each) for each in [*names][:MOST_AGENTS]))
        )

    async def _switch_names(self) -> set[str]:
        return {*self._names, *await _part(self._authority.known_switches(), {})}


async def _part(asked: Awaitable[_T], otherwise: _T) -> _T:
    """What is asked; something else when a server does not answer in time."""
    try:
        return await asyncio.wait_for(asked, ASK_SECONDS)
    except (CurbError, TimeoutError) as error:
        log.warning("a metric is left out", error=str(error) or "no answer in time")
        return otherwise


def _families(seen: Shared, teams: Mapping[str, Team]) -> Iterable[Metric]:
    yield gauge(
        "llm_budget_remaining_dollars", "Dollars left of an agent's day", ("agent",),
        [((u.agent,), _left(u) / NANO_PER_USD) for u in seen.uses if u.limit_nano_usd is not None],
    )  # fmt: skip
    yield gauge(
        "llm_budget_utilization_ratio", "Used share of an agent's day, held money included", ("agent",),
        [((u.agent,), u.ratio) for u in seen.uses if u.limit_nano_usd],
    )  # fmt: skip
    yield gauge(
        "llm_cost_velocity_dollars_per_minute", "Dollars a minute over the velocity window", ("agent",),
        [((u.agent,), _velocity(u)) for u in seen.uses],
    )  # fmt: skip
    yield gauge(
        "llm_monthly_budget_utilization", "Used share of a department's month; '' is everybody's",
        ("department", "project"), _months(seen.months, teams),
    )  # fmt: skip
    yield gauge(
        "llm_kill_switch_active", "1 for a switch that is set", ("scope", "target"),
        [(_switch(name), 1.0) for name in sorted(seen.switches)],
    )  # fmt: skip
    yield gauge(
        "llm_cache_hit_ratio", "Share of today's attempts that the cache answered", ("agent",),
        [((each.name,), each.cached / each.attempts) for each in seen.hits if each.attempts],
    )  # fmt: skip


def _left(use: AgentUse) -> int:
    used = use.spent_nano_usd + use.held_nano_usd + use.in_doubt_nano_usd
    return max((use.limit_nano_usd or 0) - used, 0)


def _velocity(use: AgentUse) -> float:
    return use.velocity_nano_usd / NANO_PER_USD / max(use.velocity_window_seconds / 60, 1e-9)


def _months(states: Sequence[BudgetState], teams: Mapping[str, Team]) -> list[tuple[tuple[str, str], float]]:
    """By department and project: what their teams have used of what they have together."""
    used: Counter[tuple[str, str]] = Counter()
    limits: Counter[tuple[str, str]] = Counter()
    for state in states:
        kind, _, name = state.scope.partition(":")
        if state.limit_nano_usd and kind in ("team", "global"):
            team = teams.get(name, Team()) if kind == "team" else Team()
            label = (team.department or name, team.project)
            used[label] += used_nano_usd(state)
            limits[label] += state.limit_nano_usd
    return [(label, used[label] / limit) for label, limit in limits.items()]


def _switch(name: str) -> tuple[str, str]:
    """(scope, target): `kill:agent:x` is (agent, x), `throttle:agent:x` is (throttle, x)."""
    action, _, rest = name.partition(":")
    kind, _, target = rest.partition(":")
    return ("throttle" if action == "throttle" else kind), target
