"""Every rule that can raise an alert: how bad it is, what people are told, when it is over.

REQUIREMENTS 9 is the table behind it. Titles are templates over the words of the evidence (a key
without its unit), and over `who` (the scope in words), `agent`, and `used` (spent of the limit, in
percent). A rule that is not listed gets `UNKNOWN`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")

_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class KnownRule:
    """How one rule is told.

    otherwise: the title where the evidence lacks a word of the first. family: rules of one family are
    one alert, which gets worse ('': the rule alone). each: what there is one alert of; distinct: keys
    of the evidence that tell alerts apart, too. resolve_after_seconds: over when not seen for so long.
    repeat_after_seconds: told again then at the earliest (None: what the configuration says).
    says_end: whether its end is told to those who were told; a moment that passed has none.
    """

    severity: Severity
    title: str = ""
    otherwise: str = ""
    advice: str = ""
    family: str = ""
    each: Literal["scope", "agent", "event"] = "scope"
    distinct: tuple[str, ...] = ()
    resolve_after_seconds: float = _HOUR
    repeat_after_seconds: float | None = None
    says_end: bool = True


UNKNOWN = KnownRule("warning")


def known_rule(rule: str) -> KnownRule:
    """What is known about a rule."""
    return RULES.get(rule, UNKNOWN)


def rank(severity: str) -> int:
    """0 for info, 2 for critical."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0


_VELOCITY = KnownRule(
    "critical",
    family="velocity",
    resolve_after_seconds=15 * _MINUTE,
    advice="It goes on by itself when the switch expires; `curb switch list` says when.",
)
_BUDGET = KnownRule(
    "critical",
    family="daily_budget",
    resolve_after_seconds=_DAY,
    advice="Runs whose next call does not fit wait for the reset, or for `curb top-up` with --scope.",
)
_LOOP = KnownRule(
    "warning",
    each="agent",
    repeat_after_seconds=10 * _MINUTE,
    says_end=False,
    advice="Action `stop`: the run has ended; `flag`: it goes on. `curb show` and its id: what it did.",
)
_MOMENT = KnownRule("warning", repeat_after_seconds=10 * _MINUTE, says_end=False)
_WATCHED = KnownRule("warning", resolve_after_seconds=15 * _MINUTE)
_SPENDING = KnownRule("warning", resolve_after_seconds=2 * _HOUR)
_OUTSIDE = KnownRule(
    "warning",
    title="{summary}",
    otherwise="{alert}",
    distinct=("alert", "about"),
    resolve_after_seconds=7 * _DAY,  # its source says when it is over
)

