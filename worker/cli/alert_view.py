"""Alerts and silences as `curb alerts` shows them: tables for people, documents for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from gateway.policy.alert_plan import Delivery
from gateway.policy.alert_routes import Silence
from gateway.policy.alerts import AlertRecord
from worker.cli import output
from worker.cli.output import at_text, usd_text

_STYLES = {"critical": "red", "warning": "yellow", "info": "cyan"}


def print_alerts(
    alerts: Sequence[AlertRecord],
    told: Mapping[str, Sequence[Delivery]],
    quiet: Mapping[str, Silence | None],
) -> None:
    """told: by alert; quiet: the silence of an alert, if any."""
    rows = output.table("id", "severity", "status", "what", "seen", "last", "told", wrap=("what", "told"))
    for alert in alerts:
        silenced = quiet.get(alert.id)
        status: str = alert.status
        if alert.status == "acknowledged":
            status += f" by {alert.acknowledged_by}"
        if silenced:
            status += ", silenced"
        what = Text(alert.title)
        for extra in (alert.action, alert.note):
            what.append(f"\n{extra}" if extra else "", style="dim")
        rows.add_row(
            alert.id,
            Text(alert.severity, style=_STYLES[alert.severity]),
            output.shortened(status),
            what,
            str(alert.count),
            output.clock(alert.last_seen),
            _told(told[alert.id]),
        )
    output.console().print(rows)


def _told(deliveries: Sequence[Delivery]) -> str:
    """By channel, how its last message went; why, where it did not."""
    last = {each.channel: each for each in deliveries if each.state != "superseded"}
    words = []
    for channel, each in last.items():
        text = channel if each.state == "delivered" else f"{channel} {each.state}"
        why = f" ({output.shortened(each.error, 80)})" if each.error and each.state != "delivered" else ""
        words.append(text + why)
    return ", ".join(words) or "nobody"


def alert_document(
    alert: AlertRecord, deliveries: Sequence[Delivery], silence: Silence | None
) -> dict[str, Any]:
    return {
        "id": alert.id,
        "rule": alert.rule,
        "severity": alert.severity,
        "status": alert.status,
        "scope": alert.scope,
        "agent": alert.agent,
        "team": alert.team,
        "title": alert.title,
        "evidence": _in_dollars(alert.evidence),
        "action": alert.action,
        "count": alert.count,
        "first_seen": at_text(alert.first_seen),
        "last_seen": at_text(alert.last_seen),
        "acknowledged_by": alert.acknowledged_by or None,
        "acknowledged_at": at_text(alert.acknowledged_at),
        "note": alert.note,
        "resolved_at": at_text(alert.resolved_at),
        "resolution": alert.resolution,
        "silence": silence.id if silence else None,
        "told": [
            {
                "kind": each.kind,
                "number": each.number,
                "channel": each.channel,
                "state": each.state,
                "tries": each.tries,
                "error": each.error,
                "delivered_at": at_text(each.delivered_at),
            }
            for each in deliveries
        ],
    }


def _in_dollars(value: Any) -> Any:
    """Amounts as decimal strings, under names that say so."""
    if isinstance(value, list):
        return [_in_dollars(each) for each in value]
    if not hasattr(value, "items"):
        return value
    return {
        (key.removesuffix("_nano_usd") + "_usd" if _is_money(key, each) else key): (
            usd_text(each) if _is_money(key, each) else _in_dollars(each)
        )
        for key, each in value.items()
    }


def _is_money(key: str, value: Any) -> bool:
    return key.endswith("_nano_usd") and isinstance(value, int)


def silence_document(silence: Silence) -> dict[str, Any]:
    matchers = {"rule": silence.rule, "scope": silence.scope, "agent": silence.agent, "team": silence.team}
    return {
        "id": silence.id,
        **matchers,
        "until": at_text(silence.until),
        "by": silence.by,
        "reason": silence.reason,
    }


def matchers_text(silence: Silence) -> str:
    said = (
        ("rule", silence.rule),
        ("scope", silence.scope),
        ("agent", silence.agent),
        ("team", silence.team),
    )
    return ", ".join(f"{name} {pattern}" for name, pattern in said if pattern)
