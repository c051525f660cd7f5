"""Whether a provider is up: a judgement of its last probes and of what its calls came to.

A probe is one look per slot of the schedule. Only what is the provider's fault counts against it: a
connection that fails, silence, 5xx. An answer that refuses us (a wrong key, no models list) says that the
provider is there, and that something is wrong with what we ask: degraded, never down.

Down is left by probes alone, because nothing else is asked of a provider that is switched off: so many good
ones in a row, counted from the slot after the one that judged it down. A models list may answer while calls
fail; then a provider would go up and down for ever. So whoever falls again soon after it recovered has to
show twice as many good probes each time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Literal

from gateway.policy.money import NanoUsd, usd

Status = Literal["unknown", "up", "degraded", "down"]
Blame = Literal["", "provider", "us"]
Kind = Literal["models", "call", "off"]
MOST_DOUBLINGS = 4


@dataclass(frozen=True, slots=True)
class HealthRules:
    """When a provider is down, and when it is up again. Ratios and latencies decide about no money.

    down_after: failed probes in a row. recover_after: good ones in a row, doubled for each relapse within
    relapse_seconds of a recovery. error_ratio: more of the calls than this failed by the provider's
    fault, of at least min_calls in the last window_seconds. degraded_ratio: the same, for a warning's
    sake. slow_ms: a probe that takes longer is degraded.
    """

    down_after: int = 1
    recover_after: int = 3
    relapse_seconds: float = 900.0
    error_ratio: float = 0.5
    degraded_ratio: float = 0.1
    min_calls: int = 5
    window_seconds: float = 120.0
    slow_ms: int = 3_000


@dataclass(frozen=True, slots=True)
class HealthPlan:
    """What is looked at, and what follows.

    providers: how each is looked at. deployments: those with a call of their own besides. A look has
    `tries` tries of timeout_seconds each, pause_seconds apart: shorter trouble is none.
    switch_off: whether a provider that is down is switched off, for switch_seconds at a time. A `call`
    buys call_tokens for the agent curb-probe, within a daily budget of its own.
    """

    providers: Mapping[str, Kind]
    deployments: tuple[str, ...] = ()
    rules: HealthRules = HealthRules()
    slot_seconds: float = 30.0
    timeout_seconds: float = 5.0
    tries: int = 3
    pause_seconds: float = 5.0
    switch_off: bool = True
    switch_seconds: float = 600.0
    call_tokens: int = 1
    call_budget_nano_usd: NanoUsd = usd("0.10")


@dataclass(frozen=True, slots=True)
class Probe:
    """One look at one provider. error: what was wrong with it, '' when nothing was."""

    at: datetime
    ok: bool
    blame: Blame = ""
    latency_ms: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Calls:
    """Attempts that ended lately, and how many of them by the provider's fault."""

    calls: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What was held of a provider until now. recovered_at: when it last left `down`."""

    status: Status = "unknown"
    since: datetime | None = None
    recovered_at: datetime | None = None
    relapses: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is held of it now, and why. good, needed: of the probes in a row that let it recover."""

    standing: Standing
    reason: str = ""
    good: int = 0
    needed: int = 0

    @property
    def status(self) -> Status:
        return self.standing.status


def judge(
    probes: Sequence[Probe], calls: Calls, was: Standing, rules: HealthRules, now: datetime
) -> Judgement:
    """Judge a provider. probes: newest first; calls: since it recovered, within the window."""
    if was.status == "down":
        return _still_down(probes, was, rules, now)
    if reason := _why_down(probes, calls, rules):
        relapses = was.relapses + 1 if _recovered_lately(was, rules, now) else 0
        standing = Standing("down", now, was.recovered_at, relapses)
        return Judgement(standing, reason, 0, needed(rules, relapses))
    status, reason = _short_of_down(probes, calls, rules)
    return Judgement(_with(was, status, now), reason)


def needed(rules: HealthRules, relapses: int) -> int:
    """How many good probes in a row let a provider recover that has fallen so often."""
    return rules.recover_after * int(2 ** min(relapses, MOST_DOUBLINGS))


def _still_down(probes: Sequence[Probe], was: Standing, rules: HealthRules, now: datetime) -> Judgement:
    wanted = needed(rules, was.relapses)
    since = [probe for probe in probes if was.since is None or probe.at > was.since]
    good = _run(probe.ok for probe in since)
    if good < wanted:
        error = next((probe.error for probe in since if probe.error), "")
        return Judgement(was, error or "no good probe yet", good, wanted)
    status, reason = _short_of_down(probes, Calls(), rules)
    return Judgement(Standing(status, now, now, was.relapses), reason, good, wanted)


def _why_down(probes: Sequence[Probe], calls: Calls, rules: HealthRules) -> str:
    """The reason, '' when there is none."""
    failed = _run(probe.blame == "provider" for probe in probes)
    if failed >= rules.down_after:
        return f"probes fail: {probes[0].error}"
    if _too_many(calls, rules.error_ratio, rules):
        return f"{calls.errors} of {calls.calls} calls failed"
    return ""


def _short_of_down(probes: Sequence[Probe], calls: Calls, rules: HealthRules) -> tuple[Status, str]:
    if not probes and not calls.calls:
        return "unknown", ""
    last = probes[0] if probes else None
    if last is not None and not last.ok:
        return "degraded", last.error
    if last is not None and last.error:  # good at the second try
        return "degraded", last.error
    if last is not None and last.latency_ms > rules.slow_ms:
        return "degraded", f"its probe took {last.latency_ms} ms"
    if _too_many(calls, rules.degraded_ratio, rules):
        return "degraded", f"{calls.errors} of {calls.calls} calls failed"
    return "up", ""


def _too_many(calls: Calls, ratio: float, rules: HealthRules) -> bool:
    return calls.calls >= rules.min_calls and calls.errors > ratio * calls.calls


def _recovered_lately(was: Standing, rules: HealthRules, now: datetime) -> bool:
    if was.recovered_at is None:
        return False
    return now - was.recovered_at <= timedelta(seconds=rules.relapse_seconds)


def _with(was: Standing, status: Status, now: datetime) -> Standing:
    since = was.since if was.status == status and was.since is not None else now
    return Standing(status, since, was.recovered_at, was.relapses)


def _run(verdicts: Iterable[bool]) -> int:
    """How many are true in a row, from the first."""
    return sum(1 for _ in takewhile(bool, verdicts))
