"""From what a sweep finds every minute to what is told: a beginning, a reminder now and then, an end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.policy.anomaly import Finding, Severity

Name = tuple[str, str, str]
"""Rule, scope, window: what there is one episode of at a time."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A finding that goes on. seen_at: the last time it was found; told_at: the last time it was told."""

    rule: str
    scope: str
    window: str
    severity: Severity
    since: datetime
    seen_at: datetime
    told_at: datetime

    @property
    def name(self) -> Name:
        return self.rule, self.scope, self.window


@dataclass(frozen=True, slots=True)
class Told:
    """A finding to be told. begins: of a new episode, or of one that has become worse."""

    finding: Finding
    begins: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What one sweep comes to. quiet: found again, and told not long ago. over: found no longer."""

    told: Sequence[Told]
    quiet: Sequence[Finding]
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
    told, quiet = [], []
    for name, finding in found.items():
        episode = going_on.get(name)
        begins = episode is None or (finding.severity == "critical" and episode.severity != "critical")
        if episode is None or begins or at - episode.told_at >= timedelta(seconds=remind_seconds):
            told.append(Told(finding, begins))
        else:
            quiet.append(finding)
    over = [
        episode
        for name, episode in going_on.items()
        if name not in found
        and at - episode.seen_at >= timedelta(seconds=rest_seconds.get(episode.rule, default_rest_seconds))
    ]
    return Plan(told, quiet, over)
