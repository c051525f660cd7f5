"""Fixtures of more than one module."""

from collections.abc import Iterator

import pytest

from tests.budget_world import authority, connect, raw
from tests.integration.databases import migrated_database
from tests.simulated import SimulatedProvider

__all__ = ["authority", "connect", "raw"]


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatedProvider]:
    """A simulated provider of this module, with an invoice of its own."""
    provider = SimulatedProvider()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def database(database_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of this module with curb's tables in it."""
    name = request.module.__name__.rpartition(".test_")[2]
    with migrated_database(database_url, name) as url:
        yield url
