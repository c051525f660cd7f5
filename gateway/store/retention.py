"""Retention: removing what was kept long enough, a bounded number of rows at a time.

What may go, and why the rest may not, is in docs/decisions/010-retention.md. The ledger and the
audit log are append-only, by triggers; nothing here touches them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from gateway.store import tables_days
from gateway.store.database import Connection, Database, run

TABLES = (tables_days.retention_marks,)
ATTEMPTS = "attempts"
STATEMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "conversations": ("retire_items", "retire_conversations"),
        "run_events": ("retire_run_events",),
        "runs": ("retire_runs",),
        "alerts": (
            "retire_events",
            "retire_alert_sightings",
            "retire_alerts",
            "retire_deliveries",
            "retire_silences",
            "retire_episodes",
        ),
        "switch_events": ("retire_switch_events",),
        "top_ups": ("retire_top_ups",),
        "dead_events": ("retire_dead_events",),
        "probes": ("retire_probes",),
        "usage": ("retire_usage_hours", "retire_usage_users", "retire_latency_hours"),
        "reconciliations": ("retire_reconciliations", "retire_provider_costs", "retire_unattributed_usage"),
        "violations": ("retire_rate_limit_violations",),
        "scheduled_work": ("retire_scheduled_work",),
        "traces": ("retire_traces",),
        "files": ("retire_files", "retire_batches"),
        "http_answers": ("expire_http_answers", "expire_cached"),
        "housekeeping": ("retire_epochs", "retire_claims", "retire_processes"),
    }
)
"""By class of data (gateway.policy.retention), in this order. Attempts have a way of their own."""
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Thinned:
    """What was done with attempts. more: there may be more to do."""

    removed: int
    thinned: int
    more: bool


class Retention:
    """Removes rows; every method may be called again, and by several at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remove(self, statement: str, before: datetime, *, limit: int) -> int:
        """Run one of STATEMENTS; returns how many rows are gone. As many as `limit`: there may be more."""
        return len(await self._database.rows(statement, before=before, limit=limit))

    async def thin_attempts(self, before: datetime, *, limit: int) -> Thinned:
        """Go on where the last call stopped, within one hour of attempts; only hours that end by `before`.

        Attempts that cost nothing are removed, those that were billed keep their account. Call
        `store.usage.freeze_before` first. Attempts of runs that are alive stay as they are.
        """

        async def thin(connection: Connection) -> Thinned:
            first = await _mark(connection)
            if first is None or first + _HOUR > before:
                return Thinned(0, 0, more=False)
            [row] = await run(connection, "thin_attempts", first=first, last=first + _HOUR, limit=limit)
            done = row["removed"] + row["thinned"]
            if done < limit:
                following = first + _HOUR
                if not done:
                    following = await _quiet_until(connection, following, before)
                await run(connection, "set_retention_mark", name=ATTEMPTS, kept_from=following)
            return Thinned(row["removed"], row["thinned"], more=True)

        return await self._database.transact(thin)

    async def oldest(self) -> dict[str, datetime]:
        """How far back each class goes; attempts: since when they are whole."""
        return {row["name"]: row["at"] for row in await self._database.rows("oldest_kept")}


async def _quiet_until(connection: Connection, after: datetime, before: datetime) -> datetime:
    [found] = await run(connection, "quiet_until", after=after)
    quiet_until: datetime = found["at"]
    last_hour = before.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return max(after, min(quiet_until, last_hour))


async def _mark(connection: Connection) -> datetime | None:
    """The first hour that has not been gone through; None: there are no attempts."""
    known = await run(connection, "retention_mark", name=ATTEMPTS)
    [found] = known or await run(connection, "first_attempt_hour")
    hour: datetime | None = found["hour"]
    if hour is not None and not known:
        await run(connection, "set_retention_mark", name=ATTEMPTS, kept_from=hour)
    return hour
