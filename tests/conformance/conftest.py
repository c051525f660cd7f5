"""Fixtures shared with the integration tests."""

from tests.integration.conftest import database, simulator

__all__ = ["database", "simulator"]
