"""Alerts and silences."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from gateway.policy.outside_alerts import OutsideAlert
from worker.api.access import Person, allowed
from worker.api.documents import (
    Acknowledged,
    Alert,
    AlertmanagerMessage,
    Alerts,
    NewSilence,
    Note,
    Noted,
    Silence,
    Silenced,
    Silences,
)
from worker.api.office import Office
from worker.api.problems import Wrong
from worker.desk import alerts as desk
from worker.desk.outside_alerts import note_outside_alerts

Id = Annotated[str, Path(max_length=100, pattern=r"^[^\x00]+$")]


def alerts(office: Office) -> APIRouter:
    """The endpoints."""
    router = APIRouter(tags=["alerts"])
    viewer = Depends(allowed(office, "viewer"))
    operator = Depends(allowed(office, "operator"))

    @router.get("/api/v1/alerts", dependencies=[viewer])
    async def recent(
        ended: Annotated[bool, Query(description="Those that are over, too.")] = False,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
    ) -> Alerts:
        """What fires, who was told, and who looks after it."""
        found = await desk.alert_documents(office.store, ended=ended, limit=limit)
        return Alerts(alerts=[Alert.model_validate(each) for each in found])

    @router.post("/api/v1/alerts/{alert}/ack")
    async def acknowledge(
        alert: Id, person: Annotated[Person, operator], asked: Note | None = None
    ) -> Acknowledged:
        """Say that you look after it: it is not told again and not escalated, unless it gets worse."""
        note = (asked or Note()).note
        found, signalled = await desk.acknowledge(
            office.store, office.temporal, alert, by=person.name, note=note
        )
        if found.status == "resolved":
            raise Wrong(f"{alert} is over already", "alert", status=409, code="conflict")
        return Acknowledged(id=found.id, acknowledged_by=found.acknowledged_by, signalled=signalled)

    @router.post("/api/v1/alerts/alertmanager", dependencies=[operator])
    async def outside(told: AlertmanagerMessage) -> Noted:
        """Take what Alertmanager tells; curb tells it to whom its own alerts go."""
        alerts = [
            OutsideAlert(each.status, each.fingerprint, each.startsAt, each.labels, each.annotations)
            for each in told.alerts
        ]
        new = await note_outside_alerts(office.store, alerts)
        return Noted(new=new, known=len(alerts) - new)

    @router.get("/api/v1/silences", dependencies=[viewer])
    async def silences() -> Silences:
        """What is silenced, until when."""
        found = await office.store.alerts.silences(datetime.now(UTC))
        return Silences(silences=[Silence.model_validate(desk.silence_document(each)) for each in found])

    @router.post("/api/v1/silences", status_code=201)
    async def silence(asked: NewSilence, person: Annotated[Person, operator]) -> Silenced:
        """Hear nothing of what matches, for a while; it is written down all the same."""
        matchers = {name: getattr(asked, name) for name in ("rule", "scope", "agent", "team")}
        made, covered = await desk.silence(
            office.store, matchers, asked.seconds, by=person.name, reason=asked.reason
        )
        return Silenced(silence=Silence.model_validate(desk.silence_document(made)), alerts=covered)

    @router.delete("/api/v1/silences/{silence}")
    async def end_silence(silence: Id, person: Annotated[Person, operator]) -> Silence:
        """End a silence."""
        ended = await desk.end_silence(office.store, silence, by=person.name)
        return Silence.model_validate(desk.silence_document(ended))

    return router
