"""Anthropic: GET /v1/organizations/usage_report/messages and /cost_report, with an admin key.

Buckets are RFC 3339. Kinds of tokens do not overlap; requests are not counted. Costs are cents as decimal
strings; the cost report knows workspaces and no keys, so for one key of several it says nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from gateway.config import Provider
from gateway.providers.usage_apis.pages import MOST_BUCKETS, counts, nano_usd, pages, usage_key
from gateway.usage import UsageBucket, UsageUnavailable, Width

_VERSION = "2023-06-01"
_CENTS_PER_USD = 100


@dataclass(frozen=True, slots=True)
class AnthropicUsage:
    """See gateway.usage.BucketSource."""

    source: Provider

    @property
    def provider(self) -> str:
        return self.source.name

    @property
    def exclusive(self) -> bool:
        return self.source.exclusive_key

    async def buckets(self, from_ms: int, to_ms: int, width: Width) -> list[UsageBucket]:
        key_id = self.source.usage_api_key_id
        parameters = [
            ("starting_at", _rfc3339(datetime.fromtimestamp(from_ms / 1000, UTC))),
            ("ending_at", _rfc3339(datetime.fromtimestamp(to_ms / 1000, UTC))),
            ("bucket_width", width),
            ("limit", str(MOST_BUCKETS[width])),
            ("group_by[]", "model"),
            *([("api_key_ids[]", key_id)] if key_id else []),
        ]
        found: list[UsageBucket] = []
        path = "/v1/organizations/usage_report/messages"
        async for bucket in pages(self.source, path, parameters, self._headers()):
            try:
                stretch = _ms(bucket["starting_at"]), _ms(bucket["ending_at"])
                found += [self._bucket(*stretch, result) for result in bucket.get("results") or ()]
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise UsageUnavailable(
                    f"{self.provider}: a usage bucket cannot be read: {error!r}"
                ) from error
        return found

    async def costs(self, first: date, until: date) -> dict[date, int] | None:
        if self.source.usage_api_key_id:
            return None
        parameters = [
            ("starting_at", f"{first.isoformat()}T00:00:00Z"),
            ("ending_at", f"{until.isoformat()}T00:00:00Z"),
            ("bucket_width", "1d"),
            ("limit", str(MOST_BUCKETS["1d"])),
        ]
        billed: dict[date, int] = {}
        async for bucket in pages(self.source, "/v1/organizations/cost_report", parameters, self._headers()):
            try:
                day = datetime.fromisoformat(bucket["starting_at"]).astimezone(UTC).date()
                results = bucket.get("results") or ()
                amounts = [
                    nano_usd(self.source, each.get("amount") or 0, units_per_usd=_CENTS_PER_USD)
                    for each in results
                ]
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise UsageUnavailable(f"{self.provider}: a cost bucket cannot be read: {error!r}") from error
            if amounts:
                billed[day] = billed.get(day, 0) + sum(amounts)
        return billed

    def _bucket(self, from_ms: int, to_ms: int, result: Mapping[str, Any]) -> UsageBucket:
        fresh = counts(
            self.source,
            result,
            input="uncached_input_tokens",
            output="output_tokens",
            cache_read="cache_read_input_tokens",
        )
        written = counts(
            self.source,
            result.get("cache_creation") or {},
            cache_write=("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
        )
        return UsageBucket(str(result.get("model") or ""), from_ms, to_ms, fresh + written)

    def _headers(self) -> dict[str, str]:
        return {"x-api-key": usage_key(self.source), "anthropic-version": _VERSION}


def _rfc3339(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
