"""OpenAI: GET /organization/usage/completions and /organization/costs, with an admin key.

Buckets are Unix seconds. input_tokens include cached ones and those written to the cache; the latter are
priced as plain input, as gateway.providers.usage takes them from answers. Costs are dollars as JSON numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from gateway.config import Provider
from gateway.policy.sums import Counts
from gateway.providers.usage_apis.pages import MOST_BUCKETS, counts, nano_usd, pages, usage_key
from gateway.usage import UsageBucket, UsageUnavailable, Width

_MOST_DAYS = 180


@dataclass(frozen=True, slots=True)
class OpenAIUsage:
    """See gateway.usage.BucketSource."""

    source: Provider

    @property
    def provider(self) -> str:
        return self.source.name

    @property
    def exclusive(self) -> bool:
        return self.source.exclusive_key

    async def buckets(self, from_ms: int, to_ms: int, width: Width) -> list[UsageBucket]:
        parameters = [
            ("start_time", str(from_ms // 1000)),
            ("end_time", str(to_ms // 1000)),
            ("bucket_width", width),
            ("limit", str(MOST_BUCKETS[width])),
            ("group_by", "model"),
            *self._key_only(),
        ]
        found: list[UsageBucket] = []
        async for bucket in pages(
            self.source, "/organization/usage/completions", parameters, self._headers()
        ):
            try:
                stretch = int(bucket["start_time"]) * 1000, int(bucket["end_time"]) * 1000
                found += [self._bucket(*stretch, result) for result in bucket.get("results") or ()]
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise UsageUnavailable(
                    f"{self.provider}: a usage bucket cannot be read: {error!r}"
                ) from error
        return found

    async def costs(self, first: date, until: date) -> dict[date, int] | None:
        parameters = [
            ("start_time", str(_midnight(first))),
            ("end_time", str(_midnight(until))),
            ("bucket_width", "1d"),
            ("limit", str(_MOST_DAYS)),
            *self._key_only(),
        ]
        billed: dict[date, int] = {}
        async for bucket in pages(self.source, "/organization/costs", parameters, self._headers()):
            try:
                day = datetime.fromtimestamp(int(bucket["start_time"]), UTC).date()
                results = bucket.get("results") or ()
                amounts = [
                    nano_usd(self.source, (each.get("amount") or {}).get("value") or 0) for each in results
                ]
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise UsageUnavailable(f"{self.provider}: a cost bucket cannot be read: {error!r}") from error
            if amounts:
                billed[day] = billed.get(day, 0) + sum(amounts)
        return billed

    def _bucket(self, from_ms: int, to_ms: int, result: Mapping[str, Any]) -> UsageBucket:
        whole = counts(
            self.source,
            result,
            input="input_tokens",
            output="output_tokens",
            cache_read="input_cached_tokens",
        )
        fresh = Counts(whole.input - whole.cache_read, whole.output, whole.cache_read)
        requests = int(result.get("num_model_requests") or 0)
        return UsageBucket(str(result.get("model") or ""), from_ms, to_ms, fresh, requests)

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {usage_key(self.source)}"}

    def _key_only(self) -> list[tuple[str, str]]:
        key_id = self.source.usage_api_key_id
        return [("api_key_ids", key_id)] if key_id else []


def _midnight(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
