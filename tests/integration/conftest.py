"""Fixtures of more than one module."""

from tests.budget_world import authority, connect, raw

__all__ = ["authority", "connect", "raw"]
