"""One provider's account: what it reports, how complete that is, and what its models cost.

A provider counts late. A stretch of time is complete once it is `complete_after_seconds` old and the
provider has reported something later; where it has not, only after `PATIENCE` times as long.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

from gateway.config import GatewayConfig
from gateway.policy.pricing import Price
from gateway.policy.sums import Counts, SumRules
from gateway.prices import PriceBook
from gateway.store import AttemptRow
from gateway.usage import BucketSource, UsageBucket

DAYS = 3
PATIENCE = 6
MARGIN = timedelta(minutes=1)
"""How far off a provider's clock may be, and how long it may take to count."""
_DATED = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")


class Account:
    """One provider at one instant."""

    def __init__(
        self,
        source: BucketSource,
        prices: PriceBook,
        config: GatewayConfig,
        rules: SumRules,
        now: datetime,
    ) -> None:
        self.source = source
        self.provider = source.provider
        self.rules = rules
        self.now = now
        self._prices = prices
        self._config = config
        self._hours: Sequence[UsageBucket] = ()

    @property
    def first_day(self) -> datetime:
        """Midnight (UTC) of the first day that is looked at."""
        return datetime.combine(self.now.date() - timedelta(days=DAYS - 1), time(), UTC)

    async def read(self) -> None:
        """Ask for the hours of the last days, up to the last one that is over. Raises UsageUnavailable."""
        self._hours = await self.source.buckets(ms(self.first_day), ms(whole_hour(self.now)), "1h")

    def is_complete(self, until: datetime) -> bool:
        """Whether the provider has counted everything before this."""
        if self.now - until < self.rules.complete_after:
            return False
        reported = max((hour.from_ms for hour in self._hours if hour.counts), default=0)
        return reported >= ms(until) or self.is_long_over(until)

    def is_long_over(self, until: datetime) -> bool:
        """Whether no more is to be expected of the time before this."""
        return self.now - until >= PATIENCE * self.rules.complete_after

    def reported(self, start: datetime, end: datetime) -> dict[str, Counts]:
        """What was reported for the hours of a stretch, by plain model name."""
        by_model: dict[str, Counts] = {}
        for hour in self._hours:
            if ms(start) <= hour.from_ms and hour.to_ms <= ms(end):
                model = plain_model(hour.model)
                by_model[model] = by_model.get(model, Counts()) + hour.counts
        return by_model

    def price_of(self, row: AttemptRow) -> Price | None:
        """What the model of an attempt cost then."""
        deployment = self._config.deployments.get(row["deployment"])
        if deployment is not None:
            return self._prices.for_deployment(deployment, row["at"])
        return self._prices.price(self.provider, row["model"], row["at"])

    def price(self, model: str) -> Price | None:
        """What a model costs now, by its plain name."""
        for deployment in self._config.deployments.values():
            if deployment.provider == self.provider and plain_model(deployment.model) == model:
                return self._prices.for_deployment(deployment, self.now)
        return self._prices.price(self.provider, model, self.now)


def plain_model(name: str) -> str:
    """A model's name without the date of its snapshot, which providers add in their usage."""
    return _DATED.sub("", name)


def whole_hour(at: datetime) -> datetime:
    """The hour that an instant lies in."""
    return at.replace(minute=0, second=0, microsecond=0)


def ms(at: datetime) -> int:
    """Unix milliseconds."""
    return int(at.timestamp() * 1000)


def token_columns(counts: Counts) -> dict[str, int]:
    """Counts under the names that settlements and evidence have for them."""
    return {
        "input_tokens": counts.input,
        "output_tokens": counts.output,
        "cache_read_tokens": counts.cache_read,
        "cache_write_tokens": counts.cache_write,
    }
