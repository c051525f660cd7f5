"""One request and its streamed answer, the same for every family: time, errors, progress."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gateway.config import Provider
from gateway.listening import Delta, Listener
from gateway.providers.answers import Progress, ProviderAnswer
from gateway.providers.errors import ErrorKind, ProviderError, from_answer
from gateway.providers.http import TRANSPORT_ERRORS, Http, Response, translate
from gateway.providers.sse import SseEvent, SseParser
from gateway.providers.wire_json import loads

_MAX_ERROR_BYTES = 64 * 1024
_MAX_JSON_BYTES = 32 * 1024 * 1024
_DRAIN_SECONDS = 0.5


class Reader(Protocol):
    """Puts an answer together from its events, and keeps `progress` up to date while it does.

    `finished` is true once the answer is complete. `deltas` collects what each event adds, for
    whoever takes it out; None when nobody does. Methods raise ProviderError for errors in the
    stream, and ValueError, TypeError, KeyError or AttributeError for what makes no sense.
    """

    deltas: list[Delta] | None

    @property
    def finished(self) -> bool: ...
    @property
    def ended(self) -> bool: ...
    def feed(self, event: SseEvent) -> None: ...
    def whole(self, document: Mapping[str, Any]) -> None: ...
    def answer(self, done_ms: int) -> ProviderAnswer: ...


@dataclass(frozen=True, slots=True)
class Hearing:
    """Who hears the answer while it comes, and how long the stream may say nothing (None: as long as
    the attempt may take). headers: more of them, for the provider."""

    listener: Listener | None = None
    silence_seconds: float | None = None
    headers: Mapping[str, str] | None = None

    @property
    def deltas(self) -> list[Delta] | None:
        """Where a reader collects deltas for the listener; None when it wants none."""
        return [] if self.listener is not None and self.listener.wants_deltas else None


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
    hearing: Hearing,
) -> ProviderAnswer:
    """Send one attempt and read its answer to the end, within timeout_seconds in all.

    Raises ProviderError, or what before_send raises.
    """
    headers = {**(hearing.headers or {}), **headers, "x-client-request-id": attempt_id}
    patience = _Patience(timeout_seconds, hearing.silence_seconds)
    try:
        async with (
            patience.limit,
            http.post(provider, path, body, headers, progress=progress, before_send=before_send) as response,
        ):
            progress.provider_request_id = _request_id(response)
            return await _read(response, provider, reader, progress, hearing.listener, patience)
    except ProviderError as error:
        error.provider_request_id = error.provider_request_id or progress.provider_request_id
        raise
    except TRANSPORT_ERRORS as error:
        raise translate(error, provider.name, progress) from error


async def asked(
    http: Http,
    provider: Provider,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_seconds: float,
    method: str = "POST",
    most_bytes: int = _MAX_JSON_BYTES,
    before_send: Callable[[], None] = lambda: None,
) -> bytes:
    """Ask for what comes in one piece; the answer's body. Raises ProviderError, also for one that is larger
    than most_bytes, and what before_send raises."""
    progress = Progress()
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            http.post(
                provider, path, body, headers, progress=progress, before_send=before_send, method=method
            ) as response,
        ):
            said = await _body(response, most_bytes + 1)
            if not 200 <= response.status < 300:
                raise from_answer(provider.name, response.status, response.headers, said)
            if len(said) > most_bytes:
                raise ProviderError(
                    ErrorKind.BAD_RESPONSE, f"{provider.name} sent more than {most_bytes} bytes", sent=True
                )
            return said
    except TRANSPORT_ERRORS as error:
        raise translate(error, provider.name, progress) from error


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


class _Patience:
    """The time that an attempt has in all, and its stream between two signs of life."""

    def __init__(self, in_all_seconds: float, silence_seconds: float | None) -> None:
        now = asyncio.get_running_loop().time()
        self._end = now + in_all_seconds
        self._silence = silence_seconds
        first = self._end if silence_seconds is None else min(self._end, now + silence_seconds)
        self.limit = asyncio.timeout_at(first)

    def heard(self) -> None:
        """Something came: the silence begins anew."""
        if self._silence is not None:
            self.limit.reschedule(min(self._end, asyncio.get_running_loop().time() + self._silence))


async def _read(
    response: Response,
    provider: Provider,
    reader: Reader,
    progress: Progress,
    listener: Listener | None,
    patience: _Patience,
) -> ProviderAnswer:
    if not 200 <= response.status < 300:
        body = await _body(response, _MAX_ERROR_BYTES)
        raise from_answer(provider.name, response.status, response.headers, body)
    document = b""
    try:
        if response.headers.get("content-type", "").startswith("application/json"):
            document = await _body(response, _MAX_JSON_BYTES)
            reader.whole(loads(document))
        else:
            await _events(response, reader, listener, patience)
        if reader.finished:
            answer = reader.answer(now_ms())
            return answer if listener is None else replace(answer, document=document)
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


async def _events(response: Response, reader: Reader, listener: Listener | None, patience: _Patience) -> None:
    """Feed every event; once the answer has ended, its last bytes are only read to keep the connection."""
    parser = SseParser(raw=listener is not None and reader.deltas is None)
    chunks = response.chunks()
    async for chunk in chunks:
        patience.heard()
        for event in parser.feed(chunk):
            if listener is None:
                reader.feed(event)
            else:
                await _listened(event, reader, listener)
        if reader.ended:
            break
    with suppress(*TRANSPORT_ERRORS):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in chunks:
                pass


async def _listened(event: SseEvent, reader: Reader, listener: Listener) -> None:
    """Feed one event and let it be heard: as it came, before anything can go wrong in reading it, or as
    what it added to the answer."""
    if reader.deltas is None:
        await listener.block(event.raw, event.data)
    if event.data:
        reader.feed(event)
    if reader.deltas:
        heard = list(reader.deltas)
        reader.deltas.clear()
        await listener.deltas(heard)


async def _body(response: Response, most: int) -> bytes:
    """Read the whole body, of which at most this many bytes are kept."""
    kept = bytearray()
    async for chunk in response.chunks():
        kept += chunk[: max(most - len(kept), 0)]
    return bytes(kept)


def _request_id(response: Response) -> str:
    headers = response.headers
    return str(headers.get("x-request-id") or headers.get("request-id") or "")
