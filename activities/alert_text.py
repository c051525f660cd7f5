"""An alert as a message to people, and as the text that the Temporal UI shows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from activities.channels import Message
from activities.supervision import Supervision
from gateway.policy.alert_catalogue import known_rule
from gateway.policy.alert_plan import Delivery, Tell
from gateway.policy.alert_words import clock, duration, facts, seconds_between
from gateway.policy.alerts import AlertRecord

_HIDDEN = frozenset({"agent", "team", "channels", "rule", "counter", "what"})
_FIELDS = 20
_MARKS = {"delivered": "told", "pending": "not yet", "refused": "refused", "failed": "given up"}


def workflow_id(alert: str) -> str:
    """The id of the workflow that follows an alert."""
    return f"curb-alert-{alert}"


def alert_message(alert: AlertRecord, tell: Tell, supervision: Supervision, now: datetime) -> Message:
    """What this channel is told. Its numbers are those of the alert now."""
    return Message(
        kind=tell.kind,
        severity=alert.severity,
        title=alert.title,
        text=_text(alert, tell, now),
        key=workflow_id(alert.id),
        number=tell.number,
        at=_at(alert, tell, now),
        fields=tuple(_fields(alert, now)[:_FIELDS]),
        links=tuple(_links(alert, supervision)),
        data=_data(alert, tell),
    )


def details(alert: AlertRecord, deliveries: Sequence[Delivery], held: str, look_at: datetime | None) -> str:
    """Markdown for the Temporal UI: what it is, who was told, what comes next."""
    lines = [
        f"**{alert.title}**",
        f"{alert.severity}, {alert.status}, seen {_times(alert.count)}, last at {_minute(alert.last_seen)}",
    ]
    if alert.acknowledged_by:
        lines.append(f"{alert.acknowledged_by} looks after it")
    lines += [f"held back: {held}"] if held else []
    lines += [_told(each) for each in deliveries]
    if look_at is not None:
        lines.append(f"looked at again by {_minute(look_at)}")
    if alert.status == "firing":
        lines.append(f"`curb alerts ack {alert.id}`, or the signal `acknowledge` with your name")
    return "\n\n".join(lines)


def _text(alert: AlertRecord, tell: Tell, now: datetime) -> str:
    if tell.kind == "resolved":
        return _ending(alert)
    said = []
    if tell.kind == "escalated" and alert.told_at is not None:
        said.append(f"Nobody has acknowledged this for {duration(seconds_between(alert.told_at, now))}.")
    elif tell.kind == "repeated":
        said.append(f"Seen {_times(alert.count)} since {clock(alert.first_seen.astimezone(UTC), now)}.")
    said.append(known_rule(alert.rule).advice)
    said.append(f"Acknowledge: curb alerts ack {alert.id}")
    return " ".join(filter(None, said))


def _ending(alert: AlertRecord) -> str:
    lasted = duration(max(1.0, seconds_between(alert.first_seen, alert.resolved_at or alert.last_seen)))
    match alert.resolution:
        case "over":
            return f"It is over, after {lasted}."
        case "quiet":
            quiet = seconds_between(alert.last_seen, alert.resolved_at or alert.last_seen)
            return f"It was not seen again for {duration(max(1.0, quiet))}."
        case "window":
            return "A new period has begun, with nothing spent."
        case by:
            return f"Ended {by}, after {lasted}."


def _at(alert: AlertRecord, tell: Tell, now: datetime) -> datetime:
    match tell.kind:
        case "resolved":
            return alert.resolved_at or now
        case "escalated":
            return now
        case _:
            return alert.last_seen


def _fields(alert: AlertRecord, now: datetime) -> list[tuple[str, str]]:
    about = [("agent", alert.agent), ("team", alert.team)]
    if alert.scope not in ("", f"agent:{alert.agent}", f"team:{alert.team}"):
        about.append(("scope", alert.scope))
    about += [(each.name, each.exact) for each in facts(alert.evidence) if each.name not in _HIDDEN]
    about.append(("done", alert.action))
    if alert.count > 1:
        since = clock(alert.first_seen.astimezone(UTC), now)
        about.append(("seen", f"{_times(alert.count)} since {since}"))
    return [(name, value) for name, value in about if value]


def _links(alert: AlertRecord, supervision: Supervision) -> list[tuple[str, str]]:
    kind, _, run = alert.scope.partition(":")
    run = run if kind == "run" else str(alert.evidence.get("run_id") or "")
    links = [(f"Run {run}", supervision.workflow_url(run))] if run else []
    links.append(("Alert", supervision.workflow_url(workflow_id(alert.id))))
    return [(words, url) for words, url in links if url]


def _data(alert: AlertRecord, tell: Tell) -> dict[str, Any]:
    return {
        "id": alert.id,
        "kind": tell.kind,
        "rule": alert.rule,
        "severity": alert.severity,
        "status": alert.status,
        "scope": alert.scope,
        "agent": alert.agent,
        "team": alert.team,
        "title": alert.title,
        "evidence": dict(alert.evidence),
        "action": alert.action,
        "count": alert.count,
        "first_seen": alert.first_seen.astimezone(UTC).isoformat(),
        "last_seen": alert.last_seen.astimezone(UTC).isoformat(),
        "resolved_at": alert.resolved_at.astimezone(UTC).isoformat() if alert.resolved_at else None,
    }


def _told(delivery: Delivery) -> str:
    mark = _MARKS.get(delivery.state, delivery.state)
    why = f" ({delivery.error})" if delivery.error and delivery.state != "delivered" else ""
    return f"- {delivery.kind} → {delivery.channel}: {mark}{why}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
