"""http_get: the web, as far as Agent.http_allow reaches.

The name is resolved here, the addresses are checked, and the connection is made to the address
that was checked: a name that later points elsewhere (DNS rebinding) gains nothing.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from activities.toolbox.builtin.allowlist import AllowList
from activities.toolbox.context import ToolContext
from activities.toolbox.errors import ToolError
from activities.toolbox.marks import tool

MAX_BODY_BYTES = 1_000_000
_MAX_REDIRECTS = 5
_MAX_ADDRESSES = 3
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_SHOWN_ERROR_CHARACTERS = 500


@tool(side_effects=False, timeout_seconds=30.0)
async def http_get(url: str, context: ToolContext) -> str:
    """Fetch a text resource by HTTP GET: status, content type, then the body.

    Args:
        url: An http or https URL that your configuration allows.
    """
    allowed = AllowList.parse(context.agent.http_allow)
    target = _parsed(url)
    for _ in range(_MAX_REDIRECTS + 1):
        answer, body = await _get(target, allowed)
        if not answer.has_redirect_location:
            return _shown(answer, body)
        target = _parsed(str(target.join(answer.headers["location"])))
    raise ToolError(f"{url} redirects more than {_MAX_REDIRECTS} times")


def _parsed(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise ToolError(f"Not a URL: {error}") from error


async def _get(url: httpx.URL, allowed: AllowList) -> tuple[httpx.Response, bytes]:
    """The answer and its body, of at most MAX_BODY_BYTES."""
    if not allowed.permits(url):
        raise ToolError(f"{url.copy_with(query=None)} is not on the list of what you may fetch")
    addresses = await _addresses(url, allowed)
    for address in addresses[:-1]:
        try:
            return await _get_from(url, address)
        except httpx.ConnectError:
            continue
    try:
        return await _get_from(url, addresses[-1])
    except httpx.HTTPError as error:
        raise ToolError(f"{url.host} cannot be fetched: {type(error).__name__}: {error}") from error


async def _addresses(url: httpx.URL, allowed: AllowList) -> list[str]:
    """Addresses of the host that may be connected to; at least one, else ToolError."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(url.host, url.port or url.scheme, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ToolError(f"{url.host} cannot be resolved") from error
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    permitted = [address for address in addresses if allowed.permits_address(address)]
    if not permitted:
        raise ToolError(f"{url.host} is a private address, which your configuration does not name")
    return permitted[:_MAX_ADDRESSES]


async def _get_from(url: httpx.URL, address: str) -> tuple[httpx.Response, bytes]:
    headers = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": "curb"}
    extensions = {"sni_hostname": url.host} if url.scheme == "https" else {}
    async with _client(url) as client:
        request = client.build_request(
            "GET", url.copy_with(host=address, fragment=None), headers=headers, extensions=extensions
        )
        answer = await client.send(request, stream=True)
        try:
            return answer, await _read(answer)
        finally:
            await answer.aclose()


@asynccontextmanager
async def _client(url: httpx.URL) -> AsyncIterator[httpx.AsyncClient]:
    """A client for one request: a pooled one could reuse a connection made for another name.

    A transport of its own also keeps proxies of the environment out, which would resolve again.
    """
    verify: ssl.SSLContext | bool = False
    if url.scheme == "https":
        verify = await asyncio.to_thread(httpx.create_ssl_context)  # reads a file of certificates
    transport = httpx.AsyncHTTPTransport(verify=verify, trust_env=False)
    async with httpx.AsyncClient(transport=transport, timeout=_TIMEOUT, follow_redirects=False) as client:
        yield client


async def _read(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_bytes(65_536):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise ToolError(f"The answer is larger than {MAX_BODY_BYTES:,} bytes")
    return bytes(body)


def _shown(answer: httpx.Response, body: bytes) -> str:
    kind = answer.headers.get("content-type", "no content type")
    text = _text(answer, body)
    if answer.is_error:
        raise ToolError(f"HTTP {answer.status_code}: {text[:_SHOWN_ERROR_CHARACTERS]}")
    return f"HTTP {answer.status_code}, {kind}, {len(body):,} bytes\n\n{text}"


def _text(answer: httpx.Response, body: bytes) -> str:
    if b"\x00" in body:
        raise ToolError("The answer is not text")
    try:
        return body.decode(answer.charset_encoding or "utf-8")
    except (LookupError, UnicodeDecodeError) as error:
        raise ToolError("The answer is not text") from error
