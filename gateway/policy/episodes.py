"""From what a sweep finds every minute to what is told: a beginning, a reminder now and then, an end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.policy.anomaly import Finding, Severity

Name = tuple[str, str, str]
"""Rule, scope, window: what there is one episode of at a time."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A finding that goes on. seen_at: the last time it was found; told_at: the last time it was told.
    acted: whether what is configured for it was done; it is done once."""

    rule: str
    scope: str
    window: str
    severity: Severity
    since: datetime
    seen_at: datetime
    told_at: datetime
    acted: bool = False

    @property
    def name(self) -> Name:
        return self.rule, self.scope, self.window


@dataclass(frozen=True, slots=True)
class Found:
    """A finding that holds. tell: now. act: what is configured for it has not been done yet."""

    finding: Finding
    tell: bool
    act: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What one sweep comes to. over: episodes that are found no longer."""

    found: Sequence[Found]
    over: Sequence[Episode]


def name_of(finding: Finding) -> Name:
    return finding.rule, finding.scope, finding.window


def plan(
    findings: Iterable[Finding],
    episodes: Iterable[Episode],
    at: datetime,
    *,
    remind_seconds: float,
    rest_seconds: Mapping[str, float],
    default_rest_seconds: float = 600.0,
) -> Plan:
    """Compare what holds at `at` with what was going on.

    A finding is told when it begins, when it becomes critical, and again every remind_seconds. An
    episode is over when it was not found for the rest_seconds of its rule: what comes and goes is one
    episode. A sweep for an earlier time than the episodes know ends none of them and tells nothing twice.
    """
    going_on = {episode.name: episode for episode in episodes}
    found = {name_of(finding): finding for finding in findings}
    remind = timedelta(seconds=remind_seconds)
    over = [
        episode
        for name, episode in going_on.items()
        if name not in found
        and at - episode.seen_at >= timedelta(seconds=rest_seconds.get(episode.rule, default_rest_seconds))
    ]
    return Plan([_found(finding, going_on.get(name), at, remind) for name, finding in found.items()], over)


def _found(finding: Finding, episode: Episode | None, at: datetime, remind: timedelta) -> Found:
    if episode is None:
        return Found(finding, tell=True, act=finding.acts)
    worse = finding.severity == "critical" and episode.severity != "critical"
    return Found(
        finding,
        tell=worse or at - episode.told_at >= remind,
        act=finding.acts and not episode.acted,
    )
