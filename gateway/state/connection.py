"""Talks to redis-py, with line.py: one pool, scripts by SHA, its exceptions turned into ours."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.errors import ConfigurationError, CurbError, StateUnavailable
from gateway.state.keys import Keys
from gateway.state.line import Line
from gateway.state.loader import Script, load_scripts

MAX_CONNECTIONS = 32
TIMEOUT_SECONDS = 1.0
TRIES = 3  # safe: every script and every command used is idempotent

T = TypeVar("T")


class InvalidArgument(ConfigurationError):
    """A script refused its arguments before it wrote anything; the message says which."""


class Connection:
    """A bounded pool of connections to one Redis or Valkey, and a line for the scripts.

    A server that restarted has dropped every connection, so that the greeting of new ones comes
    before any decision of the new server: there the epoch is closed (I8).
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.keys = Keys(prefix)
        self._scripts: dict[str, Script] = load_scripts()
        self._url = url
        # First come, first served. redis-py's blocking pool lets whoever has just given a connection
        # back take it again before those who wait, until they are told that Redis is gone.
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)
        pool = ConnectionPool.from_url(
            url,
            redis_connect_func=self._greet,
            max_connections=MAX_CONNECTIONS,
            # Timeouts and retries are in call(): with a socket_timeout redis-py sends by
            # asyncio.wait_for, which up to Python 3.11 can swallow a cancellation.
            socket_timeout=None,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            encoding_errors="replace",  # of switches, whose values anybody writes in any encoding
            protocol=2,
        )
        self._line = Line(pool.make_connection, TIMEOUT_SECONDS)
        self.redis: Any = Redis(connection_pool=pool)  # its types say bytes | str, whatever it decodes

    async def check(self) -> None:
        """Refuse servers that would lose money: Redis Cluster, versions below 7, evicting ones.

        Raises ConfigurationError, or StateUnavailable when nothing answers.
        """
        info = await self.call(self._info)
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
        """Run a script in one round trip (two when Redis does not know it yet), with others if there are any.

        Raises StateUnavailable, InvalidArgument.
        """
        return await self._tried(lambda: self._evaluate(self._scripts[name], arguments), TIMEOUT_SECONDS)

    async def call(self, command: Callable[[], Awaitable[T]], timeout_seconds: float = TIMEOUT_SECONDS) -> T:
        """Run a command on a connection of its own. Raises StateUnavailable, InvalidArgument."""

        async def in_turn() -> T:
            async with self._turns:
                return await command()

        return await self._tried(in_turn, timeout_seconds)

    async def _tried(self, command: Callable[[], Awaitable[T]], timeout_seconds: float) -> T:
        """Run it, anew where the connection broke or nothing came back in time."""
        for left in reversed(range(TRIES)):
            try:
                async with asyncio.timeout(timeout_seconds):
                    return await command()
            except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
                if left == 0:
                    reason = str(error) or type(error).__name__
                    raise StateUnavailable(f"Redis cannot be reached: {reason}") from error
            except exceptions.RedisError as error:
                raise _refused(error) from error
        raise AssertionError("unreachable")

    async def _info(self) -> dict[str, Any]:
        """By a connection of its own, because a server that is too old has no ear for the greeting."""
        async with Redis.from_url(self._url, socket_timeout=None) as plain:
            return dict(await plain.info())

    async def _greet(self, connection: AbstractConnection) -> None:
        """Before a new connection is used: is this still the server that the epoch was opened on?"""
        try:
            await connection.on_connect()
            await connection.send_command("EVAL", self._scripts["greet"].source, 0, self.keys.prefix)
            await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def _evaluate(self, script: Script, arguments: tuple[str, ...]) -> Any:
        try:
            return await self._line.execute("EVALSHA", script.sha, "0", self.keys.prefix, *arguments)
        except exceptions.NoScriptError:
            return await self._line.execute("EVAL", script.source, "0", self.keys.prefix, *arguments)

    async def close(self) -> None:
        await self._line.close()
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()


def _refused(error: exceptions.RedisError) -> CurbError:
    text = str(error)
    if text.startswith("CURBINVALID"):
        return InvalidArgument(text.removeprefix("CURBINVALID "))
    if isinstance(error, exceptions.OutOfMemoryError):
        return StateUnavailable(f"Redis is full: {text}")
    return StateUnavailable(f"Redis refused: {text}")
