"""One request and its streamed answer, the same for every family: time, errors, progress."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import httpx

from gateway.config import Provider
from gateway.providers.answers import Progress, ProviderAnswer
from gateway.providers.errors import ErrorKind, ProviderError, from_answer
from gateway.providers.http import TRANSPORT_ERRORS, Http, translate
from gateway.providers.sse import SseEvent, SseParser
from gateway.providers.wire_json import loads

_MAX_ERROR_BYTES = 64 * 1024
_MAX_JSON_BYTES = 32 * 1024 * 1024
_DRAIN_SECONDS = 0.5


class Reader(Protocol):
    """Puts an answer together from its events, and keeps `progress` up to date while it does.

    `finished` is true once the answer is complete. Methods raise ProviderError for errors in the
    stream, and ValueError, TypeError, KeyError or AttributeError for what makes no sense.
    """

    @property
    def finished(self) -> bool: ...
    @property
    def ended(self) -> bool: ...
    def feed(self, event: SseEvent) -> None: ...
    def whole(self, document: Mapping[str, Any]) -> None: ...
    def answer(self, done_ms: int) -> ProviderAnswer: ...


async def exchange(
    http: Http,
    provider: Provider,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    reader: Reader,
    *,
    attempt_id: str,
    timeout_seconds: float,
    before_send: Callable[[], None],
    progress: Progress,
) -> ProviderAnswer:
    """Send one attempt and read its answer to the end, within timeout_seconds in all.

    Raises ProviderError, or what before_send raises.
    """
    headers = {**headers, "x-client-request-id": attempt_id}
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            http.post(provider, path, body, headers, progress=progress, before_send=before_send) as response,
        ):
            progress.provider_request_id = _request_id(response)
            return await _read(response, provider, reader, progress)
    except ProviderError as error:
        error.provider_request_id = error.provider_request_id or progress.provider_request_id
        raise
    except TRANSPORT_ERRORS as error:
        raise translate(error, provider.name, progress) from error


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


async def _read(
    response: httpx.Response, provider: Provider, reader: Reader, progress: Progress
) -> ProviderAnswer:
    if not response.is_success:
        body = await _body(response, _MAX_ERROR_BYTES)
        raise from_answer(provider.name, response.status_code, response.headers, body)
    try:
        if response.headers.get("content-type", "").startswith("application/json"):
            reader.whole(loads(await _body(response, _MAX_JSON_BYTES)))
        else:
            await _events(response, reader)
        if reader.finished:
            return reader.answer(now_ms())
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ProviderError(
            ErrorKind.BAD_RESPONSE,
            f"{provider.name} sent what is no answer: {type(error).__name__}",
            sent=True,
            partial=progress.partial(),
        ) from error
    raise ProviderError(
        ErrorKind.CUT_STREAM,
        f"{provider.name} ended its stream before the answer was complete",
        sent=True,
        partial=progress.partial(),
    )


async def _events(response: httpx.Response, reader: Reader) -> None:
    """Feed every event; once the answer has ended, its last bytes are only read to keep the connection."""
    parser = SseParser()
    chunks = response.aiter_bytes()
    async for chunk in chunks:
        for event in parser.feed(chunk):
            reader.feed(event)
        if reader.ended:
            break
    with suppress(*TRANSPORT_ERRORS):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in chunks:
                pass


async def _body(response: httpx.Response, most: int) -> bytes:
    """Read the whole body, of which at most this many bytes are kept."""
    kept = bytearray()
    async for chunk in response.aiter_bytes():
        kept += chunk[: max(most - len(kept), 0)]
    return bytes(kept)


def _request_id(response: httpx.Response) -> str:
    headers = response.headers
    return str(headers.get("x-request-id") or headers.get("request-id") or "")
