"""A provider's days beside the books: what no attempt explains, what is booked beyond, what is billed."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from gateway.aggregated.account import DAYS, MARGIN, Account, plain_model, token_columns, whole_hour
from gateway.policy.sums import Counts, list_price
from gateway.store import Store
from gateway.store.reconciliations import BookedSum, ProviderCosts, Unattributed

_DAY = timedelta(days=1)
_CENT = 10_000_000
_NOTHING = BookedSum("", Counts(), Counts(), 0, 0, 0)


class Comparison:
    """One provider. unattributed_nano_usd: what was found so far."""

    def __init__(self, store: Store, account: Account) -> None:
        self._store = store
        self._account = account
        self._provider = account.provider
        self._exclusive = account.source.exclusive
        self.unattributed_nano_usd = 0

    async def compare(self) -> None:
        """Compare the last days, keep what differs and tell it. Raises UsageUnavailable, StoreUnavailable."""
        account = self._account
        complete = whole_hour(account.now - account.rules.complete_after)
        for number in range(DAYS):
            start = account.first_day + number * _DAY
            end = min(start + _DAY, complete)
            if end > start:
                await self._compare_day(start, end)
        await self._compare_costs()

    async def _compare_day(self, start: datetime, end: datetime) -> None:
        day = start.date()
        reported = self._account.reported(start, end)
        booked = _by_model(
            await self._store.reconciliations.sums(self._provider, since=start, until=end, margin=MARGIN)
        )
        found: list[Unattributed] = []
        for model in sorted({*reported, *booked}):
            counts, books = reported.get(model, Counts()), booked.get(model, _NOTHING)
            beyond = self._unattributed(model, day, counts - books.touching, books.open_nano_usd)
            if beyond is not None:
                found.append(beyond)
            missing = (books.inside - counts).positive
            if missing and end - start == _DAY and self._account.is_long_over(end):
                await self._tell_missing(model, day, missing)
        await self._store.reconciliations.put_unattributed(self._provider, day, found)
        for each in found:
            self.unattributed_nano_usd += each.amount_nano_usd or 0
            if each.exclusive:
                await self._tell_unattributed(each)

    def _unattributed(self, model: str, day: date, rest: Counts, open_nano_usd: int) -> Unattributed | None:
        """What is left once everything that the books know, or may still hear of, is taken away."""
        counts = rest.positive
        if not counts:
            return None
        price = self._account.price(model)
        amount = None if price is None else list_price(price, counts) - open_nano_usd
        if amount is not None and amount <= 0:
            return None
        return Unattributed(self._provider, model, day, self._exclusive, counts, amount)

    async def _compare_costs(self) -> None:
        """The dollars billed for whole days that are long over."""
        first = self._account.first_day.date()
        billed = await self._account.source.costs(first, self._account.now.date())
        for day, amount in sorted((billed or {}).items()):
            start = datetime.combine(day, time(), UTC)
            if day < first or not self._account.is_long_over(start + _DAY):
                continue
            sums = await self._store.reconciliations.sums(
                self._provider, since=start, until=start + _DAY, margin=MARGIN
            )
            inside = sum(each.ledger_inside_nano_usd for each in sums)
            touching = sum(each.ledger_touching_nano_usd for each in sums)
            open_ = sum(each.open_nano_usd for each in sums)
            # Providers round to cents, and what they bill may lie on either side of midnight.
            tolerance = max(_CENT, amount // 100) + touching - inside + open_
            costs = ProviderCosts(self._provider, day, amount, inside, tolerance)
            await self._store.reconciliations.put_costs(costs)
            if self._exclusive and abs(amount - inside) > tolerance:
                await self._tell_costs(costs)

    async def _tell_unattributed(self, found: Unattributed) -> None:
        evidence = {"amount_nano_usd": found.amount_nano_usd, **token_columns(found.counts)}
        amount = found.amount_nano_usd or 0
        await self._tell("usage_unattributed", found.model, found.day, amount, evidence)

    async def _tell_missing(self, model: str, day: date, missing: Counts) -> None:
        price = self._account.price(model)
        amount = list_price(price, missing) if price is not None else 0
        evidence = {"booked_beyond_nano_usd": amount, **token_columns(missing)}
        await self._tell("invoice_differs", model, day, amount, evidence)

    async def _tell_costs(self, costs: ProviderCosts) -> None:
        evidence = {"invoice_nano_usd": costs.billed_nano_usd, "ledger_nano_usd": costs.ledger_nano_usd}
        difference = abs(costs.billed_nano_usd - costs.ledger_nano_usd)
        await self._tell("invoice_differs", "", costs.day, difference, evidence)

    async def _tell(self, rule: str, model: str, day: date, amount: int, evidence: dict[str, Any]) -> None:
        """Once for a model and a day ('' for all models); again when it has grown tenfold."""
        about = {"provider": self._provider, "model": model or "all", "day": day.isoformat()}
        key = f"{rule}:{self._provider}:{model}:{day.isoformat()}:{len(str(amount))}"
        await self._store.events.alert(rule, f"provider:{self._provider}", about | evidence, key=key)


def _by_model(sums: Iterable[BookedSum]) -> dict[str, BookedSum]:
    """Names of one model, with and without a date, together."""
    found: dict[str, BookedSum] = {}
    for each in sums:
        model = plain_model(each.model)
        known = found.get(model, _NOTHING)
        found[model] = BookedSum(
            model,
            known.inside + each.inside,
            known.touching + each.touching,
            known.ledger_inside_nano_usd + each.ledger_inside_nano_usd,
            known.ledger_touching_nano_usd + each.ledger_touching_nano_usd,
            known.open_nano_usd + each.open_nano_usd,
        )
    return found
