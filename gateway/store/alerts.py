"""Alerts as people follow them: open, acknowledged, resolved, silenced; and who was told."""

from gateway.store import tables_alerts
from gateway.store.database import Database

TABLES = (
    tables_alerts.alerts,
    tables_alerts.alert_sightings,
    tables_alerts.silences,
    tables_alerts.deliveries,
)


class Alerts:
    """Alerts, silences, deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database
