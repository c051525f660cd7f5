"""What was spent, by whatever is asked for: sums over accounting days, from usage_hours."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from gateway.store.database import Database
from gateway.store.figures import UsageSum

CUTS = (
    "agent", "model", "provider", "tier", "team", "feature", "application", "endpoint", "key", "mode",
    "hour", "day", "month", "",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UserSpending:
    """What one user came to; '' for calls that name nobody."""

    name: str
    cost_nano_usd: int
    attempts: int


class Spending:
    """Sums of several days. Call `store.usage.refresh()` before, for figures of this moment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by(
        self, cut: str, first_day: date, last_day: date, *, limit: int = 1_000, offset: int = 0
    ) -> Sequence[UsageSum]:
        """Sums by one of CUTS, the dearest first, hours and days in order; '' is one row for everything.

        Days without any usage are left out. Raises ValueError for another cut.
        """
        if cut not in CUTS:
            raise ValueError(f"spending is not kept by {cut}")
        rows = await self._database.rows(
            "spending_by", by=cut, first_day=first_day, last_day=last_day, limit=limit, offset=offset
        )
        return [UsageSum(**row) for row in rows]

    async def by_user(
        self,
        first_day: date,
        last_day: date,
        *,
        user: str | None = None,
        limit: int = 1_000,
        offset: int = 0,
    ) -> Sequence[UserSpending]:
        """Costs and attempts of users, the dearest first. user: of this one only."""
        rows = await self._database.rows(
            "spending_of_users",
            first_day=first_day,
            last_day=last_day,
            user=user,
            limit=limit,
            offset=offset,
        )
        return [UserSpending(**row) for row in rows]
