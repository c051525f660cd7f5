"""The only module that talks to redis-py: one pool, scripts by SHA, its exceptions turned into ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from gateway.errors import ConfigurationError, StateUnavailable
from gateway.state.keys import Keys
from gateway.state.loader import Script, load_scripts

MAX_CONNECTIONS = 32
SOCKET_TIMEOUT_SECONDS = 1.0
RETRIES = 2  # safe: every script is idempotent


class InvalidArgument(ConfigurationError):
    """A script refused its arguments before it wrote anything; the message says which."""


@contextmanager
def translated() -> Iterator[None]:
    """Turns what redis-py raises into StateUnavailable or InvalidArgument."""
    try:
        yield
    except exceptions.ResponseError as error:
        if str(error).startswith("CURBINVALID"):
            raise InvalidArgument(str(error).removeprefix("CURBINVALID ")) from error
        raise StateUnavailable(f"Redis refused: {error}") from error
    except (TimeoutError, exceptions.RedisError, OSError) as error:
        raise StateUnavailable(f"Redis cannot be reached: {str(error) or type(error).__name__}") from error


class Connection:
    """A bounded pool of connections to one Redis or Valkey, and the scripts."""

    def __init__(self, url: str, prefix: str) -> None:
        self.keys = Keys(prefix)
        self._scripts: dict[str, Script] = load_scripts()
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=5,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
            retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), RETRIES),
            decode_responses=True,
            protocol=2,
        )
        self.redis: Any = Redis(connection_pool=pool)  # its types say bytes | str, whatever it decodes

    async def check(self) -> None:
        """Refuse servers that would lose money: Redis Cluster, versions below 7, evicting ones.

        Raises ConfigurationError, or StateUnavailable when nothing answers.
        """
        with translated():
            info: dict[str, Any] = await self.redis.info()
        if info.get("cluster_enabled") or info.get("redis_mode") == "cluster":
            raise ConfigurationError(
                "CURB_REDIS_URL: Redis Cluster is not supported, because one decision reads and writes the "
                "budgets of many scopes at once; use one primary (with replicas if you like)"
            )
        version = str(info.get("redis_version", "0"))
        if int(version.split(".")[0]) < 7:
            raise ConfigurationError(f"CURB_REDIS_URL: Redis >= 7 or Valkey is needed, this is {version}")
        if info.get("maxmemory") and info.get("maxmemory_policy") != "noeviction":
            raise ConfigurationError(
                f"CURB_REDIS_URL: maxmemory-policy is {info['maxmemory_policy']}, which would forget what "
                "was spent when memory is full; set it to noeviction"
            )

    async def run(self, name: str, *arguments: str) -> Any:
        """Run a script in one round trip (two when Redis does not know it yet)."""
        script = self._scripts[name]
        with translated():
            try:
                return await self.redis.evalsha(script.sha, 0, self.keys.prefix, *arguments)
            except exceptions.NoScriptError:
                return await self.redis.eval(script.source, 0, self.keys.prefix, *arguments)

    async def close(self) -> None:
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()