_LIST: dict[str, KnownRule] = {
    # Money, as it is spent
    "velocity_warning": replace(
        _VELOCITY,
        severity="warning",
        title="{agent} spent {spent} in {window}",
        advice="It is throttled until it spends less.",
    ),
    "velocity_critical": replace(_VELOCITY, title="{agent} spent {spent} in {window} and is paused"),
    "velocity_global": replace(
        _VELOCITY,
        title="{agent} spent {spent} in {window}: everything is paused",
        advice="Nothing is bought until somebody lifts it: `curb switch clear global`.",
    ),
    "velocity_all": replace(
        _VELOCITY,
        family="",
        title="All agents together spent {spent} in {window}",
        advice="`curb costs --by agent --since 1h` says who.",
    ),
    "daily_budget_80": replace(
        _BUDGET, severity="warning", title="{who}: {used} of the daily budget is spent ({spent} of {limit})"
    ),
    "daily_budget_exceeded": replace(
        _BUDGET,
        title="{who}: the daily budget is spent ({spent} of {limit})",
        advice="Runs pause until the reset, or until the limit is raised.",
    ),
    "soft_budget_exceeded": replace(
        _BUDGET,
        severity="warning",
        family="",
        title="{who}: over its soft budget ({spent} of {limit})",
        advice="Nothing is refused; cheaper tiers are taken where there are any.",
    ),
    "cost_threshold": replace(
        _SPENDING,
        resolve_after_seconds=_DAY,
        title="{who}: {actual} spent this {period}, more than {threshold}",
    ),
    "forecast_over_budget": replace(
        _SPENDING,
        title="{who}: {expected} expected for this month, more than {limit}",
        distinct=("month",),
        resolve_after_seconds=26 * _HOUR,
    ),
    "hourly_jump": replace(
        _SPENDING, title="{agent} spent {spent} in this hour, {hour_before} in the hour before"
    ),
    "daily_sigma": replace(
        _SPENDING, resolve_after_seconds=_DAY, title="{agent} has spent {spent} today, {mean} is usual"
    ),
    "seasonal": replace(_SPENDING, title="{agent} spent {spent} in this hour, {usual} is usual"),
    # Books
    "over_bound": replace(_MOMENT, title="{who}: a call cost {cost}, and {reserved} was held for it"),
    "dead_event": replace(
        _MOMENT,
        severity="critical",
        title="An event could not be booked ({kind})",
        advice="It lies in the table dead_events, and the books lack it: see `curb ledger verify`.",
    ),
    "invoice_differs": replace(
        _MOMENT,
        title="{who}: invoiced {invoice}, booked {ledger}",
        otherwise="{who}: {booked_beyond} booked beyond what was invoiced for {model}",
        distinct=("model", "day"),
    ),
    "usage_adopted": replace(
        _MOMENT,
        title="{who}: billed {amount} that curb did not know of",
        advice="It is booked now. Does somebody else use this key?",
    ),
    "observed_unpriced": replace(
        _MOMENT,
        severity="warning",
        title="{agent} called {model} past curb, and its price is not known",
        advice="It is booked at a ceiling. Add the price under `prices` in curb.yaml.",
        distinct=("model",),
    ),
    "observed_without_usage": replace(
        _MOMENT,
        severity="warning",
        title="{agent} called {model} past curb, and did not say what it used",
        advice="It is not booked. Let the chat model ask for usage: `stream_usage=True`.",
        distinct=("model",),
    ),
    "usage_unattributed": replace(
        _MOMENT,
        title="{who}: {amount} of {model} that curb did not buy",
        otherwise="{who}: usage of {model} that curb did not buy",
        advice="It is not booked. Does somebody else use this key?",
        distinct=("model", "day"),
    ),
    "counters_differ": KnownRule(
        "critical",
        title="{differences} counters differ from the ledger in {window}",
        otherwise="{counters} counters differ from the ledger",
        advice="`curb ledger verify` shows the rows.",
        resolve_after_seconds=3 * _HOUR,
    ),
    # Runs
    "human_escalation": KnownRule(
        "warning",
        title="{agent} waits for a person ({kind})",
        advice="`curb show RUN` says for what; `curb answer`, `curb approve` or `curb top-up` let it go on.",
        each="event",
        resolve_after_seconds=_DAY,
        says_end=False,
    ),
    "repeated_call": replace(_LOOP, title="{agent} makes the same call again and again"),
    "repeated_error": replace(_LOOP, title="{agent} gets the same error again and again"),
    "alternating_calls": replace(_LOOP, title="{agent} goes back and forth between two calls"),
    "repeated_output": replace(_LOOP, title="{agent} says the same again and again"),
    "same_tool_in_a_row": replace(_LOOP, title="{agent} uses one tool too often in a row"),
    "same_tool_in_total": replace(_LOOP, title="{agent} uses one tool too often"),
    "same_call_in_total": replace(_LOOP, title="{agent} makes the same call too often"),
    "context_explosion": replace(_LOOP, title="{agent}: the context explodes"),
    "max_steps": replace(_LOOP, title="{agent} used up its steps"),
    "max_tool_calls": replace(_LOOP, title="{agent} used up its tool calls"),
    # Providers and parts
    "error_rate": replace(_WATCHED, title="{agent}: {error_ratio} of the calls fail"),
    "error_cascade": replace(_WATCHED, severity="critical", title="{agents} agents fail at once"),
    "provider_down": replace(
        _WATCHED, title="{who} is down", advice="Calls go to other deployments, where a tier has them."
    ),
    "model_degradation": replace(
        _WATCHED, title="{who} is slow: p95 {p95}", advice="Consider another deployment for its tier."
    ),
    "cache_hit_rate": replace(
        _WATCHED,
        title="Only {hit_ratio} of the calls are answered from the cache",
        advice="Look at Redis and at the semantic index.",
        resolve_after_seconds=45 * _MINUTE,
    ),
    "success_rate": replace(_WATCHED, title="Only {success_ratio} of the calls succeed"),
    "redis_memory": replace(
        _WATCHED, title="Redis is {used_ratio} full", advice="A full Redis stops buying, not accounting."
    ),
    "gateway_errors": _OUTSIDE,
    "outside_alert": _OUTSIDE,
    "trace_export_lag": replace(
        _WATCHED,
        title="{waiting} traces wait for {target}, for {oldest}; {refused} were refused",
        advice="Nothing is lost; `curb-traces-` and its name in the Temporal UI says why.",
    ),
    "backup_failed": KnownRule(
        "critical",
        title="No good backup for {good_age}",
        otherwise="No backup has gone well yet",
        advice="The table backup_logs has how each went.",
        resolve_after_seconds=26 * _HOUR,
    ),
    "supervision_failed": replace(
        _WATCHED,
        title="{who} does not work",
        advice="Its workflow in the Temporal UI says why.",
        resolve_after_seconds=8 * _DAY,  # each says by itself that it works again, some once a week
    ),
    "switch_set": KnownRule(
        "warning",
        title="{what} by {by}: {reason}",
        otherwise="{what} by {by}",
        advice="`curb switch list` shows what is set, `curb switch clear` lifts it.",
        resolve_after_seconds=365 * _DAY,  # until it is lifted
    ),
}
RULES: Mapping[str, KnownRule] = MappingProxyType(_LIST)
