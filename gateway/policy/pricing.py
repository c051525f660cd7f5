"""What an attempt costs, and the most it can cost. Exact fractions, rounded once, half up."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from gateway.policy.money import NanoUsd, round_half_up
from gateway.policy.usage import Usage

TOKENS_PER_RATE = 1_000_000


@dataclass(frozen=True, slots=True)
class Rates:
    """Nano-dollars per million tokens, by kind; fractions, because some prices need them.

    A provider without a price of its own for a kind charges it as plain input or output:
    whoever builds Rates fills that in.
    """

    input: Fraction
    output: Fraction
    cache_read: Fraction
    cache_write: Fraction
    reasoning: Fraction

    @property
    def dearest_input(self) -> Fraction:
        return max(self.input, self.cache_read, self.cache_write)

    @property
    def dearest_output(self) -> Fraction:
        return max(self.output, self.reasoning)

    def scaled(self, factor: Fraction) -> "Rates":
        """Return every rate times a factor."""
        return Rates(
            self.input * factor,
            self.output * factor,
            self.cache_read * factor,
            self.cache_write * factor,
            self.reasoning * factor,
        )


@dataclass(frozen=True, slots=True)
class Bracket:
    """Rates of prompts longer than `above_tokens`: then they hold for every token of the attempt."""

    above_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Card:
    """All rates of one model in one way of processing: the base and its long-context brackets.

    brackets: ascending. request_nano_usd: charged per request beside the tokens.
    """

    base: Rates
    brackets: tuple[Bracket, ...] = ()
    request_nano_usd: Fraction = Fraction(0)

    def rates(self, prompt_tokens: int) -> Rates:
        """Return the rates that a prompt of this length is charged at."""
        return next(
            (bracket.rates for bracket in reversed(self.brackets) if prompt_tokens > bracket.above_tokens),
            self.base,
        )

    def reachable(self, prompt_tokens: int) -> Iterator[Rates]:
        """Yield all rates that a prompt of at most this length can be charged at."""
        yield self.base
        for bracket in self.brackets:
            if prompt_tokens > bracket.above_tokens:
                yield bracket.rates

    def scaled(self, factor: Fraction) -> "Card":
        """Return every token rate times a factor; the charge per request stays."""
        return Card(
            self.base.scaled(factor),
            tuple(Bracket(b.above_tokens, b.rates.scaled(factor)) for b in self.brackets),
            self.request_nano_usd,
        )


@dataclass(frozen=True, slots=True)
class Price:
    """What one model costs at one time, under an id that says where the numbers come from.

    id: source, version, provider, model and, for dated prices, since when. batch: the rates of the
    provider's batch API. input_only: of a model that makes embeddings, and cannot be asked for answers.
    """

    id: str
    provider: str
    model: str
    standard: Card
    batch: Card
    input_only: bool = False

    def card(self, *, batch: bool = False) -> Card:
        return self.batch if batch else self.standard


def cost(price: Price, usage: Usage, *, batch: bool = False) -> NanoUsd:
    """Charge reported usage. Raises ValueError for negative token counts."""
    _not_negative(
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )
    card = price.card(batch=batch)
    rates = card.rates(usage.prompt_tokens)
    reasoning = min(usage.reasoning_tokens, usage.output_tokens)
    return _rounded(
        card,
        usage.input_tokens * rates.input
        + usage.cache_read_tokens * rates.cache_read
        + usage.cache_write_tokens * rates.cache_write
        + (usage.output_tokens - reasoning) * rates.output
        + reasoning * rates.reasoning,
    )


def upper_bound(
    price: Price, input_tokens: int, output_tokens: int, n: int = 1, *, batch: bool = False
) -> NanoUsd:
    """Bound the cost of a request with at most so many prompt tokens and, n times, output tokens.

    Each side at the dearest rate that a prompt up to this length can be charged at: cache writes and
    long-context brackets for the input, reasoning for the output. Raises ValueError for
    negative token counts and for n below 1.
    """
    _not_negative(input_tokens, output_tokens)
    if n < 1:
        raise ValueError(f"n is {n}: at least one answer must be asked for")
    card = price.card(batch=batch)
    rates = tuple(card.reachable(input_tokens))
    return _rounded(
        card,
        input_tokens * max(rate.dearest_input for rate in rates)
        + output_tokens * n * max(rate.dearest_output for rate in rates),
    )


def ceiling_price(provider: str, model: str, nano_usd_per_mtok: int) -> Price:
    """Price a model that nobody has a price for at a configured ceiling, batch or not (I10).

    Raises ValueError for a ceiling that is not above zero: nothing is free by accident.
    """
    if nano_usd_per_mtok <= 0:
        raise ValueError(f"{provider}/{model}: the ceiling price must be above zero")
    rate = Fraction(nano_usd_per_mtok)
    card = Card(Rates(rate, rate, rate, rate, rate))
    return Price(f"ceiling@{nano_usd_per_mtok}/{provider}/{model}", provider, model, card, card)


def _rounded(card: Card, nano_usd_times_million: Fraction) -> NanoUsd:
    return round_half_up(nano_usd_times_million / TOKENS_PER_RATE + card.request_nano_usd)


def _not_negative(*counts: int) -> None:
    if min(counts) < 0:
        raise ValueError(f"token counts {counts}: none can be negative")
