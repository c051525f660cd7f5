"""Usage that a provider tells in sums only: what it decides about attempts that are in doubt.

A provider's usage API says what a model used in a stretch of time: tokens by kind, sometimes the number of
requests. Whether it counts a request when it began or when it ended is not said, so an attempt may be in
any minute between, with a margin on both sides. Attempts whose stretches touch form a *span*; what the
provider reports for a span belongs to the attempts of that span and to nobody else, as far as the key is
curb's alone.

    rest = reported - what is settled in the span

- a rest of nothing: all that is in doubt there cost nothing;
- one attempt in doubt: the rest is its usage, priced exactly;
- several: what they cost together is known, who of them cost what is not. They share it in proportion to
  their estimates (what had been received of each by then), whole nano-dollars, exactly summing up, no one
  above its bound. The total is the provider's; only the split is an approximation, and it is nearer to the
  truth than each one's estimate, which is what they would be settled at otherwise;
- what does not fit stays in doubt: a rest below zero or above what was held, calls in flight, more
  requests than there are attempts, prices that depend on how long each prompt was.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from gateway.policy.pricing import Card, Price, cost
from gateway.policy.usage import Usage

MINUTE_MS = 60_000
KINDS = ("input", "output", "cache_read", "cache_write")


@dataclass(frozen=True, slots=True)
class SumRules:
    """complete_after_seconds: how old a stretch of time is before a provider has counted all of it."""

    complete_after_seconds: float = 7_200.0

    @property
    def complete_after(self) -> timedelta:
        return timedelta(seconds=self.complete_after_seconds)


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens by the kinds that do not overlap, as in Usage; differences of two may be negative."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return self._each(other, int.__add__)

    def __sub__(self, other: "Counts") -> "Counts":
        return self._each(other, int.__sub__)

    def __bool__(self) -> bool:
        return any(getattr(self, kind) for kind in KINDS)

    @property
    def negative(self) -> bool:
        return any(getattr(self, kind) < 0 for kind in KINDS)

    @property
    def positive(self) -> "Counts":
        """Without what is below zero."""
        return self._each(self, lambda mine, _: max(mine, 0))

    @property
    def usage(self) -> Usage:
        return Usage(self.input, self.output, self.cache_read, self.cache_write)

    def _each(self, other: "Counts", do: Callable[[int, int], int]) -> "Counts":
        return Counts(*(do(getattr(self, kind), getattr(other, kind)) for kind in KINDS))


@dataclass(frozen=True, slots=True)
class Spent:
    """An attempt as the books have it, and when its provider may have counted it (Unix milliseconds).

    known: its counts are final. pending: it is in flight. counted: the provider has certainly counted
    a request for it. estimate, bound: what it may have cost, in nano-dollars, where it is not known.
    """

    attempt_id: str
    from_ms: int
    to_ms: int
    counts: Counts = Counts()
    known: bool = True
    pending: bool = False
    counted: bool = True
    estimate_nano_usd: int = 0
    bound_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """Attempts whose stretches touch, and the whole minutes that they lie in."""

    from_ms: int
    to_ms: int
    attempts: tuple[Spent, ...]

    @property
    def doubts(self) -> tuple[Spent, ...]:
        return tuple(attempt for attempt in self.attempts if not attempt.known)


@dataclass(frozen=True, slots=True)
class Share:
    """What one attempt comes to."""

    attempt_id: str
    amount_nano_usd: int
    counts: Counts


@dataclass(frozen=True, slots=True)
class Undecided:
    """The sums do not say; why."""

    reason: str


def spans(attempts: Iterable[Spent]) -> list[Span]:
    """Group attempts into spans, in the order of time. No two spans share a minute."""
    found: list[Span] = []
    for each in sorted(attempts, key=lambda attempt: (attempt.from_ms, attempt.attempt_id)):
        start = each.from_ms // MINUTE_MS * MINUTE_MS
        end = -(-max(each.to_ms, each.from_ms + 1) // MINUTE_MS) * MINUTE_MS
        if found and start < found[-1].to_ms:
            last = found[-1]
            found[-1] = Span(last.from_ms, max(last.to_ms, end), (*last.attempts, each))
        else:
            found.append(Span(start, end, (each,)))
    return found


def solve(
    span: Span, reported: Counts, requests: int | None, price: Price | None
) -> tuple[Share, ...] | Undecided:
    """What the attempts in doubt of a span cost, given what the provider reports for it.

    requests: None where the provider does not count them. Shares are in the order of attempt ids.
    """
    doubts = sorted(span.doubts, key=lambda attempt: attempt.attempt_id)
    if why := _contradiction(span, requests):
        return Undecided(why)
    rest = reported
    for attempt in span.attempts:
        rest -= attempt.counts if attempt.known else Counts()
    if rest.negative:
        return Undecided("the provider reports less than what is booked")
    if not rest:
        return tuple(Share(attempt.attempt_id, 0, Counts()) for attempt in doubts)
    if price is None:
        return Undecided("no price is known")
    if len(doubts) > 1 and not _is_linear(price, rest):
        return Undecided("the price depends on how long each prompt was")
    amount = int(cost(price, rest.usage))
    bounds = [attempt.bound_nano_usd for attempt in doubts]
    if amount > sum(bounds):
        return Undecided("the provider reports more than was held")
    amounts = share(amount, [attempt.estimate_nano_usd for attempt in doubts], bounds)
    return _shares(doubts, amounts, rest)


def share(total: int, weights: Sequence[int], caps: Sequence[int]) -> list[int]:
    """Split a total in proportion to weights, in whole numbers that sum up to it, none above its cap.

    Largest remainders first, then the earlier one. Without any weight the room below the caps weighs.
    Raises ValueError for more than the caps hold.
    """
    if total > sum(caps) or total < 0:
        raise ValueError(f"{total} cannot be shared among caps of {sum(caps)}")
    given = [0] * len(caps)
    left = total
    while left:
        room = [cap - part for cap, part in zip(caps, given, strict=True)]
        wanted = [weight if free else 0 for weight, free in zip(weights, room, strict=True)]
        parts = _proportional(left, wanted if any(wanted) else room)
        for i, part in enumerate(parts):
            given[i] += min(part, room[i])
        left = total - sum(given)
    return given


def _proportional(total: int, weights: Sequence[int]) -> list[int]:
    """By largest remainders; the weights are not all zero."""
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(parts)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def _contradiction(span: Span, requests: int | None) -> str:
    if any(attempt.pending for attempt in span.attempts):
        return "calls are in flight"
    if requests is None:
        return ""
    if requests > len(span.attempts):
        return "the provider counts requests that no attempt explains"
    if requests < sum(attempt.known and attempt.counted for attempt in span.attempts):
        return "the provider has not counted everything yet"
    return ""


def _is_linear(price: Price, rest: Counts) -> bool:
    """Whether these tokens cost the same however they are spread over requests."""
    card = price.card()
    longest = rest.usage.prompt_tokens
    return not card.request_nano_usd and not any(longest > bracket.above_tokens for bracket in card.brackets)


def _shares(doubts: Sequence[Spent], amounts: Sequence[int], rest: Counts) -> tuple[Share, ...]:
    """The tokens follow the money."""
    weights = amounts if any(amounts) else [1] * len(amounts)
    kinds = {
        kind: share(total, weights, [total] * len(doubts)) for kind in KINDS if (total := getattr(rest, kind))
    }
    return tuple(
        Share(
            attempt.attempt_id,
            amount,
            Counts(**{kind: parts[i] for kind, parts in kinds.items()}),
        )
        for i, (attempt, amount) in enumerate(zip(doubts, amounts, strict=True))
    )


def list_price(price: Price, counts: Counts) -> int:
    """What tokens cost at the base rates, in nano-dollars: for showing, where single requests are unknown."""
    base = Card(price.card().base)
    return int(cost(replace(price, standard=base), counts.positive.usage))
