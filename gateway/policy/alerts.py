"""Alerts: what an event says, and which events are about the same thing.

An event becomes a sighting of an alert. The alert is found by its fingerprint: the rule (or the
family of rules), what it is about, and the window where a budget has one. A switch that curb set by
itself is no alert of its own: it is what was done about another.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from gateway.policy.alert_catalogue import SEVERITIES, KnownRule, Severity, known_rule
from gateway.policy.alert_words import facts, percent, plain, subject
from gateway.policy.periods import Calendar
from gateway.policy.scopes import Period

AlertStatus = Literal["firing", "acknowledged", "resolved"]
ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # without i, l, o and u, which read like others
_ID_LETTERS = 8
_BY_HAND = re.compile(r"manual:([^:]*):?(.*)", re.DOTALL)
_CAUSES = {
    "budget": ("daily_budget_80", "daily_budget_exceeded"),
    "velocity": ("velocity_warning", "velocity_critical", "velocity_global", "velocity_all"),
    "anomaly": (
        "hourly_jump", "daily_sigma", "seasonal", "velocity_all", "error_rate", "error_cascade",
        "model_degradation", "success_rate", "provider_down", "cost_threshold",
    ),
    "health": ("provider_down", "model_degradation", "error_rate"),
}  # fmt: skip
"""By the second word of a value that begins `auto:`: the rules that tell of the cause."""


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the store's `events`. severity: '' is the rule's own."""

    key: str
    rule: str
    scope: str
    evidence: Mapping[str, Any]
    at: datetime
    state: str = "firing"
    severity: str = ""


