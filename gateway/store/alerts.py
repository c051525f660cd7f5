"""Alerts as people follow them: open, acknowledged, resolved, silenced; and who was told.

Everything that is written here may be written again: a sighting counts once, what was planned is not
planned anew, what was delivered stays delivered.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from gateway.errors import NotFound
from gateway.policy.alert_catalogue import rank
from gateway.policy.alert_plan import Decision, Delivery, DeliveryState, Tell
from gateway.policy.alert_routes import Silence
from gateway.policy.alerts import AlertRecord, Consequence, Event, Sighting, SwitchEvent, alert_id
from gateway.store import tables_alerts
from gateway.store.database import Connection, Database, run

TABLES = (
    tables_alerts.alerts,
    tables_alerts.alert_sightings,
    tables_alerts.silences,
    tables_alerts.deliveries,
)

Decide = Callable[[AlertRecord, Sequence[Delivery], Sequence[Silence]], Decision]
_OVER = "over"


@dataclass(frozen=True, slots=True)
class Review:
    """An alert after a decision. pending: what is still to be told, oldest first."""

    alert: AlertRecord
    decision: Decision
    pending: tuple[Tell, ...]
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Unnoticed:
    """Rows that were not looked at yet, in the order in which they happened."""

    rows: tuple[Event | SwitchEvent, ...]

    def keys(self, kind: type[Event] | type[SwitchEvent]) -> list[str]:
        return [row.key for row in self.rows if isinstance(row, kind)]


class Alerts:
    """Alerts, silences, deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # From events to alerts

    async def unnoticed(self, *, limit: int = 200) -> Unnoticed:
        """Events and switch changes that nobody has made alerts of, at most `limit` of each."""
        events = await self._database.rows("unnoticed_events", limit=limit)
        switches = await self._database.rows("unnoticed_switch_events", limit=limit)
        rows: list[tuple[tuple[Any, ...], Event | SwitchEvent]] = []
        rows += [(_place(row), Event(**row)) for row in events]
        rows += [(_place(row), SwitchEvent(**row)) for row in switches]
        return Unnoticed(tuple(row for _, row in sorted(rows, key=lambda placed: placed[0])))

    async def notice(self, seen: Unnoticed) -> None:
        """These became alerts, or need not."""
        await self._database.rows("notice_events", keys=seen.keys(Event))
        await self._database.rows("notice_switch_events", keys=seen.keys(SwitchEvent))

    async def see(self, sighting: Sighting) -> str | None:
        """Count a sighting. The id of an alert whose workflow has something to do now, else None.

        The same sighting again counts nothing, and returns the same while there is something to do.
        """

        async def count(connection: Connection) -> str | None:
            await run(connection, "lock_fingerprint", fingerprint=sighting.fingerprint)
            counted = await run(connection, "alert_of_sighting", key=sighting.key)
            if counted:
                return await _in_need(connection, counted[0]["alert_id"], sighting.at)
            if sighting.over:
                return await _end(connection, sighting)
            return await _in_need(connection, await _count(connection, sighting), sighting.at)

        return await self._database.transact(count)

    async def attach(self, done: Consequence) -> bool:
        """Write down what was done about something, with its newest open alert. False: there is none."""
        row = await self._database.row(
            "note_action", rules=list(done.rules), agent=done.agent, scope=done.scope, text=done.text
        )
        return row is not None

    # From alerts to people

    async def review(self, alert: str, decide: Decide, now: datetime) -> Review:
        """Decide about an alert on what is written down, and write the decision down. Raises NotFound."""

        async def decided(connection: Connection) -> Review:
            rows = await run(connection, "lock_alert", id=alert)
            if not rows:
                raise NotFound(f"there is no alert {alert}")
            record = _record(rows[0])
            planned = await _deliveries(connection, alert)
            silences = [Silence(**row) for row in await run(connection, "silences", now=now)]
            decision = decide(record, planned, silences)
            await _write(connection, alert, decision, now)
            [row] = await run(connection, "alert", id=alert)
            planned = await _deliveries(connection, alert)
            pending = tuple(Tell(d.kind, d.number, d.channel) for d in planned if d.state == "pending")
            return Review(_record(row), decision, pending, tuple(planned))

        return await self._database.transact(decided)

    async def delivery(self, alert: str, tell: Tell) -> Delivery | None:
        row = await self._database.row("delivery", subject=alert, **_key(tell))
        return _delivery(row) if row else None

    async def tried(self, alert: str, tell: Tell, state: DeliveryState, error: str = "") -> None:
        """What a try came to; `pending` is one that failed and will be made again."""
        await self._database.rows(
            "end_delivery", subject=alert, state=state, error=error, tries=1, **_key(tell)
        )

    async def supersede(self, alert: str, tell: Tell) -> None:
        """This message has nothing more to say."""
        await self._database.rows(
            "end_delivery", subject=alert, state="superseded", error="", tries=0, **_key(tell)
        )

    async def give_up(self, alert: str, tell: Tell, reason: str = "") -> None:
        """No more tries for this message. reason: where no try said why."""
        await self._database.rows("give_up_delivery", subject=alert, reason=reason, **_key(tell))

    # What people do and see

    async def get(self, alert: str) -> AlertRecord:
        """Raises NotFound."""
        row = await self._database.row("alert", id=alert)
        if row is None:
            raise NotFound(f"there is no alert {alert}")
        return _record(row)

    async def beginning(self, prefix: str, *, limit: int = 5) -> list[AlertRecord]:
        """The alerts whose ids begin so."""
        return [
            _record(row) for row in await self._database.rows("alerts_beginning", prefix=prefix, limit=limit)
        ]

    async def recent(self, *, ended: bool = False, limit: int = 200) -> list[AlertRecord]:
        """Open alerts, newest first; with `ended` the resolved ones after them."""
        return [_record(row) for row in await self._database.rows("list_alerts", ended=ended, limit=limit)]

    async def deliveries(self, alerts: Sequence[str]) -> dict[str, list[Delivery]]:
        """Who was told, by alert."""
        found: dict[str, list[Delivery]] = {alert: [] for alert in alerts}
        for row in await self._database.rows("alert_deliveries", subjects=list(alerts)):
            found[row["subject"]].append(_delivery(row))
        return found

    async def acknowledge(self, alert: str, by: str, note: str, at: datetime) -> bool:
        """Somebody looks after it. False: it is acknowledged or over already."""
        row = await self._database.row("acknowledge_alert", id=alert, by=by, note=note, at=at)
        return row is not None

    async def end(self, alert: str, by: str, at: datetime) -> bool:
        """Somebody says that it is over. False: it was already."""
        row = await self._database.row("end_alert", id=alert, resolution=f"by {by}", at=at)
        return row is not None

    async def nudged(self, *, limit: int = 100) -> Mapping[str, datetime]:
        """Alerts whose workflows are to look now, and since when."""
        rows = await self._database.rows("nudged_alerts", limit=limit)
        return {row["id"]: row["nudged_at"] for row in rows}

    async def end_nudge(self, alert: str, nudged_at: datetime) -> None:
        await self._database.rows("end_nudge", id=alert, nudged_at=nudged_at)

    async def overlooked(self, seconds: float, *, limit: int = 100) -> list[str]:
        """Alerts that should have been looked at so long ago: nobody follows them, or not in time."""
        rows = await self._database.rows("overlooked_alerts", seconds=seconds, limit=limit)
        return [row["id"] for row in rows]

    async def silence(self, silence: Silence) -> None:
        await self._database.rows("insert_silence", **_values(silence))

    async def silences(self, now: datetime) -> list[Silence]:
        """Those that last, the first to end first."""
        return [Silence(**row) for row in await self._database.rows("silences", now=now)]

    async def end_silence(self, prefix: str) -> Silence | None:
        """End the one silence whose id begins so, and have open alerts looked at. None: there is not one."""
        row = await self._database.row("end_silence", prefix=prefix)
        if row is None:
            return None
        await self._database.rows("nudge_open_alerts")
        return Silence(**row)


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    """Take out of a row where it stands in the order of things."""
    return row["at"], row.pop("epoch"), row.pop("seq")


