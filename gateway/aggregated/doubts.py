"""Resolving what is in doubt by a provider's minutes."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from gateway.aggregated.account import DAYS, MARGIN, Account, ms, plain_model, token_columns
from gateway.policy.sums import MINUTE_MS, Counts, Share, Span, Spent, Undecided, solve, spans
from gateway.settling import Settler
from gateway.store import AttemptRow, Store
from gateway.usage import UsageBucket

LINGERS = timedelta(minutes=10)
"""A request that was cut off may go on at the provider for so long."""
_REACH = timedelta(hours=6)
_EDGE = timedelta(hours=1)  # as long as a call can take that began before what was read
_ONE_PAGE_MS = 1_440 * MINUTE_MS
_MOST_SENT = 50_000
_TOO_BUSY, _NOT_YET = "too busy to tell requests apart", "not complete yet"

Found = tuple[Span, str]
"""A span, and the plain name of its model."""


class Doubts:
    """The attempts of one provider that nobody knows the cost of. left: spans left in doubt, by reason."""

    def __init__(self, store: Store, settler: Settler, account: Account) -> None:
        self._store = store
        self._settler = settler
        self._account = account
        self.left: Counter[str] = Counter()

    async def resolve(self) -> None:
        """Settle what the sums decide. Raises UsageUnavailable, StateUnavailable, StoreUnavailable."""
        account = self._account
        undecided = await self._store.reconciliations.undecided(
            account.provider,
            since=account.now - timedelta(days=DAYS),
            until=account.now - account.rules.complete_after,
        )
        if not undecided:
            return
        rows = {row["attempt_id"]: row for row in undecided}
        found = await self._spans(undecided)
        for page in _pages(found):
            minutes = await account.source.buckets(page[0][0].from_ms, max(s.to_ms for s, _ in page), "1m")
            for span, model in page:
                await self._resolve(span, model, minutes, rows)

    async def _spans(self, undecided: Sequence[AttemptRow]) -> list[Found]:
        """The spans that hold something undecided and lie between quiet minutes, in the order of time."""
        since, until = undecided[0]["at"] - _REACH, undecided[-1]["at"] + _REACH
        sent = await self._store.reconciliations.sent(
            self._account.provider, since=since, until=until, limit=_MOST_SENT + 1
        )
        if len(sent) > _MOST_SENT:
            self.left[_TOO_BUSY] += 1
            return []
        found: list[Found] = []
        for model in sorted({plain_model(row["model"]) for row in undecided}):
            of_it = [_spent(row) for row in sent if plain_model(row["model"]) == model]
            found += [(span, model) for span in spans(of_it) if span.doubts]
        edges = ms(since + _EDGE), ms(until - _EDGE)
        return sorted(
            (each for each in found if self._is_clear(each[0], *edges)), key=lambda each: each[0].from_ms
        )

    def _is_clear(self, span: Span, first_ms: int, last_ms: int) -> bool:
        """Whether quiet is known before and after the span, and the provider has counted all of it."""
        reason = ""
        if span.from_ms <= first_ms or span.to_ms >= last_ms or span.to_ms - span.from_ms > _ONE_PAGE_MS:
            reason = _TOO_BUSY
        elif not self._account.is_complete(datetime.fromtimestamp(span.to_ms / 1000, UTC)):
            reason = _NOT_YET
        if reason:
            self.left[reason] += 1
        return not reason

    async def _resolve(
        self, span: Span, model: str, minutes: Sequence[UsageBucket], rows: dict[str, AttemptRow]
    ) -> None:
        mine = [
            each
            for each in minutes
            if plain_model(each.model) == model and span.from_ms <= each.from_ms < span.to_ms
        ]
        reported = sum((each.counts for each in mine), Counts())
        known = [rows[each.attempt_id] for each in span.doubts if each.attempt_id in rows]
        prices = {price.id: price for row in known if (price := self._account.price_of(row)) is not None}
        price = next(iter(prices.values())) if len(prices) == 1 else None
        solution = solve(span, reported, _requests(mine), price)
        if isinstance(solution, Undecided):
            self.left[solution.reason] += 1
        elif len(known) < len(span.doubts):  # one of them is too young to be looked at
            self.left[_NOT_YET] += 1
        else:
            for share in solution:
                await self._apply(rows[share.attempt_id], share, len(solution))

    async def _apply(self, row: AttemptRow, share: Share, of: int) -> None:
        if row["state"] == "settled":  # at its estimate
            booked = (await self._store.attempts.booked([row["attempt_id"]]))[row["attempt_id"]]
            if not booked.adjustments:  # once: a share that is rounded would be adjusted for ever
                await self._settler.adjust(booked, share.amount_nano_usd)
            return
        said = {"source": "usage_api", "shared_by": of}
        await self._settler.settle(row, share.amount_nano_usd, "invoice", token_columns(share.counts), said)


def _spent(row: AttemptRow) -> Spent:
    """An attempt with the stretch in which its provider may have counted it."""
    known = row["state"] == "settled" and row["basis"] != "estimate"
    counts = Counts(
        row["input_tokens"], row["output_tokens"], row["cache_read_tokens"], row["cache_write_tokens"]
    )
    return Spent(
        row["attempt_id"],
        ms(row["at"] - MARGIN),
        ms(row["ended_at"] + (MARGIN if known else LINGERS)),
        counts if known else Counts(),
        known=known,
        pending=row["state"] == "pending",
        counted=known and bool(row["success"]),
        estimate_nano_usd=row["estimate_nano_usd"],
        bound_nano_usd=row["reserved_nano_usd"],
    )


def _requests(minutes: Sequence[UsageBucket]) -> int | None:
    """How many requests the provider counted; None where it does not count them."""
    counted = [each.requests for each in minutes if each.requests is not None]
    return sum(counted) if len(counted) == len(minutes) and minutes else None


def _pages(found: Sequence[Found]) -> list[list[Found]]:
    """Spans that one page of minutes holds together."""
    pages: list[list[Found]] = []
    for each in found:
        if pages and each[0].to_ms - pages[-1][0][0].from_ms <= _ONE_PAGE_MS:
            pages[-1].append(each)
        else:
            pages.append([each])
    return pages
