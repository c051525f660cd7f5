"""What providers say they billed: row by row (the simulator's invoice), or in sums (their usage APIs)."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, Protocol

import httpx

from gateway.config import GatewayConfig
from gateway.errors import CurbError
from gateway.policy.sums import Counts

TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_KIND_OF_ID = r"^(?:req_|chatcmpl-|resp_|msg_)"


class UsageUnavailable(CurbError):
    """The provider's usage cannot be read."""


def attempt_of_answer(id: str) -> str:
    """The attempt of a request that did not name one, by the provider's id of the request or its answer.

    The two differ only in a prefix for their kind, where one can be told from the other at all.
    """
    return f"usage:{re.sub(_KIND_OF_ID, '', id)}"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One request as the provider bills it. client_request_id: the attempt's id, as it was sent.

    state: `final`, or `open` while the amount may still change. at_ms: Unix milliseconds.
    """

    client_request_id: str
    provider: str
    model: str
    amount_nano_usd: int
    state: Literal["open", "final"]
    at_ms: int
    id: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def attempt_id(self) -> str:
        """The attempt this belongs to; a row that names none gets an attempt of its own."""
        return self.client_request_id or attempt_of_answer(self.id or f"{self.provider}:{self.at_ms}")

    def plus(self, other: "UsageRow") -> "UsageRow":
        """Two rows of one attempt as one: a request that was sent twice is billed twice."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in ("amount_nano_usd", *TOKENS)}
        both_final = self.state == other.state == "final"
        return replace(
            self, state="final" if both_final else "open", at_ms=min(self.at_ms, other.at_ms), **sums
        )


class UsageSource(Protocol):
    """Where a provider tells what it billed."""

    def covers(self, provider: str) -> bool:
        """Whether all that this provider bills is here, so that what is not was not billed."""
        ...

    def rows(self, since_ms: int = 0, until_ms: int | None = None) -> AsyncIterator[UsageRow]:
        """Rows with since_ms <= at_ms < until_ms. Raises UsageUnavailable."""
        ...


Width = Literal["1m", "1h", "1d"]


@dataclass(frozen=True, slots=True)
class UsageBucket:
    """What one model used in one stretch of time, as the provider counts it; Unix milliseconds.

    model: as the provider calls it. requests: None where it does not count them.
    """

    model: str
    from_ms: int
    to_ms: int
    counts: Counts
    requests: int | None = None


class BucketSource(Protocol):
    """Where a provider tells in sums what was used: never which request it was.

    exclusive: the key that is counted is curb's alone, so that a sum that the books cannot explain is
    in doubt or unknown to curb, and not somebody else's.
    """

    @property
    def provider(self) -> str: ...
    @property
    def exclusive(self) -> bool: ...

    async def buckets(self, from_ms: int, to_ms: int, width: Width) -> list[UsageBucket]:
        """Usage from one time to another, both whole widths of UTC. Raises UsageUnavailable."""
        ...

    async def costs(self, first: date, until: date) -> dict[date, int] | None:
        """Nano-dollars billed for each whole day (UTC), `until` not included; a day that is missing was not
        billed yet. None: what is billed cannot be told apart for this key. Raises UsageUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class SimulatorInvoice:
    """The simulated provider's `GET /invoice`. url: of the simulator, or of the invoice itself.

    covered: the names of the providers that it plays; None: all that there are.
    """

    url: str
    provider: str = "simulator"
    timeout_seconds: float = 30.0
    covered: frozenset[str] | None = None

    def covers(self, provider: str) -> bool:
        return self.covered is None or provider in self.covered

    async def rows(self, since_ms: int = 0, until_ms: int | None = None) -> AsyncIterator[UsageRow]:
        address = self.url if self.url.rstrip("/").endswith("/invoice") else f"{self.url.rstrip('/')}/invoice"
        try:
            async with httpx.AsyncClient(timeout=self.timeout_seconds) as client:
                response = await client.get(address)
                response.raise_for_status()
                found = [_usage_row(row, self.provider) for row in response.json()["rows"]]
        except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
            raise UsageUnavailable(f"the invoice at {address} cannot be read: {error!r}") from error
        for row in found:
            if since_ms <= row.at_ms and (until_ms is None or row.at_ms < until_ms):
                yield row


def invoice_source(config: GatewayConfig) -> UsageSource | None:
    """The row-by-row usage that is configured: of one simulator, for the providers that it plays."""
    told = {name: each.invoice_url for name, each in config.providers.items() if each.invoice_url}
    if len(urls := set(told.values())) != 1:
        return None
    return SimulatorInvoice(urls.pop(), covered=frozenset(told))


async def invoice_of(usage: UsageSource) -> dict[str, UsageRow]:
    """The whole invoice by attempt."""
    invoice: dict[str, UsageRow] = {}
    async for row in usage.rows():
        known = invoice.get(row.attempt_id)
        invoice[row.attempt_id] = row if known is None else known.plus(row)
    return invoice


def _usage_row(row: dict[str, Any], provider: str) -> UsageRow:
    return UsageRow(
        client_request_id=str(row["client_request_id"] or ""),
        provider=provider,
        model=str(row["model"]),
        amount_nano_usd=int(row["amount_nano_usd"]),
        state="final" if row["state"] == "final" else "open",
        at_ms=int(row["at_ms"]),
        id=str(row.get("id") or ""),
        **{name: int(row.get(name) or 0) for name in TOKENS},
    )
