"""Postgres: tables, migrations, and a Store of small classes; SQL by name in queries/*.sql.

`gateway.store.migrate` is imported by its own name: Alembic is slow to load, and only migrating needs it.
"""

from gateway.store.attempts import AttemptRow, Booked, Spend, Totals, settlement_of
from gateway.store.budgets import Limits, PolicyVersion, Rule
from gateway.store.conversations import Item
from gateway.store.errors import StoreRejected
from gateway.store.runs import Run, RunEvent
from gateway.store.store import Store

__all__ = [
    "AttemptRow",
    "Booked",
    "Item",
    "Limits",
    "PolicyVersion",
    "Rule",
    "Run",
    "RunEvent",
    "Spend",
    "Store",
    "StoreRejected",
    "Totals",
    "settlement_of",
]
