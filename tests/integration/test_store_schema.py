"""Migrations make exactly the tables that tables.py describes."""

import threading
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.store import Store
from gateway.store.columns import metadata
from gateway.store.database import database_url as as_url
from gateway.store.migrate import current_revision, migrate, pending
from tests.integration.databases import empty_database


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    with empty_database(database_url, "test_schema") as url:
        yield url


def test_an_empty_database_is_brought_up_once(url: str) -> None:
    before = pending(url)

    assert current_revision(url) is None
    assert migrate(url) == before[-1]
    assert migrate(url) == before[-1]
    assert pending(url) == ()


def test_two_processes_may_migrate_at_once(url: str) -> None:
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(migrate(url))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [current_revision(url)] * 3


def test_the_tables_are_those_described(url: str) -> None:
    migrate(url)
    engine = create_engine(as_url(url))
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()

    assert differences == []


async def test_a_database_that_was_not_migrated_says_so(url: str) -> None:
    async with await Store.connect(url) as store:
        with pytest.raises(StoreUnavailable, match="curb migrate"):
            await store.runs.get("r1")


async def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await Store.connect("postgresql://nobody@127.0.0.1:1/none", wait_seconds=0.3)


async def test_another_kind_of_database_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="postgresql://"):
        await Store.connect("mysql://localhost/x")
