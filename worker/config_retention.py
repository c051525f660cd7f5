"""`retention:` in curb.yaml: how long each class of data is kept."""

from collections.abc import Iterator

from gateway.policy.retention import BY_NAME, DAY_SECONDS, RetentionPolicy
from worker.config_errors import Problem
from worker.config_values import Kept, Section

_DEFAULTS = RetentionPolicy().keep_seconds


class RetentionSection(Section):
    """A duration, or `keep` for ever. gateway.policy.retention says what each class is."""

    conversations: Kept = _DEFAULTS["conversations"]
    attempts: Kept = _DEFAULTS["attempts"]
    run_events: Kept = _DEFAULTS["run_events"]
    runs: Kept = _DEFAULTS["runs"]
    alerts: Kept = _DEFAULTS["alerts"]
    switch_events: Kept = _DEFAULTS["switch_events"]
    top_ups: Kept = _DEFAULTS["top_ups"]
    dead_events: Kept = _DEFAULTS["dead_events"]
    probes: Kept = _DEFAULTS["probes"]
    usage: Kept = _DEFAULTS["usage"]
    reconciliations: Kept = _DEFAULTS["reconciliations"]
    violations: Kept = _DEFAULTS["violations"]
    scheduled_work: Kept = _DEFAULTS["scheduled_work"]
    traces: Kept = _DEFAULTS["traces"]
    files: Kept = _DEFAULTS["files"]


def retention_policy(section: RetentionSection) -> RetentionPolicy:
    """What the section comes to."""
    return RetentionPolicy({name: getattr(section, name) for name in RetentionSection.model_fields})


def retention_checks(section: RetentionSection) -> Iterator[Problem]:
    """Classes that would be removed before they are done with."""
    for name, seconds in section.written().items():
        known = BY_NAME[name]
        if isinstance(seconds, float) and seconds < known.floor_days * DAY_SECONDS:
            message = f"write {known.floor_days:g}d or more: {known.floor_why}"
            yield Problem(("retention", name), message)
