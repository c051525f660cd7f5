"""Looking whether a provider is there: its list of models, which costs nothing."""

import asyncio
import ssl
import time
from dataclasses import dataclass

import httpx

from gateway.config import Provider
from gateway.policy.health import Blame
from gateway.providers.errors import ProviderError
from gateway.providers.http import api_key

_ANTHROPIC_VERSION = "2023-06-01"
# What stands before a provider says these when the provider itself is silent.
_SILENCE = frozenset({408, 504})


@dataclass(frozen=True, slots=True)
class Look:
    """What one look came to: what was wrong ('' for nothing), and whose fault that is."""

    error: str
    blame: Blame
    latency_ms: int

    @property
    def ok(self) -> bool:
        return not self.blame


class Prober:
    """Asks providers for their models, each over a connection of its own: a pool would hide a broken one."""

    def __init__(self) -> None:
        self._ssl: ssl.SSLContext = httpx.create_ssl_context()

    async def models(self, provider: Provider, timeout_seconds: float) -> Look | None:
        """One look within the time. None: no key is there for this provider, so nothing can be said."""
        try:
            key = api_key(provider)
        except ProviderError:
            return None
        started = time.monotonic()
        error, blame = await self._ask(provider, key, timeout_seconds)
        return Look(error, blame, round((time.monotonic() - started) * 1000))

    async def _ask(self, provider: Provider, key: str, timeout_seconds: float) -> tuple[str, Blame]:
        address, headers = _question(provider, key)
        # No proxy of the environment: calls use none either.
        client = httpx.AsyncClient(verify=self._ssl, timeout=None, trust_env=False)
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                client,
                client.stream("GET", address, headers=headers) as answer,
            ):
                async for _ in answer.aiter_raw():
                    pass
                return verdict(answer.status_code)
        except TimeoutError:
            return f"no answer within {timeout_seconds:g} s", "provider"
        except httpx.InvalidURL:
            return "its base_url is no address", "us"
        except (httpx.HTTPError, OSError) as error:
            return f"no answer: {type(error).__name__}", "provider"


def verdict(status: int) -> tuple[str, Blame]:
    """What an HTTP status says of the provider: only 5xx, and a proxy's word for silence, are its fault."""
    if status < 300:
        return "", ""
    if status >= 500 or status in _SILENCE:
        return f"answered {status}", "provider"
    if status == 404:
        return "answered 404: it lists no models; choose `probe: call` or `off` for it", "us"
    return f"answered {status}", "us"


def _question(provider: Provider, key: str) -> tuple[str, dict[str, str]]:
    base = provider.base_url.rstrip("/")
    if provider.family == "anthropic":
        headers = {"anthropic-version": _ANTHROPIC_VERSION, **({"x-api-key": key} if key else {})}
        return f"{base}/v1/models?limit=1", headers
    return f"{base}/models", {"authorization": f"Bearer {key}"} if key else {}
