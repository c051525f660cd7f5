"""Redis for the tutorial on budgets."""

from tests.budget_world import authority, connect, raw

__all__ = ["authority", "connect", "raw"]
