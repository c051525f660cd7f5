"""Prometheus metrics of the gateway, under the names of REQUIREMENTS 8.

Every label is bounded: past `max_label_values` distinct values of one label the rest is counted
under `other`.
"""

from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.attempt import Ended, Option
from gateway.calls import Caller, Settlement
from gateway.policy.money import NANO_PER_USD
from gateway.policy.refusals import Refusal

_LATENCY_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 21, 34, 60, 120)
_STATUSES = ("success", "error", "killed")
_CODES = ("200", "500", "502", "503")
_STEP_BUCKETS = (1, 2, 3, 5, 8, 13, 21, 25, 34, 55, 100, 300)


class BoundedLabel:
    """Maps values beyond the first `limit` distinct ones to `other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self._limit:
            return "other"
        self._known.add(value)
        return value


class Buyer(Protocol):
    """Whose money it is; a Caller is one, and what was opened for one."""

    @property
    def agent(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def team(self) -> str: ...
    @property
    def application(self) -> str: ...


class Metrics:
    """The counters of one process, in a registry of its own. max_users: of the label `user`; 0: not told."""

    def __init__(
        self, registry: CollectorRegistry | None = None, *, max_label_values: int = 200, max_users: int = 100
    ) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self._agent = BoundedLabel(max_label_values)
        self._tokens = self._counter("llm_tokens", "Tokens bought", "agent", "model", "direction")
        self._dollars = self._counter("llm_cost_dollars", "Dollars spent", "agent", "model")
        self._requests = self._counter("llm_requests", "Attempts at providers", "agent", "model", "status")
        self._errors = self._counter("llm_request_errors", "Failed attempts", "model", "error_type")
        self._hits = self._counter("llm_cache_hits", "Calls that the cache answered", "agent", "model")
        self._misses = self._counter(
            "curb_cache_misses", "Calls that the cache was asked for in vain", "agent"
        )
        self._refusals = self._counter("curb_refusals", "Calls refused before sending", "agent", "kind")
        self._circuits = self._counter(
            "curb_circuit_changes", "Circuits opened, paused, closed", "model", "to"
        )
        self._tasks = self._counter("agent_task_completion", "Runs ended", "agent", "status")
        self._escalations = self._counter("agent_human_escalation", "Questions to people", "agent")
        self._loops = self._counter(
            "curb_loop_rules", "Runs that a loop rule stopped or flagged", "agent", "rule"
        )
        self._answers = self._counter(
            "curb_http_requests", "Requests that the front door answered", "route", "code"
        )
        self._seconds = Histogram(
            "llm_request_duration_seconds",
            "Seconds an attempt took",
            ("agent", "model"),
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._tier = BoundedLabel(max_label_values)
        self._waits = Histogram(
            "curb_queue_wait_seconds",
            "Seconds that calls waited for deployments at their rate limit",
            ("tier",),
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._steps = Histogram(
            "agent_steps_per_task",
            "Steps of a run",
            ("agent",),
            buckets=_STEP_BUCKETS,
            registry=self.registry,
        )
        # A gauge by its type, since the name of a counter would have to end in _total.
        self._who = Gauge(
            "llm_cost_total_usd",
            "Dollars spent since the process began, by who asked; users only as far as they are few",
            ("model", "user", "team", "application"),
            registry=self.registry,
        )
        self._user, self._team = BoundedLabel(max_users), BoundedLabel(max_label_values)
        self._application = BoundedLabel(max_label_values)
        self._tells_users = max_users > 0
        self.outbox_length = self._gauge("curb_outbox_length", "Events not yet in the ledger")
        self.outbox_lag_seconds = self._gauge("curb_outbox_lag_seconds", "Age of the oldest such event")
        self.watcher_delay_seconds = self._gauge(
            "curb_watcher_delay_seconds",
            "Since the switches of the calls in flight were last read; 0 without any",
        )

    def attempted(self, caller: Caller, option: Option, ended: Ended, seconds: float) -> None:
        """Count one attempt and what it bought."""
        model = option.deployment.name
        trace = {"trace_id": caller.trace_id} if caller.trace_id else None
        self._seconds.labels(self._agent(caller.agent), model).observe(seconds, exemplar=trace)
        self.bought(caller, model, ended.settlement)

    def bought(self, caller: Buyer, model: str, settlement: Settlement) -> None:
        """Count how an attempt ended, and what for."""
        agent = self._agent(caller.agent)
        status = {"success": "success", "killed": "killed"}.get(settlement.status, "error")
        for each in _STATUSES:  # all of them are there from the first on, so that an increase sees every one
            self._requests.labels(agent, model, each).inc(each == status)
        if status == "error":
            self._errors.labels(model, settlement.error_type).inc()
        self._tokens.labels(agent, model, "input").inc(settlement.usage.prompt_tokens)
        self._tokens.labels(agent, model, "output").inc(settlement.output_tokens)
        dollars = settlement.cost_nano_usd / NANO_PER_USD
        self._dollars.labels(agent, model).inc(dollars)
        user = self._user(caller.user) if self._tells_users else ""
        self._who.labels(model, user, self._team(caller.team), self._application(caller.application)).inc(
            dollars
        )

    def cached(self, caller: Caller, model: str) -> None:
        """Count one call that the cache answered."""
        self._hits.labels(self._agent(caller.agent), model).inc()

    def missed(self, agent: str) -> None:
        """Count one call that the cache was asked for and had no answer to."""
        self._misses.labels(self._agent(agent)).inc()

    def refused(self, agent: str, refusal: Refusal) -> None:
        """Count one refusal that reached its caller."""
        self._refusals.labels(self._agent(agent), refusal.kind.value).inc()

    def circuit_changed(self, model: str, to: str) -> None:
        """Count one change of a deployment's circuit breaker."""
        self._circuits.labels(model, to).inc()

    def waited(self, tier: str, seconds: float) -> None:
        """Count a wait for deployments that said when to come again."""
        self._waits.labels(self._tier(tier)).observe(seconds)

    def ended(self, agent: str, status: str, steps: int) -> None:
        """Count one run that ended; stopped counts as killed and expired as failed."""
        label = {"stopped": "killed", "expired": "failed"}.get(status, status)
        self._tasks.labels(self._agent(agent), label).inc()
        self._steps.labels(self._agent(agent)).observe(steps)

    def escalated(self, agent: str) -> None:
        """Count one question to a person."""
        self._escalations.labels(self._agent(agent)).inc()

    def looped(self, agent: str, rule: str) -> None:
        """Count one finding of a loop rule."""
        self._loops.labels(self._agent(agent), rule).inc()

    def serves(self, route: str) -> None:
        """A route of the front door; its commonest codes are there from the beginning."""
        for code in _CODES:
            self._answers.labels(route, code)

    def answered(self, route: str, code: int) -> None:
        """Count one request to the front door. route: one of few, never a path as it came."""
        self._answers.labels(route, str(code)).inc()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)
