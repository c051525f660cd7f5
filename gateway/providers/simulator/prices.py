"""What the simulator charges: its own table, in exact fractions, each amount rounded once, half up.

The facts are those of genai-prices 0.2.3 (a test compares them); they are written out here so that
a mistake in curb's own pricing cannot repeat itself in the invoice. Dollars per million tokens.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction

_NANO_USD_PER_TOKEN = 1_000  # of one dollar per million tokens
_DATED = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars per million tokens; None: this kind does not exist (no prompt cache)."""

    input: str
    output: str
    cache_read: str | None = None
    cache_write: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """rates: while the prompt has at most long_from tokens; beyond, long_rates for everything.

    flat_from: the day (UTC) from which the long bracket no longer applies. context_tokens: prompts
    beyond it are refused.
    """

    context_tokens: int
    rates: Rates
    long_from: int | None = None
    long_rates: Rates | None = None
    flat_from: date | None = None

    @property
    def caches(self) -> bool:
        return self.rates.cache_read is not None


@dataclass(slots=True)
class Tokens:
    """Tokens by kind. input excludes cached ones; output includes reasoning."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


_TABLE = {
    "llama-3.1-8b-instant": Model(131_072, Rates("0.05", "0.08")),
    "gemini-2.5-flash-lite": Model(1_000_000, Rates("0.1", "0.4", "0.01")),
    "gemini-2.5-flash": Model(1_048_576, Rates("0.3", "2.5", "0.03")),
    "gemini-2.5-pro": Model(1_048_576, Rates("1.25", "10", "0.125"), 200_000, Rates("2.5", "15", "0.25")),
    "gpt-5-mini": Model(400_000, Rates("0.25", "2", "0.025")),
    "gpt-5.2": Model(400_000, Rates("1.75", "14", "0.175")),
    "claude-sonnet-4-5": Model(
        1_000_000, Rates("3", "15", "0.3", "3.75"), 200_000, Rates("6", "22.5", "0.6", "7.5")
    ),
    "claude-opus-4-6": Model(
        1_000_000,
        Rates("5", "25", "0.5", "6.25"),
        200_000,
        Rates("10", "37.5", "1", "12.5"),
        date(2026, 3, 13),
    ),
    "meta-llama/Llama-3-70b-chat-hf": Model(8_192, Rates("0.9", "0.9")),
    "meta-llama/Llama-3-8b-chat-hf": Model(8_192, Rates("0.2", "0.2")),
    "text-embedding-3-small": Model(8_192, Rates("0.02", "0")),
    "text-embedding-3-large": Model(8_192, Rates("0.13", "0")),
}


def find(name: str) -> Model | None:
    """The model of this name; a date at its end and a provider before a slash are passed over."""
    for candidate in (name, _DATED.sub("", name), _DATED.sub("", name.rpartition("/")[2])):
        if candidate in _TABLE:
            return _TABLE[candidate]
    return None


def names() -> tuple[str, ...]:
    return tuple(_TABLE)


def amount_nano_usd(model: Model, tokens: Tokens, at_ms: int, *, batch: bool = False) -> int:
    """What these tokens cost, in nano-dollars, at Unix milliseconds; rounded once, half up. batch: half."""
    rates = _applicable(model, tokens.input + tokens.cache_read + tokens.cache_write, at_ms)
    exact = (
        tokens.input * _per_token(rates.input)
        + tokens.output * _per_token(rates.output)
        + tokens.cache_read * _per_token(rates.cache_read)
        + tokens.cache_write * _per_token(rates.cache_write)
    )
    exact = exact / 2 if batch else exact
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)


def _applicable(model: Model, prompt_tokens: int, at_ms: int) -> Rates:
    if model.long_from is None or model.long_rates is None or prompt_tokens <= model.long_from:
        return model.rates
    flat = model.flat_from is not None and datetime.fromtimestamp(at_ms / 1000, UTC).date() >= model.flat_from
    return model.rates if flat else model.long_rates


def _per_token(dollars_per_mtok: str | None) -> Fraction:
    """Nano-dollars for one token; zero for kinds that the model does not have (and never counts)."""
    return Fraction(dollars_per_mtok or "0") * _NANO_USD_PER_TOKEN
