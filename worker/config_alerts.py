"""`alerts:` in curb.yaml: who is told of what, when nobody wants to be told, and when others are."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AliasChoices, BeforeValidator, Field, StringConstraints

from gateway.policy.alert_catalogue import RULES, Severity
from gateway.policy.alert_plan import MAX_ESCALATIONS
from gateway.policy.alert_routes import (
    AlertPolicy,
    Escalation,
    QuietHours,
    Route,
    default_escalations,
    default_routes,
)
from worker.config_channels import Channels, channel_names
from worker.config_errors import Path, Problem, suggestion
from worker.config_values import Name, Seconds, Section, TimeOfDay

if TYPE_CHECKING:
    from worker.config_schema import AlertRule


def _one_or_more(written: object) -> object:
    return [written] if isinstance(written, str) else written


def _steps(written: object) -> object:
    if written in ("off", False):
        return ()
    return [written] if isinstance(written, dict) else written


_Glob = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Patterns = Annotated[tuple[_Glob, ...], BeforeValidator(_one_or_more)]
"""A glob or a list of them: `coder`, `research-*`."""
Severities = Annotated[tuple[Severity, ...], BeforeValidator(_one_or_more)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_one_or_more)]


_Resolved = Annotated[Seconds, Field(ge=1)]
"""What is over at once is over before anybody is told of it."""


class EscalationSection(Section):
    """Nobody acknowledged for so long: tell these channels too."""

    after: Seconds = 600.0
    to: Names = Field(min_length=1)


Escalations = Annotated[
    tuple[EscalationSection, ...], BeforeValidator(_steps), Field(max_length=MAX_ESCALATIONS)
]
"""One step, a list of steps, or `off`."""


class RouteSection(Section):
    """Alerts that match all of this go to `channels`; the first route that matches is the last, unless
    it says `also: true`.
    """

    channels: Names
    severity: Severities = ()
    rule: Patterns = ()
    agent: Patterns = ()
    team: Patterns = ()
    scope: Patterns = ()
    escalate: Escalations = ()
    also: bool = Field(default=False, validation_alias=AliasChoices("also", "continue"))


class QuietHoursSection(Section):
    """A part of every day in which only alerts of a severity of `below` or worse are told. zone: by
    default that of the accounting day.
    """

    begins: TimeOfDay = Field(validation_alias=AliasChoices("from", "begins"))
    ends: TimeOfDay = Field(validation_alias=AliasChoices("to", "ends"))
    zone: str = ""
    below: Severity = "critical"


class AlertsSection(Section):
    """How alerts reach people. routes: None is the default (`default_routes`)."""

    channels: Channels = Field(default_factory=dict)
    routes: tuple[RouteSection, ...] | None = None
    quiet_hours: QuietHoursSection | None = None
    repeat_after: Seconds = 14_400.0
    resolve_after: dict[str, _Resolved] = Field(default_factory=dict)
    escalation: Escalations | None = None
    escalates: Severity = "critical"


def alert_policy(section: AlertsSection, kinds: Mapping[str, str], timezone: str) -> AlertPolicy:
    """How alerts are told here. kinds: of the channels there are, by name (`log`, `slack`, `email` ...)."""
    routes = default_routes(kinds) if section.routes is None else tuple(map(_route, section.routes))
    escalations = (
        default_escalations(kinds) if section.escalation is None else _escalations(section.escalation)
    )
    return AlertPolicy(
        routes=routes,
        quiet_hours=_quiet_hours(section.quiet_hours, timezone),
        repeat_after_seconds=section.repeat_after,
        resolve_after=section.resolve_after,
        escalations=escalations,
        escalates=section.escalates,
    )


def channels_asked_for(section: AlertsSection, rules: Sequence["AlertRule"]) -> Iterator[tuple[Path, str]]:
    """Every channel that something is routed to, and where the file says so."""
    for number, route in enumerate(section.routes or ()):
        path: Path = ("alerts", "routes", number)
        yield from (((*path, "channels"), name) for name in route.channels)
        yield from (((*path, "escalate"), name) for step in route.escalate for name in step.to)
    yield from ((("alerts", "escalation"), name) for step in section.escalation or () for name in step.to)
    for number, rule in enumerate(rules):
        yield from ((("alert_rules", number, "channels"), name) for name in rule.channels)


def alert_checks(section: AlertsSection, rules: Sequence["AlertRule"]) -> Iterator[Problem]:
    """Names that must lead somewhere, and hours that must be hours."""
    names = channel_names(section.channels)
    for path, name in channels_asked_for(section, rules):
        if name not in names:
            yield Problem(path, f"there is no channel {name}{suggestion(name, names)}")
    for number, route in enumerate(section.routes or ()):
        for pattern in route.rule:
            yield from _rule_check(("alerts", "routes", number, "rule"), pattern)
    for pattern in section.resolve_after:
        yield from _rule_check(("alerts", "resolve_after", pattern), pattern)
    if section.quiet_hours is not None:
        yield from _hours_check(section.quiet_hours)


def _rule_check(path: Path, pattern: str) -> Iterator[Problem]:
    if not any(fnmatchcase(rule, pattern) for rule in RULES):
        yield Problem(path, f"there is no rule {pattern}{suggestion(pattern, list(RULES))}")


def _hours_check(hours: QuietHoursSection) -> Iterator[Problem]:
    if hours.begins == hours.ends:
        yield Problem(("alerts", "quiet_hours"), "from and to are the same; write two times of day")
    try:
        ZoneInfo(hours.zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"{hours.zone} is no time zone; write one like Europe/Berlin or UTC"
        yield Problem(("alerts", "quiet_hours", "zone"), message)


def _route(section: RouteSection) -> Route:
    return Route(
        channels=section.channels,
        severities=section.severity,
        rules=section.rule,
        agents=section.agent,
        teams=section.team,
        scopes=section.scope,
        escalations=_escalations(section.escalate),
        also=section.also,
    )


def _escalations(steps: Sequence[EscalationSection]) -> tuple[Escalation, ...]:
    return tuple(Escalation(step.after, step.to) for step in steps)


def _quiet_hours(section: QuietHoursSection | None, timezone: str) -> QuietHours | None:
    if section is None:
        return None
    zone = ZoneInfo(section.zone or timezone)
    return QuietHours(_time(section.begins), _time(section.ends), zone, section.below)


def _time(seconds: int) -> time:
    return time(seconds // 3_600, seconds // 60 % 60, seconds % 60)
