"""Alerts and silences: acknowledged, silenced, and as documents for programs."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

from activities.alert_text import workflow_id
from gateway.errors import ConfigurationError, NotFound
from gateway.policy.alert_catalogue import RULES
from gateway.policy.alert_plan import Delivery
from gateway.policy.alert_routes import Silence, silence_of
from gateway.policy.alerts import ID_ALPHABET, AlertRecord
from gateway.store import Store
from worker.config_errors import suggestion
from worker.desk.documents import at_text, usd_text

_SIGNAL_SECONDS = timedelta(seconds=3)
_SILENCE_LETTERS = 6


async def alert_documents(store: Store, *, ended: bool, limit: int) -> list[dict[str, Any]]:
    """Alerts, the newest first, with who was told and what silences them. ended: those that are over, too."""
    now = datetime.now(UTC)
    alerts = await store.alerts.recent(ended=ended, limit=limit)
    told = await store.alerts.deliveries([alert.id for alert in alerts])
    silences = await store.alerts.silences(now)
    return [
        alert_document(a, told[a.id], None if a.status == "resolved" else silence_of(a, silences, now))
        for a in alerts
    ]


async def acknowledge(
    store: Store, temporal: Client | None, alert_id: str, *, by: str, note: str
) -> tuple[AlertRecord, bool]:
    """Write down who looks after an alert, and tell its workflow; the alert, and whether that was told.

    One that is over already is returned as it is. What counts is in Postgres: a workflow that was not
    reached notices. Raises NotFound.
    """
    new = await store.alerts.acknowledge(alert_id, by, note, datetime.now(UTC))
    alert = await store.alerts.get(alert_id)
    if not new or alert.status == "resolved":
        return alert, False
    await store.events.audit(by, "alert_ack", alert.id, {"rule": alert.rule, "note": note})
    return alert, await _signal(temporal, alert.id, by)


async def silence(
    store: Store, matchers: Mapping[str, str], seconds: int, *, by: str, reason: str
) -> tuple[Silence, list[str]]:
    """Hear nothing of what matches for so long; the silence, and the open alerts that it covers.

    matchers: rule, scope, agent, team, as globs. Raises ConfigurationError for a rule that is none, or
    when nothing is said.
    """
    _check(matchers)
    now = datetime.now(UTC)
    made = Silence(
        id="".join(secrets.choice(ID_ALPHABET) for _ in range(_SILENCE_LETTERS)),
        until=now + timedelta(seconds=seconds),
        by=by,
        reason=reason,
        **matchers,
    )
    await store.alerts.silence(made)
    await store.events.audit(by, "silence", made.id, {**matchers, "seconds": seconds, "reason": reason})
    return made, [a.id for a in await store.alerts.recent(limit=10_000) if made.covers(a, now)]


async def end_silence(store: Store, prefix: str, *, by: str) -> Silence:
    """End the silence of this id, or the one that begins so. Raises NotFound."""
    ended = await store.alerts.end_silence(prefix)
    if ended is None:
        raise NotFound(f"there is not one silence that begins {prefix}; see `curb alerts list --silences`")
    await store.events.audit(by, "silence_end", ended.id)
    return ended


def unheard_of(rule: str) -> str:
    """What is wrong with the pattern of a rule; '' when some rule matches, or none is given."""
    if not rule or any(fnmatchcase(each, rule) for each in RULES):
        return ""
    return f"{rule!r}: there is no such rule{suggestion(rule, list(RULES))}"


def _check(matchers: Mapping[str, str]) -> None:
    if not any(matchers.values()):
        raise ConfigurationError("say what to silence: rule, scope, agent or team")
    if problem := unheard_of(matchers.get("rule", "")):
        raise ConfigurationError(f"rule {problem}")


async def _signal(temporal: Client | None, alert: str, by: str) -> bool:
    if temporal is None:
        return False
    try:
        handle = temporal.get_workflow_handle(workflow_id(alert))
        await handle.signal("acknowledge", by, rpc_timeout=_SIGNAL_SECONDS)
    except RPCError:
        return False
    return True


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
