"""The price overlay: prices that configuration states, dated and tiered, over those of the list.

One entry, in dollars per million tokens (text or numbers, read exactly as written):

    - provider: together            # as the deployment names it; "*" for any
      model: meta-llama/Llama-3-*   # exact, or everything that begins so
      from: 2026-01-01              # optional: the UTC date since when it holds
      input: "0.20"
      output: "0.20"
      cache_read: "0.02"            # optional; without it a cache read costs what input costs
      cache_write: "0.25"           # optional; likewise
      reasoning: "0.20"             # optional; without it reasoning costs what output costs
      request: "0.005"              # optional: dollars for each request
      above:                        # optional: for prompts longer than so many tokens
        - {tokens: 200000, input: "0.40", output: "0.30"}
      batch: {input: "0.10", output: "0.10"}   # optional; without it batch costs half

What `above` and `batch` leave out follows from their own input and output in the same way.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import NoReturn

from gateway.errors import ConfigurationError
from gateway.policy.money import NANO_PER_USD
from gateway.policy.pricing import Bracket, Card, Price, Rates

_HALF = Fraction(1, 2)
_RATES = frozenset({"input", "output", "cache_read", "cache_write", "reasoning"})
_FIELDS = _RATES | {"provider", "model", "from", "request", "above", "batch"}


class Overlay:
    """Finds the entry that holds for a model at a time."""

    def __init__(self, entries: Sequence[Mapping[str, object]]) -> None:
        """Raise ConfigurationError, which names the entry and the field, for what cannot be read."""
        self._entries = tuple(_entry(each, f"prices[{i}]") for i, each in enumerate(entries))

    def price(self, provider: str, model: str, at: datetime) -> Price | None:
        """Return the most specific entry's price, the newest of several; the last listed breaks ties."""
        day = at.astimezone(UTC).date()
        fitting = [each for each in self._entries if each.fits(provider, model) and each.since <= day]
        if not fitting:
            return None
        best = max(reversed(fitting), key=lambda each: (each.specificity, each.since))
        return best.price(provider, model)


@dataclass(frozen=True, slots=True)
class _Entry:
    provider: str
    model: str
    since: date
    digest: str
    standard: Card
    batch: Card

    @property
    def specificity(self) -> tuple[bool, bool, int]:
        return not self.model.endswith("*"), self.provider != "*", len(self.model)

    def fits(self, provider: str, model: str) -> bool:
        if self.provider not in ("*", provider.lower()):
            return False
        if self.model.endswith("*"):
            return model.lower().startswith(self.model[:-1])
        return model.lower() == self.model

    def price(self, provider: str, model: str) -> Price:
        since = "" if self.since == date.min else f"@{self.since.isoformat()}"
        price_id = f"overlay@{self.digest}/{provider}/{model}{since}"
        return Price(price_id, provider, model, self.standard, self.batch)


def _entry(raw: Mapping[str, object], where: str) -> _Entry:
    _known(raw, _FIELDS, where)
    standard = _card(raw, where)
    batch = raw.get("batch")
    if batch is None:
        batch_card = standard.scaled(_HALF)
    else:
        fields = _mapping(batch, f"{where}.batch")
        _known(fields, _RATES | {"request", "above"}, f"{where}.batch")
        batch_card = _card(fields, f"{where}.batch")
    return _Entry(
        provider=_text(raw, "provider", where).lower(),
        model=_text(raw, "model", where).lower(),
        since=_date(raw.get("from"), f"{where}.from"),
        digest=hashlib.sha256(json.dumps(raw, sort_keys=True, default=str).encode()).hexdigest()[:8],
        standard=standard,
        batch=batch_card,
    )


def _card(raw: Mapping[str, object], where: str) -> Card:
    above = raw.get("above", ())
    if not isinstance(above, Sequence) or isinstance(above, str):
        _wrong(f"{where}.above", "must be a list of {tokens, input, output}")
    brackets = [_bracket(each, f"{where}.above[{i}]") for i, each in enumerate(above)]
    brackets.sort(key=lambda bracket: bracket.above_tokens)
    if len({bracket.above_tokens for bracket in brackets}) < len(brackets):
        _wrong(f"{where}.above", "names the same number of tokens twice")
    request = _nano(raw.get("request", 0), f"{where}.request")
    return Card(_rates(raw, where), tuple(brackets), request)


def _bracket(raw: object, where: str) -> Bracket:
    fields = _mapping(raw, where)
    _known(fields, _RATES | {"tokens"}, where)
    tokens = fields.get("tokens")
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
        _wrong(f"{where}.tokens", "must be a whole number of tokens, zero or more")
    return Bracket(tokens, _rates(fields, where))


def _rates(raw: Mapping[str, object], where: str) -> Rates:
    rates = {name: _nano(raw[name], f"{where}.{name}") for name in _RATES if raw.get(name) is not None}
    for needed in ("input", "output"):
        if needed not in rates:
            _wrong(f"{where}.{needed}", "is missing; write dollars per million tokens")
    return Rates(
        rates["input"],
        rates["output"],
        rates.get("cache_read", rates["input"]),
        rates.get("cache_write", rates["input"]),
        rates.get("reasoning", rates["output"]),
    )


def _nano(value: object, where: str) -> Fraction:
    """Read dollars into nano-dollars. A float's shortest text is what stood in the YAML."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        _wrong(where, f"must be an amount of dollars, not {value!r}")
    try:
        dollars = Decimal(str(value).strip().removeprefix("$"))
    except InvalidOperation:
        _wrong(where, f"must be an amount of dollars, for example 0.05, not {value!r}")
    if not dollars.is_finite() or dollars < 0:
        _wrong(where, f"must be zero or more, not {value!r}")
    return Fraction(dollars) * NANO_PER_USD


def _text(raw: Mapping[str, object], name: str, where: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value.strip():
        _wrong(f"{where}.{name}", "is missing")
    return value.strip()


def _date(value: object, where: str) -> date:
    if value is None:
        return date.min
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        _wrong(where, f"must be a date such as 2026-01-31, not {value!r}")


def _mapping(raw: object, where: str) -> Mapping[str, object]:
    if not isinstance(raw, Mapping):
        _wrong(where, "must be a mapping of names to dollars per million tokens")
    return raw


def _known(raw: Mapping[str, object], fields: frozenset[str], where: str) -> None:
    unknown = sorted(str(name) for name in raw if name not in fields)
    if unknown:
        _wrong(f"{where}.{unknown[0]}", f"is not known here; known are {', '.join(sorted(fields))}")


def _wrong(where: str, what: str) -> NoReturn:
    raise ConfigurationError(f"{where} {what}")
