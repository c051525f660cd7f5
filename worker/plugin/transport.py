"""HTTP clients whose requests go through curb, for SDKs that take one: OpenAI's, Anthropic's, LangChain's.

The host of a request does not matter, only its path: what would go to a provider's model endpoint is asked of
curb's, inside this process. Needs `httpx2`, which those SDKs bring.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import httpx2

from worker.plugin.asking import Asking, current
from worker.plugin.exchange import Exchange

_T = TypeVar("_T")
# The gateway bounds the time of a call; a client that gives up earlier would only cut it.
_TIMEOUT = httpx2.Timeout(None)


def supervised_async_http_client() -> httpx2.AsyncClient:
    """For `http_client` of AsyncOpenAI and AsyncAnthropic, `http_async_client` of ChatOpenAI."""
    return httpx2.AsyncClient(transport=_AsyncTransport(), timeout=_TIMEOUT)


def supervised_http_client() -> httpx2.Client:
    """The same for synchronous clients, in nodes and activities that run in a thread."""
    return httpx2.Client(transport=_Transport(), timeout=_TIMEOUT)


class _AsyncTransport(httpx2.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        asking = current()
        exchange = _exchange(asking, request.url.path, request.headers, await request.aread())
        status, headers = await exchange.begin()
        return httpx2.Response(status, headers=headers, stream=_AsyncPieces(exchange))


class _Transport(httpx2.BaseTransport):
    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        asking = current()
        loop = asking.supervisor.loop
        exchange = _exchange(asking, request.url.path, request.headers, request.read())
        status, headers = _in_loop(loop, exchange.begin())
        return httpx2.Response(status, headers=headers, stream=_Pieces(exchange, loop))


class _AsyncPieces(httpx2.AsyncByteStream):
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._exchange.pieces():
            yield piece

    async def aclose(self) -> None:
        await self._exchange.close()


class _Pieces(httpx2.SyncByteStream):
    def __init__(self, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> None:
        self._exchange = exchange
        self._loop = loop

    def __iter__(self) -> Iterator[bytes]:
        pieces = self._exchange.pieces()
        while (piece := _in_loop(self._loop, _next(pieces))) is not None:
            yield piece

    def close(self) -> None:
        _in_loop(self._loop, self._exchange.close())


def _exchange(asking: Asking, path: str, headers: Mapping[str, str], body: bytes) -> Exchange:
    return asking.supervisor.exchange(asking, path, headers, body)


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)


def _in_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, _T]) -> _T:
    """Wait in this thread for work in the worker's event loop. Raises RuntimeError inside of a loop."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run_coroutine_threadsafe(work, loop).result()
    work.close()
    where = "the worker's event loop" if running is loop else "an event loop"
    raise RuntimeError(f"a synchronous supervised client would block {where}: use the asynchronous one there")
