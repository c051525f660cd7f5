"""The way out over HTTP: paced, bounded in time, and every failure one of three kinds.

| what happens                                  | raised             |
|-----------------------------------------------|--------------------|
| 2xx                                           | nothing            |
| 429, and any error answer with Retry-After    | ChannelBusy        |
| 408, 425, 5xx; no answer, or a broken one     | ChannelUnavailable |
| any other answer, redirects among them        | ChannelRefused     |
"""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx

from activities.channels.message import ChannelBusy, ChannelRefused, ChannelUnavailable
from activities.channels.pace import Pace
from activities.channels.words import one_line, shortened
from gateway.providers.errors import retry_after

_SECONDS = 10.0
_BUSY_SECONDS = 30.0  # where a 429 does not say how long
_MAX_ANSWER_BYTES = 4096
_MAX_WORDS = 300
_PASSING = frozenset({408, 425})
_SHORTEST_SECRET = 6


def http_client() -> httpx.AsyncClient:
    """One pool for all channels of a process.

    Without a limit on connections, so that a channel that hangs takes none from the others; what each
    has under way is bounded by its pace and its timeout.
    """
    return httpx.AsyncClient(
        timeout=httpx.Timeout(_SECONDS, connect=5.0),
        follow_redirects=False,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=10),
        headers={"user-agent": "curb"},
    )


class Post:
    """One channel's way out.

    channel: its name, with which errors begin. secrets: what must not appear in errors, whatever the
    service answers.
    """

    def __init__(
        self,
        channel: str,
        client: httpx.AsyncClient,
        pace: Pace,
        *,
        secrets: Iterable[str] = (),
        timeout_seconds: float = _SECONDS,
    ) -> None:
        self.channel = channel
        self._client = client
        self._pace = pace
        self._secrets = secrets_in(secrets)
        self._timeout_seconds = timeout_seconds

    async def json(
        self, url: str, document: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a document. Raises ChannelBusy, ChannelRefused, ChannelUnavailable."""
        await self.body(url, encoded(document), headers or {})

    async def body(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send JSON that is encoded already."""
        await self._pace.turn(self.channel)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer, said = await self._exchange(url, body, headers)
        except TimeoutError as error:
            raise ChannelUnavailable(
                f"{self.channel}: no answer within {self._timeout_seconds:g} s"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise ChannelUnavailable(f"{self.channel}: {self._told(error)}") from error
        if not answer.is_success:
            self._refuse(answer, said)

    async def _exchange(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[httpx.Response, bytes]:
        """The answer and the beginning of what an error answer says. A yes is a yes once its status is
        here: to wait for more could only turn it into a second message."""
        sent = {"content-type": "application/json", "accept-encoding": "identity", **headers}
        said = b""
        async with self._client.stream("POST", url, content=body, headers=sent) as answer:
            if not answer.is_success:
                async for piece in answer.aiter_raw():
                    said += piece
                    if len(said) >= _MAX_ANSWER_BYTES:
                        break
            return answer, said[:_MAX_ANSWER_BYTES]

    def _refuse(self, answer: httpx.Response, said: bytes) -> NoReturn:
        told = f"{self.channel}: answered {answer.status_code}"
        if words := self._words(answer, said):
            told += f": {words}"
        wait = retry_after(answer.headers, datetime.now(UTC)) if answer.status_code >= 400 else None
        if answer.status_code == 429 or wait is not None:
            wait = max(1.0, _BUSY_SECONDS if wait is None else wait)
            self._pace.hold(wait, asyncio.get_running_loop().time())
            raise ChannelBusy(told, wait)
        if answer.is_server_error or answer.status_code in _PASSING:
            raise ChannelUnavailable(told)
        raise ChannelRefused(told)

    def _words(self, answer: httpx.Response, said: bytes) -> str:
        if answer.is_redirect:
            return "redirects are not followed; configure the address that it leads to"
        return shortened(redacted(spoken(said), self._secrets), _MAX_WORDS)

    def _told(self, error: Exception) -> str:
        said = redacted(one_line(str(error)), self._secrets)
        return shortened(f"does not answer: {said or type(error).__name__}", _MAX_WORDS)


def encoded(document: Mapping[str, Any]) -> bytes:
    """As compact JSON in UTF-8; what JSON does not know becomes text."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.encode("utf-8", "replace")


def spoken(body: bytes) -> str:
    """What an error answer says, on one line: the usual fields of JSON, else the text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return "a page, not words" if text.startswith("<") else one_line(text)
    return one_line("; ".join(_named(document))) or one_line(text)


def secrets_in(values: Iterable[str]) -> tuple[str, ...]:
    """The values, and the parts of those that are URLs by which somebody could use them; longest first."""
    found = {part for value in values for part in _parts(value) if len(part) >= _SHORTEST_SECRET}
    return tuple(sorted(found, key=len, reverse=True))


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _named(document: Any) -> Iterator[str]:
    if not isinstance(document, dict):
        return
    for name in ("message", "error", "errors", "detail", "title"):
        value = document.get(name)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, list):
            value = "; ".join(str(each) for each in value)
        if isinstance(value, str) and value:
            yield value


def _parts(value: str) -> Iterator[str]:
    yield value
    try:
        parts = urlsplit(value)
    except ValueError:  # a secret that only looks like a URL
        return
    if not parts.netloc:
        return
    yield f"{parts.path}?{parts.query}" if parts.query else parts.path
    for piece in (
        *parts.path.split("/"),
        *(each for _, each in parse_qsl(parts.query)),
        parts.password or "",
    ):
        yield piece
        yield unquote(piece)
