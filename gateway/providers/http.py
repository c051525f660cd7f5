"""The pooled HTTP client: the one ring that touches aiohttp.

One per process. It calls `before_send` when a connection is in hand and the request's first byte
is about to be written, which is as late as a lease can be checked.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar

import aiohttp
import httpx

from gateway.config import Provider
from gateway.errors import ConfigurationError
from gateway.providers.answers import Progress
from gateway.providers.credentials import KeyPool, credentials
from gateway.providers.errors import ErrorKind, ProviderError

# How aiohttp, several calls below, reaches the request it is about to write. Per task, not shared.
_guard: ContextVar[Callable[[], None] | None] = ContextVar("gateway_before_send", default=None)


class Response:
    """An answer whose headers are here and whose body is still coming."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    def chunks(self) -> AsyncIterator[bytes]:
        """The body, in the pieces in which it comes."""
        return self._response.content.iter_any()


class Http:
    """A keep-alive connection pool for all providers.

    max_connections: over all hosts; further requests wait for a free one (within their timeout).
    keys: shares attempts out among the keys of each provider.
    """

    def __init__(
        self,
        *,
        max_connections: int = 512,
        connect_timeout_seconds: float = 5.0,
        keepalive_seconds: float = 30.0,
    ) -> None:
        for changed, name in ((aiohttp.ClientRequest, "send"), (aiohttp.TCPConnector, "_create_connection")):
            if name not in vars(changed):
                raise ConfigurationError(f"aiohttp {aiohttp.__version__} has no {changed.__name__}.{name}")
        self._max_connections = max_connections
        self._keepalive_seconds = keepalive_seconds
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_seconds)
        self._ssl = httpx.create_ssl_context()  # the certificates that Python's own context may lack
        self._connector: _CountingConnector | None = None
        self._session: aiohttp.ClientSession | None = None
        self.keys = KeyPool()

    async def __aenter__(self) -> "Http":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; requests in flight fail."""
        if self._session is not None:
            await self._session.close()

    @property
    def connections_opened(self) -> int:
        """How many connections were made so far."""
        return 0 if self._connector is None else self._connector.opened

    @asynccontextmanager
    async def post(
        self,
        provider: Provider,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        progress: Progress,
        before_send: Callable[[], None],
        method: str = "POST",
    ) -> AsyncIterator[Response]:
        """Send a body, of JSON where the headers say nothing else; yields the response once its headers are
        here, its body still coming.

        Leaving the block early closes the connection at once. Raises what before_send raises (the
        request was then not sent), and aiohttp errors, see `translate`.
        """

        def guard() -> None:
            before_send()
            progress.sent = True

        token = _guard.set(guard)
        try:
            response = await self._open_session().request(
                method,
                provider.base_url.rstrip("/") + path,
                data=body,
                headers={
                    "content-type": "application/json",
                    "accept-encoding": "identity",
                    "user-agent": "curb",
                    **headers,
                },
                allow_redirects=False,
            )
        finally:
            _guard.reset(token)
        try:
            yield Response(response)
        finally:
            response.close()

    def _open_session(self) -> aiohttp.ClientSession:
        """The pool, made at the first request: it belongs to the event loop that runs then."""
        if self._session is None:
            self._connector = _CountingConnector(
                limit=self._max_connections, keepalive_timeout=self._keepalive_seconds, ssl=self._ssl
            )
            self._session = aiohttp.ClientSession(
                connector=self._connector,
                request_class=_GuardedRequest,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
            )
        return self._session


class _CountingConnector(aiohttp.TCPConnector):
    """Counts the connections that it makes."""

    opened = 0

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.client_proto.ResponseHandler:
        made = await super()._create_connection(req, traces, timeout)
        self.opened += 1
        return made


class _GuardedRequest(aiohttp.ClientRequest):
    """Asks the guard right before the request is written to its connection."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        guard = _guard.get()
        if guard is not None:
            guard()
        return await super().send(conn)


def api_key(provider: Provider) -> str:
    """Read one of the provider's keys, '' when it wants none, or may want none.

    Raises ProviderError (auth, not sent) when one is configured and not there.
    """
    found = credentials(provider)
    return found[0].secret if found else ""


def translate(error: Exception, provider: str, progress: Progress) -> ProviderError:
    """Turn an error of the transport into ours. Whether the request was sent is what the guard saw:
    the driver calls a lost connection a connect timeout even after the request was written."""
    said = f"{provider}: {type(error).__name__}: {error}"
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
        return ProviderError(
            ErrorKind.TIMEOUT,
            f"{provider} did not finish in time",
            sent=progress.sent,
            partial=progress.partial(),
            provider_request_id=progress.provider_request_id,
        )
    if not progress.sent:
        return ProviderError(ErrorKind.CONNECT, said, sent=False)
    malformed = isinstance(error, aiohttp.ClientResponseError | ValueError)
    return ProviderError(
        ErrorKind.BAD_RESPONSE if malformed else ErrorKind.CUT_STREAM,
        said,
        sent=True,
        partial=progress.partial(),
        provider_request_id=progress.provider_request_id,
    )


TRANSPORT_ERRORS = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
