"""Postgres: tables, migrations, and a Store of small classes; SQL by name in queries/*.sql."""

from gateway.store.attempts import AttemptRow, Booked, Spend, Totals, settlement_of
from gateway.store.budgets import Limits, PolicyVersion, Rule
from gateway.store.conversations import Item
from gateway.store.errors import StoreRejected
from gateway.store.migrate import current_revision, migrate, pending
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
    "current_revision",
    "migrate",
    "pending",
    "settlement_of",
]
