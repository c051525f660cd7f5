"""What the providers' usage comes to beside the books, and what each hour's reconciliation found."""

import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from gateway.policy.sums import KINDS, Counts
from gateway.store import tables_health
from gateway.store.attempts import AttemptRow
from gateway.store.database import Database

TABLES = (tables_health.unattributed_usage, tables_health.provider_costs, tables_health.reconciliations)
_LOCK = 0x6375_7262_0006


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What one hour's reconciliation found and did. Amounts in nano-dollars.

    invoice_nano_usd: None where no exact usage is to be had. unattributed_nano_usd: what providers report
    beyond the books, for the last days. differences: counters that do not agree with the ledger. detail:
    small numbers and reasons, as JSON.
    """

    hour: datetime
    ledger_nano_usd: int = 0
    invoice_nano_usd: int | None = None
    in_doubt_nano_usd: int = 0
    pending_nano_usd: int = 0
    unattributed_nano_usd: int = 0
    settled: int = 0
    adjusted: int = 0
    adopted: int = 0
    left_open: int = 0
    counters: int = 0
    differences: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unattributed:
    """What a provider reports for a day (UTC) and a model that no attempt explains.

    amount_nano_usd: at the list price; None where there is none.
    """

    provider: str
    model: str
    day: date
    exclusive: bool
    counts: Counts
    amount_nano_usd: int | None
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProviderCosts:
    """What a provider bills for a day (UTC) and what the ledger has for it, give or take the tolerance."""

    provider: str
    day: date
    billed_nano_usd: int
    ledger_nano_usd: int
    tolerance_nano_usd: int
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BookedSum:
    """What the books have for one model in a stretch of time, without and with what reaches over its edges.

    open_nano_usd: the bounds of what is not known yet.
    """

    model: str
    inside: Counts
    touching: Counts
    ledger_inside_nano_usd: int
    ledger_touching_nano_usd: int
    open_nano_usd: int


class Reconciliations:
    """The tables reconciliations, unattributed_usage, provider_costs, and the questions behind them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """Yields whether nobody else reconciles meanwhile."""
        async with self._database.advisory_lock(_LOCK) as held:
            yield held

    async def get(self, hour: datetime) -> Reconciliation | None:
        """What was found for this hour; None when it was not reconciled yet."""
        row = await self._database.row("get_reconciliation", hour=hour)
        return None if row is None else Reconciliation(**row)

    async def keep(self, found: Reconciliation) -> None:
        """Write an hour down; the first one stays."""
        values = asdict(found) | {"detail": json.dumps(dict(found.detail))}
        del values["at"]
        await self._database.rows("keep_reconciliation", **values)

    async def latest(self, *, before: datetime | None = None, limit: int = 1) -> list[Reconciliation]:
        """The last reconciliations, newest first."""
        rows = await self._database.rows("last_reconciliations", before=before, limit=limit)
        return [Reconciliation(**row) for row in rows]

    async def undecided(
        self, provider: str, *, since: datetime, until: datetime, limit: int = 1_000
    ) -> list[AttemptRow]:
        """Attempts of a provider that are in doubt or were settled at their estimate, oldest first."""
        return await self._database.rows(
            "undecided_attempts", provider=provider, since=since, until=until, limit=limit
        )

    async def sent(self, provider: str, *, since: datetime, until: datetime, limit: int) -> list[AttemptRow]:
        """What was sent to a provider, or may have been; `ended_at` beside the columns of `attempts`."""
        return await self._database.rows(
            "sent_attempts", provider=provider, since=since, until=until, limit=limit
        )

    async def sums(
        self, provider: str, *, since: datetime, until: datetime, margin: timedelta
    ) -> list[BookedSum]:
        """What the books have for a stretch of time, by model. margin: how far off clocks may be."""
        rows = await self._database.rows(
            "sums_of_stretch", provider=provider, since=since, until=until, margin=margin
        )
        return [
            BookedSum(
                row["model"],
                Counts(*(row[f"{kind}_inside"] for kind in KINDS)),
                Counts(*(row[f"{kind}_touching"] for kind in KINDS)),
                row["ledger_inside"],
                row["ledger_touching"],
                row["open_nano_usd"],
            )
            for row in rows
        ]

    async def put_unattributed(self, provider: str, day: date, found: Collection[Unattributed]) -> None:
        """Replace what a provider reports for a day beyond the books."""
        for each in found:
            await self._database.rows(
                "put_unattributed",
                provider=provider,
                model=each.model,
                day=day,
                exclusive=each.exclusive,
                amount=each.amount_nano_usd,
                **{kind: getattr(each.counts, kind) for kind in KINDS},
            )
        models = [each.model for each in found]
        await self._database.rows("keep_unattributed", provider=provider, day=day, models=models)

    async def unattributed(self, first: date, last: date) -> list[Unattributed]:
        """What providers report for these days beyond the books."""
        rows = await self._database.rows("unattributed", first=first, last=last)
        return [
            Unattributed(
                row["provider"],
                row["model"],
                row["day"],
                row["exclusive"],
                Counts(*(row[f"{kind}_tokens"] for kind in KINDS)),
                row["amount_nano_usd"],
                row["seen_at"],
            )
            for row in rows
        ]

    async def put_costs(self, costs: ProviderCosts) -> None:
        """Keep what a provider bills for a day."""
        await self._database.rows(
            "put_provider_costs",
            provider=costs.provider,
            day=costs.day,
            billed=costs.billed_nano_usd,
            ledger=costs.ledger_nano_usd,
            tolerance=costs.tolerance_nano_usd,
        )

    async def costs(self, first: date, last: date) -> list[ProviderCosts]:
        """What providers bill for these days."""
        rows = await self._database.rows("provider_costs", first=first, last=last)
        return [ProviderCosts(**row) for row in rows]
