"""A database of its own for each test module, in the PostgreSQL of the test session."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import make_url

from gateway.store.migrate import migrate


@contextmanager
def empty_database(server_url: str, name: str) -> Iterator[str]:
    """Create a database of this name and drop it in the end; yields its URL."""
    url = make_url(server_url)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield url.set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def migrated_database(server_url: str, name: str) -> Iterator[str]:
    """The same with curb's tables in it."""
    with empty_database(server_url, name) as url:
        migrate(url)
        yield url


@contextmanager
def copied_database(server_url: str, template_url: str, name: str) -> Iterator[str]:
    """A copy of a database to which nobody is connected: much quicker than migrating again."""
    url = make_url(server_url)
    template = make_url(template_url).database
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        yield url.set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
