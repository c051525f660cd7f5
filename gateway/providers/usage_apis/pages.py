"""Asking a usage API page after page: bounded, patient with its rate limits, silent about keys."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import httpx

from gateway.config import Provider
from gateway.policy.money import NANO_PER_USD
from gateway.policy.sums import Counts
from gateway.providers.errors import retry_after
from gateway.usage import UsageUnavailable, Width

WIDTH_MS: Mapping[Width, int] = {"1m": 60_000, "1h": 3_600_000, "1d": 86_400_000}
MOST_BUCKETS: Mapping[Width, int] = {"1m": 1_440, "1h": 168, "1d": 31}
_MOST_PAGES = 200
_TRIES = 4
_LONGEST_WAIT_SECONDS = 60.0
_TIMEOUT_SECONDS = 60.0
_WORTH_ANOTHER_TRY = frozenset({429, 500, 502, 503, 504, 529})

Parameters = Sequence[tuple[str, str]]


def usage_key(provider: Provider) -> str:
    """The admin key, read at each use so that it can be rotated; '' when there is none."""
    if provider.usage_key_env and (key := os.environ.get(provider.usage_key_env, "").strip()):
        return key
    if not provider.usage_key_file:
        return ""
    try:
        return Path(provider.usage_key_file).expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageUnavailable(
            f"{provider.name}: usage_key_file {provider.usage_key_file}: {error.strerror}"
        ) from error


async def pages(
    provider: Provider, path: str, parameters: Parameters, headers: Mapping[str, str]
) -> AsyncIterator[dict[str, Any]]:
    """Every bucket of every page, as the API words it. Raises UsageUnavailable."""
    page: list[tuple[str, str]] = []
    async with httpx.AsyncClient(base_url=provider.usage_url.rstrip("/"), timeout=_TIMEOUT_SECONDS) as client:
        for _ in range(_MOST_PAGES):
            answer = await _ask(client, provider, path, [*parameters, *page], headers)
            for bucket in answer.get("data") or ():
                yield bucket
            if not answer.get("has_more"):
                return
            page = [("page", str(answer.get("next_page")))]
    raise UsageUnavailable(f"{provider.name}: its usage has more than {_MOST_PAGES} pages")


def counts(provider: Provider, result: Mapping[str, Any], **fields: str | tuple[str, ...]) -> Counts:
    """Token counts from the fields of a result; a field that is missing or null counts nothing.

    Raises UsageUnavailable for what is no count.
    """
    found: dict[str, int] = {}
    for kind, names in fields.items():
        given = [result.get(name) or 0 for name in ((names,) if isinstance(names, str) else names)]
        if not all(isinstance(value, int) and value >= 0 for value in given):
            raise UsageUnavailable(f"{provider.name}: its usage has {given!r} for {names}")
        found[kind] = sum(given)
    return Counts(**found)


def nano_usd(provider: Provider, amount: object, *, units_per_usd: int = 1) -> int:
    """An amount of money as nano-dollars, rounded half up. Raises UsageUnavailable for what is none."""
    try:
        exact = Decimal(str(amount)) * NANO_PER_USD / units_per_usd
        return int(exact.to_integral_value("ROUND_HALF_UP"))
    except (InvalidOperation, ValueError) as error:
        raise UsageUnavailable(f"{provider.name}: {amount!r} is no amount of money") from error


async def _ask(
    client: httpx.AsyncClient,
    provider: Provider,
    path: str,
    parameters: Parameters,
    headers: Mapping[str, str],
) -> dict[str, Any]:
    """One page. Rate limits and passing trouble are waited for, a few times."""
    said = ""
    for number in range(_TRIES):
        wait = float(2**number)
        try:
            answer = await client.get(path, params=httpx.QueryParams(list(parameters)), headers=dict(headers))
        except httpx.HTTPError as error:
            said = f"does not answer: {type(error).__name__}"
        else:
            if answer.is_success:
                return _document(provider, answer)
            said = f"answered {answer.status_code}{_hint(provider, answer.status_code)}"
            if answer.status_code not in _WORTH_ANOTHER_TRY:
                break
            asked = retry_after(answer.headers, datetime.now(UTC))
            wait = wait if asked is None else asked
        if number + 1 < _TRIES and wait <= _LONGEST_WAIT_SECONDS:
            await asyncio.sleep(wait)
        else:
            break
    raise UsageUnavailable(f"{provider.name}: its usage API {said}")


def _document(provider: Provider, answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json(parse_float=Decimal)
    except ValueError as error:
        raise UsageUnavailable(f"{provider.name}: its usage API sent what is no JSON") from error
    if not isinstance(document, dict):
        raise UsageUnavailable(f"{provider.name}: its usage API sent a {type(document).__name__}")
    return document


def _hint(provider: Provider, status: int) -> str:
    if status not in (401, 403):
        return ""
    where = provider.usage_key_env or provider.usage_key_file
    return f": the key in {where} must be an admin key that may read usage"
