"""Bring a database to this version of curb. Synchronous: it runs before anything else does."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from gateway.store.database import database_url
from gateway.store.errors import translate

MIGRATION_LOCK = 0x6375_7262_0001  # "curb": two processes that start at once migrate one after the other


def migrate(url: str) -> str:
    """Upgrade to the newest revision and return its name; nothing happens when it is there already.

    Raises StoreUnavailable when Postgres does not answer, ConfigurationError for a bad URL.
    """
    with _connected(url) as connection, _config(connection) as config:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
        try:
            command.upgrade(config, "head")
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
            connection.commit()
        return _revision(connection) or ""


def current_revision(url: str) -> str | None:
    """The revision that the database is at; None for an empty one."""
    with _connected(url) as connection:
        return _revision(connection)


def pending(url: str) -> tuple[str, ...]:
    """The revisions that `migrate` would run, oldest first."""
    with _connected(url) as connection, _config(connection) as config:
        script = ScriptDirectory.from_config(config)
        at = _revision(connection) or "base"
        steps = [step.revision for step in script.iterate_revisions("head", at)]
        return tuple(reversed(steps))


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(database_url(url), poolclass=NullPool, connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection:
            yield connection
    except (DBAPIError, OperationalError) as error:
        raise translate(error) from error
    finally:
        engine.dispose()


@contextmanager
def _config(connection: Connection) -> Iterator[Config]:
    with as_file(files("gateway.store") / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        yield config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