async def _count(connection: Connection, sighting: Sighting) -> str:
    """Open an alert, or count one more sighting of the open one; returns its id."""
    values = {**_values(sighting), "evidence": json.dumps(dict(sighting.evidence), default=str)}
    rows = await run(connection, "lock_open_alert", fingerprint=sighting.fingerprint)
    if rows:
        found = {"id": rows[0]["id"], **values}
        await run(connection, "count_sighting", **found)
        if rank(sighting.severity) >= rank(rows[0]["severity"]):
            await run(connection, "take_over_alert", **found)
        if rank(sighting.severity) > rank(rows[0]["severity"]):
            await run(connection, "worsen_alert", **found)
    else:
        found = {"id": alert_id(sighting), **values}
        await run(connection, "insert_new_alert", **found)
    await run(connection, "insert_sighting", key=sighting.key, id=found["id"])
    return str(found["id"])


async def _end(connection: Connection, sighting: Sighting) -> str | None:
    """End the open alert that this is about, unless it was seen again since."""
    rows = await run(connection, "lock_open_alert", fingerprint=sighting.fingerprint)
    if not rows or rows[0]["last_seen"] > sighting.at:
        return None
    alert = str(rows[0]["id"])
    await run(connection, "end_alert", id=alert, at=sighting.at, resolution=_OVER)
    await run(connection, "insert_sighting", key=sighting.key, id=alert)
    return alert


async def _in_need(connection: Connection, alert: str, at: datetime) -> str | None:
    """The alert's id when it got worse, is over, or is seen after its quiet time."""
    rows = await run(connection, "alert", id=alert)
    if not rows:  # its time of keeping is over
        return None
    found = _record(rows[0])
    if found.status == "resolved":
        return alert if found.look_at is not None else None
    quiet = found.quiet_until is not None and at < found.quiet_until
    untold = found.told_generation < found.generation
    return alert if untold or (found.status == "firing" and not quiet) else None


async def _write(connection: Connection, alert: str, decision: Decision, now: datetime) -> None:
    for tell in decision.tells:
        await run(connection, "plan_delivery", subject=alert, at=now, **_key(tell))
    await run(
        connection,
        "write_decision",
        id=alert,
        now=now,
        resolution=decision.resolution,
        told=decision.told,
        tells=bool(decision.tells),
        quiet_until=decision.quiet_until,
        look_at=decision.look_at,
    )


async def _deliveries(connection: Connection, alert: str) -> list[Delivery]:
    return [_delivery(row) for row in await run(connection, "alert_deliveries", subjects=[alert])]


def _record(row: Mapping[str, Any]) -> AlertRecord:
    return AlertRecord(**{each.name: row[each.name] for each in fields(AlertRecord)})


def _delivery(row: Mapping[str, Any]) -> Delivery:
    return Delivery(**{each.name: row[each.name] for each in fields(Delivery)})


def _values(value: Sighting | Silence) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _key(tell: Tell) -> dict[str, Any]:
    return {"kind": tell.kind, "number": tell.number, "channel": tell.channel}
