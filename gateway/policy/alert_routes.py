"""Who is told of an alert: routes, quiet hours, silences. Patterns are globs; empty matches everything."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from gateway.policy.alert_catalogue import Severity, known_rule, rank
from gateway.policy.alerts import AlertRecord

_ESCALATE_AFTER_SECONDS = 600.0
_REPEAT_AFTER_SECONDS = 4 * 3_600.0
_DAY = timedelta(days=1)
_PAGERS = frozenset({"pagerduty", "opsgenie"})


@dataclass(frozen=True, slots=True)
class Escalation:
    """Tell these channels too when nobody has acknowledged for so long."""

    after_seconds: float
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Alerts that match go to these channels. also: the routes after it are looked at too."""

    channels: tuple[str, ...]
    severities: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    escalations: tuple[Escalation, ...] = ()
    also: bool = False

    def matches(self, alert: AlertRecord) -> bool:
        return all(
            not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)
            for patterns, value in (
                (self.severities, alert.severity),
                (self.rules, alert.rule),
                (self.agents, alert.agent),
                (self.teams, alert.team),
                (self.scopes, alert.scope),
            )
        )


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A part of every day, by the clock of a zone, in which only the severe is told; it may span midnight."""

    begins: time_of_day
    ends: time_of_day
    zone: ZoneInfo
    lets_through: Severity = "critical"

    def until(self, now: datetime) -> datetime | None:
        """When they end, in UTC; None while they are not."""
        local = now.astimezone(self.zone)
        for day in (local.date() - _DAY, local.date()):
            begins = datetime.combine(day, self.begins, self.zone)
            last = day if self.begins < self.ends else day + _DAY
            ends = datetime.combine(last, self.ends, self.zone)
            if begins.astimezone(UTC) <= now < ends.astimezone(UTC):
                return ends.astimezone(UTC)
        return None


@dataclass(frozen=True, slots=True)
class Silence:
    """Somebody wants to hear nothing of what matches, for a while."""

    id: str
    rule: str
    scope: str
    agent: str
    team: str
    until: datetime
    by: str = ""
    reason: str = ""

    def covers(self, alert: AlertRecord, now: datetime) -> bool:
        return now < self.until and all(
            not pattern or fnmatchcase(value, pattern)
            for pattern, value in (
                (self.rule, alert.rule),
                (self.scope, alert.scope),
                (self.agent, alert.agent),
                (self.team, alert.team),
            )
        )


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """How alerts are told in this house.

    resolve_after: seconds by a glob over rules, first match; else the rule's own. escalations: of
    alerts at least as severe as `escalates`, where the routes that match have none of their own.
    """

    routes: tuple[Route, ...] = ()
    quiet_hours: QuietHours | None = None
    repeat_after_seconds: float = _REPEAT_AFTER_SECONDS
    resolve_after: Mapping[str, float] = field(default_factory=dict)
    escalations: tuple[Escalation, ...] = ()
    escalates: Severity = "critical"

    def channels(self, alert: AlertRecord) -> tuple[str, ...]:
        """Whom to tell, each once. A threshold that names channels goes to these."""
        asked = alert.evidence.get("channels")
        if alert.rule == "cost_threshold" and isinstance(asked, list) and asked:
            return tuple(dict.fromkeys(map(str, asked)))
        return tuple(dict.fromkeys(name for route in self._routes(alert) for name in route.channels))

    def escalations_of(self, alert: AlertRecord) -> tuple[Escalation, ...]:
        own = tuple(step for route in self._routes(alert) for step in route.escalations)
        if own:
            return own
        return self.escalations if rank(alert.severity) >= rank(self.escalates) else ()

    def resolve_after_seconds(self, rule: str) -> float:
        for pattern, seconds in self.resolve_after.items():
            if fnmatchcase(rule, pattern):
                return seconds
        return known_rule(rule).resolve_after_seconds

    def repeat_seconds(self, rule: str) -> float:
        """Rules about many runs are told again sooner than the house's rule."""
        own = known_rule(rule).repeat_after_seconds
        return self.repeat_after_seconds if own is None else min(own, self.repeat_after_seconds)

    def quiet_until(self, alert: AlertRecord, now: datetime) -> datetime | None:
        hours = self.quiet_hours
        if hours is None or rank(alert.severity) >= rank(hours.lets_through):
            return None
        return hours.until(now)

    def _routes(self, alert: AlertRecord) -> list[Route]:
        found = []
        for route in self.routes:
            if route.matches(alert):
                found.append(route)
                if not route.also:
                    break
        return found


def default_routes(kinds: Mapping[str, str]) -> tuple[Route, ...]:
    """Without any routes written. kinds: of the channels (slack, email, pagerduty, log ...), by name.

    The log gets everything. Warnings go to all but those that wake people or fill mailboxes: mail
    about what REQUIREMENTS 9 names, pages for what is critical. Critical goes to everybody.
    """
    logs = _of(kinds, {"log", "stdout"})
    mail = _of(kinds, {"email"})
    pagers = _of(kinds, {"pagerduty", "opsgenie"})
    everybody = tuple(name for name in kinds if name not in logs)
    by_mail = ("daily_budget_80", "daily_budget_exceeded", "forecast_over_budget")
    return (
        Route(logs, also=True),
        Route(everybody, severities=("critical",)),
        Route(mail, ("warning",), rules=("cost_threshold",), also=True),
        Route(mail, ("warning",), rules=by_mail, scopes=("global", "team:*"), also=True),
        Route(tuple(name for name in everybody if name not in {*mail, *pagers}), ("warning",)),
    )


def default_escalations(kinds: Mapping[str, str]) -> tuple[Escalation, ...]:
    """After ten minutes: whoever pages, else mail, else everybody once more."""
    to = _of(kinds, {"pagerduty", "opsgenie"}) or _of(kinds, {"email"})
    to = to or tuple(name for name in kinds if name not in _of(kinds, {"log", "stdout"}))
    return (Escalation(_ESCALATE_AFTER_SECONDS, to),) if to else ()


def silence_of(alert: AlertRecord, silences: Sequence[Silence], now: datetime) -> Silence | None:
    """The silence that covers an alert and lasts longest."""
    covering = [each for each in silences if each.covers(alert, now)]
    return max(covering, key=lambda each: each.until, default=None)


def _of(kinds: Mapping[str, str], wanted: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name, kind in kinds.items() if kind in wanted)