@dataclass(frozen=True, slots=True)
class SwitchEvent:
    """A change of a switch; '' is not set."""

    key: str
    name: str
    old: str
    new: str
    expires_at: datetime | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one event says of an alert. over: that it is no longer so. ends_at: when it is over by itself."""

    key: str
    fingerprint: str
    rule: str
    severity: Severity
    scope: str
    agent: str
    team: str
    title: str
    evidence: Mapping[str, Any]
    at: datetime
    over: bool = False
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Consequence:
    """What curb did by itself about something that has an alert: belongs to the newest open one of
    these rules for this agent or scope ('' any). otherwise: to be told where there is none.
    """

    rules: tuple[str, ...]
    agent: str
    scope: str
    text: str
    otherwise: Sighting | None = None


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert as it stands; the columns of `alerts` (see gateway.store.tables_alerts)."""

    id: str
    fingerprint: str
    rule: str
    severity: Severity
    scope: str
    agent: str
    team: str
    title: str
    evidence: Mapping[str, Any]
    action: str
    first_seen: datetime
    last_seen: datetime
    ends_at: datetime | None
    count: int
    generation: int
    status: AlertStatus
    told_generation: int = 0
    told_at: datetime | None = None
    last_told_at: datetime | None = None
    quiet_until: datetime | None = None
    look_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    note: str = ""
    resolved_at: datetime | None = None
    resolution: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads events. teams: of agents, by name; calendar: of the accounting days."""

    teams: Mapping[str, str] = field(default_factory=dict)
    calendar: Calendar | None = None

    def event(self, event: Event) -> Sighting:
        """What an event says of which alert."""
        known = known_rule(event.rule)
        kind, _, name = event.scope.partition(":")
        agent = str(event.evidence.get("agent") or (name if kind == "agent" else ""))
        team = str(event.evidence.get("team") or (name if kind == "team" else self.teams.get(agent, "")))
        return Sighting(
            key=event.key,
            fingerprint=_fingerprint(event, known, agent),
            rule=event.rule,
            severity=_severity(event.severity, known),
            scope=event.scope,
            agent=agent,
            team=team,
            title=title(event.rule, event.scope, agent, event.evidence),
            evidence=event.evidence,
            at=event.at,
            over=event.state == "resolved",
            ends_at=self._end_of_window(event),
        )

    def switch(self, change: SwitchEvent) -> list[Sighting | Consequence]:
        """A switch that was set by hand is an alert until it is lifted; one that curb set a consequence."""
        said: list[Sighting | Consequence] = []
        own_before, own_now = _causes(change.old), _causes(change.new)
        if (change.new and not own_now) or (change.old and not own_before):
            said.append(self.event(_switch_event(change, over=not change.new or bool(own_now))))
        if causes := own_now or own_before:
            said.append(self._consequence(change, causes))
        return said

    def _consequence(self, change: SwitchEvent, causes: tuple[str, ...]) -> Consequence:
        kind, _, name = change.name.partition(":")[2].partition(":")
        text = f"{change.name} {'is set' if change.new else 'is lifted'}"
        if change.new and change.expires_at is not None:
            text += f" until {change.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        event = replace(_switch_event(change, over=not change.new), key=f"switch:{change.key}:own")
        return Consequence(
            rules=causes,
            agent=name if kind == "agent" else "",
            scope="" if kind in ("agent", "global") else f"{kind}:{name}",
            text=text,
            # Nothing stops everybody without somebody being told.
            otherwise=self.event(event) if kind == "global" else None,
        )

    def _end_of_window(self, event: Event) -> datetime | None:
        """When the window of the counter that is spent ends: the next begins with nothing spent."""
        period, _, window = str(event.evidence.get("counter", "")).partition("|")[2].partition("|")
        if self.calendar is None or period not in (Period.DAY, Period.MONTH):
            return None
        for each in self.calendar.windows(Period(period), round(event.at.timestamp() * 1000)):
            if each.id == window:
                return datetime.fromtimestamp(each.end_ms / 1000, UTC)
        return None


def alert_id(sighting: Sighting) -> str:
    """A name for the alert that begins with this sighting: short, and read aloud without doubt."""
    text = f"{sighting.fingerprint}\n{sighting.key}\n{sighting.at.isoformat()}"
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    return "".join(ID_ALPHABET[(number >> (5 * place)) & 31] for place in range(_ID_LETTERS))


def title(rule: str, scope: str, agent: str, evidence: Mapping[str, Any]) -> str:
    """One line that says what happened, with its numbers."""
    words = {fact.name.replace(" ", "_"): fact.short for fact in facts(evidence)}
    who = subject(f"agent:{agent}" if agent else scope)
    words |= {"who": who, "agent": plain(agent) or who, "used": _used(evidence)}
    known = known_rule(rule)
    lines = (_filled(template, words) for template in (known.title, known.otherwise))
    line = plain(next(filter(None, lines), f"{rule.replace('_', ' ')}: {who}"))
    # Agents keep the name they have; what curb calls by its own words begins like a sentence.
    return line if agent else line[:1].upper() + line[1:]


def _filled(template: str, words: Mapping[str, str]) -> str:
    """'' where a word is missing."""
    try:
        return template.format_map(words)
    except (KeyError, IndexError, AttributeError):
        return ""


def _fingerprint(event: Event, known: KnownRule, agent: str) -> str:
    about = event.scope
    if known.each == "agent" and agent:
        about = f"agent:{agent}"
    elif known.each == "event":
        about = f"{event.scope}|{event.key}"
    counter = str(event.evidence.get("counter", ""))
    window = counter.partition("|")[2] or str(event.evidence.get("window") or "")
    parts = (str(event.evidence.get(key) or "") for key in known.distinct)
    return "|".join(filter(None, (known.family or event.rule, about, window, *parts)))


def _severity(given: str, known: KnownRule) -> Severity:
    return next((each for each in SEVERITIES if each == given), known.severity)


def _used(evidence: Mapping[str, Any]) -> str:
    spent, limit = evidence.get("spent_nano_usd"), evidence.get("limit_nano_usd")
    if not isinstance(spent, int) or not isinstance(limit, int) or limit <= 0:
        return "much"
    return percent((spent * 1000 // limit) / 1000)


def _causes(value: str) -> tuple[str, ...]:
    """The rules that tell why curb set this; none where it did not, or is not known to tell."""
    mark, _, rest = value.partition(":")
    return _CAUSES.get(rest.partition(":")[0], ()) if mark == "auto" else ()


def _switch_event(change: SwitchEvent, *, over: bool) -> Event:
    by_hand = _BY_HAND.fullmatch(change.new)
    by, reason = by_hand.groups() if by_hand else (change.new, "")
    evidence: dict[str, Any] = {
        "switch": change.name,
        "what": _what(change.name),
        "by": plain(by) or "nobody",
        "reason": plain(reason.replace("_", " ")),
    }
    if change.expires_at is not None:
        evidence["expires"] = f"{change.expires_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    scope = change.name.partition(":")[2]
    return Event(
        key=f"switch:{change.key}",
        rule="switch_set",
        scope=scope,
        evidence=evidence,
        at=change.at,
        state="resolved" if over else "firing",
        severity=_switch_severity(change.name),
    )


def _switch_severity(switch: str) -> Severity:
    """A throttle, and a key that is revoked or frozen, are worth knowing and no more."""
    if switch == "kill:global":
        return "critical"
    return "info" if switch.startswith(("throttle:", "kill:key:")) else "warning"


def _what(switch: str) -> str:
    mark, _, scope = switch.partition(":")
    if scope == "global":
        return "Everything is switched off"
    return f"{subject(scope)} is {'throttled' if mark == 'throttle' else 'switched off'}"


__all__ = [
    "AlertRecord",
    "AlertStatus",
    "Consequence",
    "Event",
    "Reader",
    "Sighting",
    "SwitchEvent",
    "alert_id",
    "title",
]
