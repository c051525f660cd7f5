"""Alerts in the books, without a dispatcher that tells them."""

import secrets
from datetime import UTC, datetime

from gateway.policy.alerts import Event, Reader
from gateway.store import Store


async def add_alert(store: Store, scope: str) -> str:
    """A provider_down that fires; its id."""
    event = Event(secrets.token_hex(6), "provider_down", scope, {}, datetime.now(UTC))
    alert = await store.alerts.see(Reader().event(event))
    assert alert is not None
    return alert
