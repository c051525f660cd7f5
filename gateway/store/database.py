"""The only ring that touches the driver: one pool of connections, errors translated, a few retries.

psycopg's own pool rather than SQLAlchemy's asyncio engine: it needs no greenlets, and a step of a
run makes several small statements, whose overhead counts. SQLAlchemy describes the tables.

Every statement of the store is idempotent, so a connection that died (a restarted Postgres) costs
a silent second try and not an error.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout
from sqlalchemy import URL, Dialect, Select, make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import ArgumentError

from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.store.errors import is_transient, translate
from gateway.store.sql import statement

T = TypeVar("T")
Connection = psycopg.AsyncConnection[DictRow]
DIALECT: Dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy left it untyped
_TRIES = 4
_IN_FULL = {"render_postcompile": True}
# jit: compiling a statement that looks dear costs more than any of ours takes.
_SESSION = (
    "-c timezone=UTC -c jit=off -c statement_timeout=120000 -c idle_in_transaction_session_timeout=60000"
)


def database_url(url: str) -> URL:
    """A `postgres://` or `postgresql://` URL (host may be a socket's directory), for SQLAlchemy.

    Raises ConfigurationError when it is something else.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError("the database URL: write postgresql://user:secret@host/name") from None
    if parsed.drivername.partition("+")[0] not in ("postgres", "postgresql"):
        raise ConfigurationError(
            f"the database URL begins with {parsed.drivername}: curb needs postgresql://"
        )
    return parsed.set(drivername="postgresql+psycopg")


def conninfo(url: str) -> str:
    """The same URL as libpq reads it."""
    return database_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


class Database:
    """A pool of connections to one Postgres database. Built by `open`."""

    def __init__(self, pool: AsyncConnectionPool[Connection], wait_seconds: float) -> None:
        self._pool = pool
        self._wait_seconds = wait_seconds

    @classmethod
    async def open(cls, url: str, *, pool_size: int = 10, wait_seconds: float = 5.0) -> "Database":
        """Connect; raises StoreUnavailable when nobody answers within `wait_seconds`."""
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo(url),
            min_size=1,
            max_size=pool_size,
            open=False,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "connect_timeout": 5,
                "application_name": "curb",
                "options": _SESSION,
            },
        )
        try:
            await pool.open(wait=True, timeout=wait_seconds)
        except PoolTimeout as error:
            await pool.close()
            raise StoreUnavailable("Postgres cannot be reached") from error
        return cls(pool, wait_seconds)

    async def close(self) -> None:
        await self._pool.close()

    async def rows(self, query: str, /, **parameters: Any) -> list[DictRow]:
        """Run one named statement by itself (committed at once) and return its rows."""
        return await self.select(statement(query), parameters)

    async def row(self, query: str, /, **parameters: Any) -> DictRow | None:
        """The first row of `rows`, or None."""
        found = await self.rows(query, **parameters)
        return found[0] if found else None

    async def content(self, query: str, /, **parameters: Any) -> bytes | None:
        """The one value of the first row, bytes as they are: written out as text a large one would hold up
        everybody else."""

        async def run(connection: Connection) -> bytes | None:
            cursor = await connection.execute(statement(query).encode(), parameters, binary=True)
            row = await cursor.fetchone()
            return None if row is None else next(iter(row.values()))

        return await self._with_connection(run)

    async def select(self, sql: str, parameters: dict[str, Any]) -> list[DictRow]:
        """`rows` for a statement that was put together by our own code."""

        async def run(connection: Connection) -> list[DictRow]:
            return await fetch(connection, sql, parameters)

        return await self._with_connection(run)

    async def query(self, query: Select[*tuple[Any, ...]]) -> list[DictRow]:
        """`rows` for a query that was built with SQLAlchemy from tables.py."""
        compiled = query.compile(dialect=DIALECT, compile_kwargs=_IN_FULL)
        return await self.select(str(compiled), dict(compiled.params))

    async def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in one transaction; all of it again after a deadlock or a lost connection."""

        async def run(connection: Connection) -> T:
            async with connection.transaction():
                return await work(connection)

        return await self._with_connection(run)

    async def snapshot(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run reads on one consistent picture of the database."""

        async def run(connection: Connection) -> T:
            async with connection.transaction():
                await connection.execute(statement("begin_snapshot"))
                return await work(connection)

        return await self._with_connection(run)

    @asynccontextmanager
    async def advisory_lock(self, key: int) -> AsyncIterator[bool]:
        """Try for a session's advisory lock on a connection of its own; yields whether we have it.

        A holder that dies loses its connection, and with it the lock; one that is stopped (SIGSTOP)
        loses it after a minute.
        """
        try:
            async with self._pool.connection(timeout=self._wait_seconds) as connection:
                [row] = await fetch(connection, statement("try_advisory_lock"), {"key": key})
                if row["held"]:
                    await connection.execute(statement("end_idle_session").encode())
                try:
                    yield bool(row["held"])
                finally:
                    if row["held"] and not connection.closed:
                        await fetch(connection, statement("release_advisory_lock"), {"key": key})
        except (PoolTimeout, PoolClosed) as error:
            raise StoreUnavailable("Postgres cannot be reached") from error
        except psycopg.Error as error:
            raise translate(error) from error

    async def _with_connection(self, run: Callable[[Connection], Awaitable[T]]) -> T:
        for tries_left in reversed(range(_TRIES)):
            try:
                async with self._pool.connection(timeout=self._wait_seconds) as connection:
                    return await run(connection)
            except (PoolTimeout, PoolClosed) as error:
                raise StoreUnavailable("Postgres cannot be reached") from error
            except psycopg.Error as error:
                if not tries_left or not is_transient(error):
                    raise translate(error) from error
                await self._freshen()
        raise AssertionError("the last try returns or raises")

    async def _freshen(self) -> None:
        """Throw out the connections that died together (a server restart kills them all)."""
        await self._pool.check()
        await asyncio.sleep(0.02)


async def fetch(connection: Connection, sql: str, parameters: dict[str, Any]) -> list[DictRow]:
    """Run a statement on this connection and return its rows, none for one that returns nothing."""
    cursor = await connection.execute(sql.encode(), parameters)
    return await cursor.fetchall() if cursor.description else []


async def run(connection: Connection, query: str, /, **parameters: Any) -> list[DictRow]:
    """Run a named statement on this connection, inside of its transaction."""
    return await fetch(connection, statement(query), parameters)
