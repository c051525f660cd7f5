"""The anomaly sweep, as activities: the sweep itself, and what is said when it does not work."""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict
from temporalio import activity

from activities.dependencies import Dependencies
from activities.supervision import Supervision
from gateway.policy.periods import Calendar
from gateway.sweep import Sweep

_SCOPE = "workflow:anomaly-sweep"


class SweepResult(BaseModel):
    """How many findings held in that minute, how many were told, and how many episodes ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minute: str
    found: int = 0
    told: int = 0
    over: int = 0


class SweepActivities:
    """Over gateway.sweep.Sweep."""

    def __init__(self, dependencies: Dependencies, supervision: Supervision) -> None:
        self._store = dependencies.store
        known = dependencies.gateway.calendar
        own = Calendar(known.zone, known.day_start_seconds)
        self._sweep = Sweep(dependencies.authority, dependencies.store, own, supervision.sweep)

    @activity.defn
    async def sweep(self, at: datetime) -> SweepResult:
        """Sweep the minute that `at` lies in; done twice it tells nothing twice."""
        swept = await self._sweep.sweep(at, datetime.now(UTC))
        return SweepResult(minute=_minute(at), found=swept.found, told=swept.told, over=swept.over)

    @activity.defn
    async def tell_sweep_failure(self, at: datetime, reason: str) -> None:
        """Say that two sweeps in a row have failed: nobody watches costs now."""
        await self._store.events.alert(
            "supervision_failed", _SCOPE, {"reason": reason}, key=f"sweep:{_minute(at)}:failed"
        )

    @activity.defn
    async def tell_sweep_recovery(self, at: datetime) -> None:
        """Say that sweeps work again."""
        await self._store.events.alert(
            "supervision_failed", _SCOPE, {}, key=f"sweep:{_minute(at)}:works", state="resolved"
        )


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%MZ}"
