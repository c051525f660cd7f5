"""What the anomaly sweep reads, and what it remembers. Call `Usage.refresh` before."""

import hashlib
from collections.abc import Sequence
from datetime import date
from typing import Any

from gateway.policy.anomaly import DayBefore, Finding, Spending
from gateway.policy.anomaly_calls import Durations, Outcomes
from gateway.policy.cost_thresholds import CostThreshold, SpendPeriod, Spent, least_amount
from gateway.policy.episodes import Episode
from gateway.policy.sweep_moment import Moment
from gateway.store.database import Database

_PERIODS: tuple[SpendPeriod, ...] = ("hour", "day", "month")


class Anomalies:
    """Questions of the sweep for one moment, all of them read-only, and its episodes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spent_since(self, moment: Moment, window_seconds: float) -> int:
        """What was settled for everybody in the last seconds before the moment, in nano-dollars."""
        row = await self._database.row("spent_since", now=moment.now, window_seconds=window_seconds)
        return int(row["spent_nano_usd"]) if row else 0

    async def spending(self, moment: Moment, *, least_hour: int, least_today: int) -> list[Spending]:
        """Agents that have spent enough this hour or today to be looked at, with their days before."""
        rows = await self._database.rows(
            "spending_of_agents",
            **_place(moment),
            least_hour=max(least_hour, 1),
            least_today=max(least_today, 1),
        )
        agents = [str(row["agent"]) for row in rows]
        past = await self._days(moment, agents) if agents else {}
        return [Spending(**row, days=past.get(row["agent"], ())) for row in rows]

    async def spent(self, moment: Moment, thresholds: Sequence[CostThreshold]) -> list[Spent]:
        """What the scopes that thresholds are about have spent in each of their periods."""
        kinds = {threshold.kind for threshold in thresholds}
        found = []
        for kind in sorted(kinds):
            asked = [threshold for threshold in thresholds if threshold.kind == kind]
            monthly = any(threshold.period == "month" for threshold in asked)
            parameters = {
                "since": moment.month_begins if monthly else moment.today,
                "least": least_amount(asked),
            }
            rows = await self._spent_by(kind, moment, parameters)
            found += [
                Spent(_scope(kind, row["name"]), period, moment.windows[period], row[period])
                for row in rows
                if row["name"] or kind == "global"
                for period in _PERIODS
            ]
        return found

    async def outcomes(self, moment: Moment, window_seconds: float) -> list[Outcomes]:
        """How the calls of each agent ended in the last seconds before the moment."""
        rows = await self._database.rows("outcomes_of_agents", **_window(moment, window_seconds))
        return [Outcomes(**row) for row in rows]

    async def outcome(self, moment: Moment, window_seconds: float) -> Outcomes:
        """The same for the logical calls of everybody: one that succeeded in the end has succeeded."""
        row = await self._database.row("outcome_of_calls", **_window(moment, window_seconds))
        return Outcomes("", **(row or {"calls": 0, "errors": 0}))

    async def durations(
        self, moment: Moment, window_seconds: float, *, minimum_calls: int
    ) -> list[Durations]:
        """How long successful calls took at deployments that had enough of them."""
        rows = await self._database.rows(
            "durations_of_deployments",
            **_window(moment, window_seconds),
            minimum_calls=max(minimum_calls, 1),
        )
        return [Durations(**row) for row in rows if row["p95_ms"] is not None]

    async def cached(self, moment: Moment, window_seconds: float) -> tuple[int, int]:
        """(calls, those of them that the cache answered)."""
        row = await self._database.row("cached_calls", **_window(moment, window_seconds))
        return (int(row["calls"]), int(row["cached"])) if row else (0, 0)

    async def episodes(self) -> list[Episode]:
        """What was found and goes on."""
        return [Episode(**row) for row in await self._database.rows("episodes")]

    async def found(self, finding: Finding, moment: Moment, *, told: bool, acted: bool) -> None:
        """Remember that a finding holds at the moment; told, acted: what was done about it now."""
        await self._database.rows(
            "put_episode",
            key=episode_key(finding.rule, finding.scope, finding.window),
            rule=finding.rule,
            scope=finding.scope,
            window=finding.window,
            severity=finding.severity,
            at=moment.now,
            told=told,
            acted=acted,
        )

    async def ended(self, episode: Episode) -> None:
        """Forget an episode that is over."""
        await self._database.rows("end_episode", key=episode_key(*episode.name))

    async def _days(self, moment: Moment, agents: Sequence[str]) -> dict[str, list[DayBefore]]:
        """Each agent's days since it was first seen, the newest first; days without spending are 0."""
        rows = await self._database.rows(
            "days_of_agents",
            agents=list(agents),
            days=list(moment.days),
            same_hours=list(moment.days.values()),
        )
        by_agent: dict[str, dict[date, DayBefore]] = {}
        for row in rows:
            by_agent.setdefault(row["agent"], {})[row["day"]] = DayBefore(
                row["whole_nano_usd"], row["so_far_nano_usd"], row["hour_nano_usd"]
            )
        nothing = DayBefore(0, 0, 0)
        return {
            agent: [seen.get(day, nothing) for day in moment.days if day >= min(seen)]
            for agent, seen in by_agent.items()
        }

    async def _spent_by(self, kind: str, moment: Moment, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        if kind == "user":
            return await self._database.rows("spent_by_user", **_place(moment), **parameters)
        return await self._database.rows("spent_by_scope", **_place(moment), **parameters, by=kind)


def episode_key(rule: str, scope: str, window: str) -> str:
    """A name of bounded length: a scope may be as long as a caller makes it."""
    return hashlib.blake2b(f"{rule}\n{scope}\n{window}".encode(), digest_size=16).hexdigest()


def _place(moment: Moment) -> dict[str, Any]:
    return {"now": moment.now, "hour": moment.hour, "today": moment.today, "late": moment.late}


def _window(moment: Moment, window_seconds: float) -> dict[str, Any]:
    return {"now": moment.now, "window_seconds": window_seconds}


def _scope(kind: str, name: str) -> str:
    return kind if kind == "global" else f"{kind}:{name}"
