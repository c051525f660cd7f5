"""Prices: genai-prices as installed, and our overlay over it, as the values that policy works on.

The data comes from the installed package and from configuration, never over the network: what a
call costs must not change because some other library in the process updated its tables.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from importlib.metadata import version

from genai_prices import types
from genai_prices.data_snapshot import DataSnapshot

from gateway.config import Deployment
from gateway.overlay import Overlay
from gateway.policy.money import NANO_PER_USD
from gateway.policy.pricing import Bracket, Card, Price, Rates, ceiling_price

_SOURCE = "genai-prices"
_BATCH = {"processing": "batch"}
_HALF = Fraction(1, 2)
_PER_THOUSAND_REQUESTS = 1_000
_MOST_FOUND = 1_024  # names of models, which clients may make up
_TOKEN_PRICES = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "output_reasoning_mtok")

_Prices = types.ModelPrice | list[types.ConditionalPrice]


class PriceBook:
    """Looks prices up. Build one per process: it reads the whole price list (about half a second)."""

    def __init__(self, overlay: Sequence[Mapping[str, object]] = ()) -> None:
        """overlay: entries as gateway.overlay describes; they win over the list.

        Raises ConfigurationError that names the entry and the field.
        """
        from genai_prices.data import providers  # 1.6 MB of literals: only when it is wanted

        self._list = DataSnapshot(providers=providers, from_auto_update=False)
        self._overlay = Overlay(overlay)
        self._version = version(_SOURCE)
        self._known: dict[tuple[str, str, str, tuple[int, ...]], Price | None] = {}
        self._found = lru_cache(_MOST_FOUND)(self._find)  # the list is what it is; to search it takes long

    def price(self, provider: str, model: str, at: datetime, *, embeds: bool = False) -> Price | None:
        """Return the price of a model at a time (aware; naive means UTC), or None: no price, no call.

        embeds: whether it is to make embeddings; only then a price of input alone is one.

        The overlay first, then the list by the provider's exact id there. A provider that the list
        does not know (a proxy) may name the model as `provider/model` of one that it does.
        """
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        found = self._overlay.price(provider, model, at) or self._listed(provider, model, at)
        return None if found is not None and found.input_only and not embeds else found

    def for_deployment(self, deployment: Deployment, at: datetime) -> Price | None:
        """Return the price of a deployment, else its configured ceiling, else None (I10)."""
        model, embeds = deployment.price_model or deployment.model, deployment.kind == "embedding"
        known = self.price(deployment.provider, model, at, embeds=embeds)
        if known is not None or deployment.ceiling_nano_usd_per_mtok is None:
            return known
        return ceiling_price(deployment.provider, deployment.model, deployment.ceiling_nano_usd_per_mtok)

    def _listed(self, provider: str, model: str, at: datetime) -> Price | None:
        found = self._found(provider, model)
        if found is None:
            return None
        source, info = found
        standard, since = _standard(info.prices, at)
        variants = _batch_variants(info, at)
        key = (source.id, info.id, since, variants)
        if key not in self._known:
            batch = info.get_prices(at, _BATCH) if variants else None
            price_id = f"{_SOURCE}@{self._version}/{source.id}/{info.id}{since}"
            self._known[key] = _price(price_id, source.id, info.id, standard, batch)
        return self._known[key]

    def _find(self, provider: str, model: str) -> tuple[types.Provider, types.ModelInfo] | None:
        if not self._is_listed(provider):
            provider, _, model = model.partition("/")
        if not model or not self._is_listed(provider):
            return None
        try:
            return self._list.find_provider_model(model, None, provider.lower(), None)
        except LookupError:
            return None

    def _is_listed(self, provider: str) -> bool:
        return any(known.id == provider.lower() for known in self._list.providers)


def _standard(prices: _Prices, at: datetime) -> tuple[types.ModelPrice, str]:
    """Pick the prices that hold at a time, with what tells them from others of the same model."""
    if isinstance(prices, types.ModelPrice):
        return prices, ""
    holding = (c for c in reversed(prices) if c.constraint is None or c.constraint.active(at))
    chosen = next(holding, prices[0])
    return chosen.prices, _since(chosen.constraint)


def _since(constraint: types.StartDateConstraint | types.TimeOfDateConstraint | None) -> str:
    if constraint is None:
        return ""
    if isinstance(constraint, types.StartDateConstraint):
        return f"@{constraint.start_date.isoformat()}"
    return f"@{constraint.start_time:%H:%M}-{constraint.end_time:%H:%M}"


def _batch_variants(info: types.ModelInfo, at: datetime) -> tuple[int, ...]:
    return tuple(
        i
        for i, variant in enumerate(info.price_variants or ())
        if variant.when == _BATCH and (variant.constraint is None or variant.constraint.active(at))
    )


def _price(
    price_id: str, provider: str, model: str, standard: types.ModelPrice, batch: types.ModelPrice | None
) -> Price | None:
    card = _card(standard)
    if card is None or card.base.dearest_input == card.base.dearest_output == 0:
        return None
    batch_card = _card(batch) if batch is not None else None
    only = standard.output_mtok is None
    return Price(price_id, provider, model, card, batch_card or card.scaled(_HALF), input_only=only)


def _card(price: types.ModelPrice) -> Card | None:
    """Translate one list entry; None when input has no token price. Embeddings have none for output."""
    if price.input_mtok is None:
        return None
    values = (getattr(price, name) for name in _TOKEN_PRICES)
    tiered = [value for value in values if isinstance(value, types.TieredPrices)]
    starts = sorted({tier.start for value in tiered for tier in value.tiers})
    return Card(
        _rates(price, 0),
        tuple(Bracket(start, _rates(price, start + 1)) for start in starts),
        _nano(price.requests_kcount or Decimal(0), 0) / _PER_THOUSAND_REQUESTS,
    )


def _rates(price: types.ModelPrice, prompt_tokens: int) -> Rates:
    """Resolve the rates of a prompt length; kinds without a price cost plain input or output, and output
    without one what input does: nothing is free by accident."""
    plain_in = price.input_mtok or Decimal(0)
    plain_out = plain_in if price.output_mtok is None else price.output_mtok
    chosen = (
        plain_in,
        plain_out,
        plain_in if price.cache_read_mtok is None else price.cache_read_mtok,
        plain_in if price.cache_write_mtok is None else price.cache_write_mtok,
        plain_out if price.output_reasoning_mtok is None else price.output_reasoning_mtok,
    )
    return Rates(*(_nano(value, prompt_tokens) for value in chosen))


def _nano(value: Decimal | types.TieredPrices, prompt_tokens: int) -> Fraction:
    """Turn dollars into nano-dollars, at the tier that a prompt of this length falls into."""
    if isinstance(value, types.TieredPrices):
        longer = [tier.price for tier in value.tiers if prompt_tokens > tier.start]
        value = longer[-1] if longer else value.base
    return Fraction(value) * NANO_PER_USD
