"""What a period came to: the sums and counts that reports are made of. Money in nano-dollars.

Money and tokens come from usage_hours, by accounting day; call `store.usage.refresh()` first. What
happened (runs, refusals, alerts) comes from its own tables, by time, `since` <= t < `until`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from gateway.store.database import Connection, Database, run

Row = Mapping[str, Any]
CUTS = ("agent", "model", "team", "feature", "hour", "day", "")


@dataclass(frozen=True, slots=True)
class UsageSum:
    """Usage under one name."""

    name: str
    cost_nano_usd: int = 0
    attempts: int = 0
    errors: int = 0
    refusals: int = 0
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    saved_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class UserSum:
    """What a user came to; name None: all that are not among the dearest, `names` of them."""

    name: str | None
    cost_nano_usd: int
    attempts: int
    names: int


@dataclass(frozen=True, slots=True)
class RunSum:
    """Runs of an agent that ended in one way. valued: for how many it is known what they would be worth.

    value is that of the completed ones, which shadow mode has none of.
    """

    agent: str
    mode: str
    status: str
    runs: int
    valued: int
    value_nano_usd: int


@dataclass(frozen=True, slots=True)
class OpenSum:
    """Attempts of which nobody knows yet what they cost, pending or in doubt: at most the bound."""

    attempts: int
    bound_nano_usd: int
    estimate_nano_usd: int


@dataclass(frozen=True, slots=True)
class BudgetSum:
    """A scope's daily budgets of several days together. limit None: unlimited on one of them at least."""

    scope: str
    limit_nano_usd: int | None
    spent_nano_usd: int
    overrun_nano_usd: int = 0
    refusals: int = 0


class Figures:
    """Sums over days and counts over times."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(
        self, first_day: date, last_day: date, *, top: int
    ) -> tuple[dict[str, list[UsageSum]], list[UserSum]]:
        """Sums by cut: agent, model, team, feature, hour, day, and '' with one row for everything; and the
        `top` dearest users, with all others in one line where there are any. All of one moment, so that
        parts add up while others book.
        """
        days = {"first_day": first_day, "last_day": last_day}

        async def read(connection: Connection) -> tuple[list[Row], list[Row]]:
            return [*await run(connection, "usage_figures", **days)], [
                *await run(connection, "user_figures", **days, top=top)
            ]

        sums, users = await self._database.snapshot(read)
        found: dict[str, list[UsageSum]] = {cut: [] for cut in CUTS}
        for row in sums:
            values = dict(row)
            found[values.pop("cut")].append(UsageSum(**values))
        return found, [UserSum(**row) for row in users]

    async def cost_of_users(self, first_day: date, last_day: date, names: Sequence[str]) -> dict[str, int]:
        """What these users came to; who spent nothing is left out."""
        rows = await self._database.rows(
            "cost_of_users", first_day=first_day, last_day=last_day, names=list(names)
        )
        return {row["name"]: row["cost_nano_usd"] for row in rows}

    async def days_of_scopes(self, first_day: date, last_day: date) -> dict[str, dict[date, int]]:
        """What each day came to, by scope: global, agent:NAME, team:NAME. Days without any are left out."""
        rows = await self._database.rows("days_of_scopes", first_day=first_day, last_day=last_day)
        found: dict[str, dict[date, int]] = {}
        for row in rows:
            found.setdefault(row["scope"], {})[row["day"]] = row["cost_nano_usd"]
        return found

    async def first_day(self) -> date | None:
        """The first accounting day with any usage on the books."""
        row = await self._database.row("first_day_of_usage")
        return row["day"] if row else None

    async def runs(self, since: datetime, until: datetime) -> list[RunSum]:
        """Runs that ended, and the value entered for those that completed."""
        rows = await self._database.rows("run_figures", since=since, until=until)
        return [RunSum(**row) for row in rows]

    async def ended_badly(
        self, since: datetime, until: datetime, *, statuses: Sequence[str], limit: int
    ) -> list[Row]:
        """Runs that ended as one of these, newest first: id, workflow_id, agent, status, reason, cost, at."""
        return [
            *await self._database.rows(
                "ended_badly", since=since, until=until, statuses=list(statuses), limit=limit
            )
        ]

    async def escalations(self, since: datetime, until: datetime, *, limit: int) -> list[Row]:
        """When people were asked, newest first: id, workflow_id, agent, kind, at; total: of how many."""
        return [*await self._database.rows("escalations", since=since, until=until, limit=limit)]

    async def shadow_actions(self, since: datetime, until: datetime, *, limit: int) -> list[Row]:
        """What shadow agents would have done, most often first: agent, tool, actions, runs."""
        return [*await self._database.rows("shadow_actions", since=since, until=until, limit=limit)]

    async def alerts(self, since: datetime, until: datetime, *, limit: int) -> list[Row]:
        """Alerts by rule and scope (`run` for every run), most first: alerts, first, last; total: all."""
        return [*await self._database.rows("alert_figures", since=since, until=until, limit=limit)]

    async def switches(self, since: datetime, until: datetime, *, limit: int) -> list[Row]:
        """Changes of switches, newest first: name, old, new, at; total: of how many."""
        return [*await self._database.rows("switch_figures", since=since, until=until, limit=limit)]

    async def refusals(self, since: datetime, until: datetime, *, limit: int) -> list[Row]:
        """Refusals by kind and scope (`run` for every run), most first: refusals; total: all."""
        return [*await self._database.rows("refusal_figures", since=since, until=until, limit=limit)]

    async def errors(self, since: datetime, until: datetime, *, limit: int) -> list[Row]:
        """Attempts that failed or are in doubt, by type and provider, most first: errors; total: all."""
        return [*await self._database.rows("error_figures", since=since, until=until, limit=limit)]

    async def open(self, since: datetime, until: datetime) -> OpenSum:
        """What is not settled at this moment, of attempts that began in the period."""
        row = await self._database.row("open_figures", since=since, until=until)
        assert row is not None, "an aggregate without GROUP BY has one row"
        return OpenSum(**row)

    async def closed_days(self, days: Sequence[str], *, preliminary: bool) -> set[str]:
        """Which of these accounting days are closed. preliminary: those that were closed early too."""
        rows = await self._database.rows("closed_days", days=list(days), preliminary=preliminary)
        return {row["window_id"] for row in rows}

    async def budgets(self, days: Sequence[str]) -> list[BudgetSum]:
        """The snapshots of these closed days, added up by scope."""
        rows = await self._database.rows("budget_figures", days=list(days))
        return [BudgetSum(**row) for row in rows]

    async def last_reconciliation(self, until: datetime) -> Row | None:
        """The newest: hour, at, ledger_nano_usd, invoice_nano_usd (None: none to be had), differences."""
        return await self._database.row("last_reconciliation", until=until)
