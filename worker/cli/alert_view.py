"""Alerts and silences as `curb alerts` shows them to people."""

from collections.abc import Mapping, Sequence

from rich.text import Text

from gateway.policy.alert_plan import Delivery
from gateway.policy.alert_routes import Silence
from gateway.policy.alerts import AlertRecord
from worker.cli import output

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


def matchers_text(silence: Silence) -> str:
    said = (
        ("rule", silence.rule),
        ("scope", silence.scope),
        ("agent", silence.agent),
        ("team", silence.team),
    )
    return ", ".join(f"{name} {pattern}" for name, pattern in said if pattern)
