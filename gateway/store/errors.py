"""The errors of the store, and how those of the driver become them.

CurbError
├── StoreUnavailable      nobody answers, or not in a way that waiting could cure (see gateway.errors)
└── StoreRejected         Postgres answers, and refuses the values: trying again cannot help
"""

import psycopg
from sqlalchemy.exc import DBAPIError

from gateway.errors import CurbError, StoreUnavailable

# SQLSTATE classes that say something about the values, not about the server or its schema.
_ABOUT_THE_VALUES = ("21", "22", "23", "27", "44", "P0")
_TRY_AGAIN = ("40001", "40P01")


class StoreRejected(CurbError):
    """Postgres refused a value: a constraint, a type, a trigger."""


def is_transient(error: psycopg.Error) -> bool:
    """A deadlock, a serialization failure, or a connection that died under us: worth another try."""
    lost = isinstance(error, psycopg.OperationalError) and (not error.sqlstate or error.sqlstate[:2] == "57")
    return lost or error.sqlstate in _TRY_AGAIN


def translate(error: psycopg.Error | DBAPIError) -> CurbError:
    """The error of the store that a driver's error means; chain it with `from`."""
    driver = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(driver, "sqlstate", None) or "")
    # The first line alone: the rest may quote values, and with them prompts.
    said = next(iter(str(driver).strip().splitlines()), type(driver).__name__)
    if state.startswith(_ABOUT_THE_VALUES) or isinstance(driver, psycopg.DataError):
        return StoreRejected(f"Postgres refused a value ({state}): {said}")
    if state.startswith("42"):
        return StoreUnavailable(f"the database is not at this version of curb (run `curb migrate`): {said}")
    return StoreUnavailable(f"Postgres cannot be used: {said}")
