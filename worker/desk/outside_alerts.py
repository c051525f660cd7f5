"""Alerts of Prometheus, written down as events: whoever follows curb's own alerts follows these too."""

from collections.abc import Sequence

from gateway.policy.outside_alerts import OutsideAlert
from gateway.store import Store


async def note_outside_alerts(store: Store, alerts: Sequence[OutsideAlert]) -> int:
    """Write down what is new; how many were. Told twice they are written once. Raises StoreUnavailable."""
    new = 0
    for alert in alerts:
        new += await store.events.alert(
            alert.rule,
            alert.scope,
            alert.evidence(),
            key=alert.key,
            state=alert.status,
            severity=alert.severity,
        )
    return new
