"""Limits are written down in Postgres first; this tells the authority."""

import contextlib

from gateway.state.authority import Authority
from gateway.state.decisions import AdmissionClosed
from gateway.store import Store


async def announce_limits(store: Store, authority: Authority) -> int:
    """Put in force, in all processes, what Postgres says; the version that holds.

    Raises StateUnavailable, StoreUnavailable. Closed admission is fine: whoever opens it reads the
    limits from Postgres, where they are now.
    """
    version, limits = await store.budgets.current_limits()
    with contextlib.suppress(AdmissionClosed):
        await authority.apply_limits(version, limits)
    return version
