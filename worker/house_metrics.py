"""Gauges of the house: what budgets of many hold, what is in doubt, and how servers and providers are.

Parts of worker.shared_metrics, which asks for them when somebody scrapes: shared by all processes, so
that each tells the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from gateway.config import Deployment
from gateway.policy.money import NANO_PER_USD
from gateway.state.values import BudgetState, ServerLoad
from gateway.store.attempts import InDoubt
from gateway.store.backups import LastBackup
from gateway.store.health import Health
from gateway.store.traces import Backlog

Samples = Iterable[tuple[Sequence[str], float]]
_OF_MANY = ("global", "team")


@dataclass(frozen=True, slots=True)
class House:
    """One look; None and empty: not asked, or no answer. budgets: of everybody and of teams, now."""

    budgets: Sequence[BudgetState] = ()
    doubt: InDoubt | None = None
    backlogs: Sequence[Backlog] = ()
    backup: LastBackup | None = None
    health: Sequence[Health] = ()
    redis: ServerLoad | None = None


def budgets_of_many(states: Iterable[BudgetState], day: date) -> list[BudgetState]:
    """Those of everybody and of teams, of this day and this month."""
    windows = {"day": str(day), "month": f"{day:%Y-%m}"}
    return [s for s in states if s.window == windows.get(s.period) and s.scope.partition(":")[0] in _OF_MANY]


def house_families(house: House, deployments: Mapping[str, Deployment]) -> Iterable[Metric]:
    """The gauges; what was not seen has no samples."""
    yield gauge(
        "curb_deployment_info", "1 for each deployment, and whose it is", ("model", "provider"),
        [((each.name, each.provider), 1.0) for each in deployments.values()],
    )  # fmt: skip
    yield from _money(house)
    yield from _traces(house.backlogs)
    yield from _backups(house.backup)
    yield from _providers(house.health)
    yield from _redis(house.redis)


def gauge(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    """A gauge with these samples: (values of the labels, value)."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def used_nano_usd(state: BudgetState) -> int:
    """Spent, held and in doubt."""
    return state.spent_nano_usd + state.held_nano_usd + state.in_doubt_nano_usd


def _money(house: House) -> Iterable[Metric]:
    labels = ("scope", "name", "period")
    yield gauge(
        "curb_spent_dollars", "Dollars spent in this day and month, by everybody and by each team", labels,
        [(_of(s), s.spent_nano_usd / NANO_PER_USD) for s in house.budgets],
    )  # fmt: skip
    yield gauge(
        "curb_budget_utilization_ratio", "Used share of their budgets, held money included", labels,
        [(_of(s), used_nano_usd(s) / s.limit_nano_usd) for s in house.budgets if s.limit_nano_usd],
    )  # fmt: skip
    doubt = [house.doubt] if house.doubt else []
    yield _plain("curb_in_doubt_calls", "Attempts in doubt", [each.calls for each in doubt])
    yield _plain(
        "curb_in_doubt_dollars", "The most they can come to", [d.bound_nano_usd / NANO_PER_USD for d in doubt]
    )


def _of(state: BudgetState) -> tuple[str, str, str]:
    kind, _, name = state.scope.partition(":")
    return kind, name, state.period


def _traces(backlogs: Sequence[Backlog]) -> Iterable[Metric]:
    labels = ("target",)
    yield gauge(
        "curb_trace_backlog", "Spans that wait for who keeps traces", labels,
        [((each.target,), each.waiting) for each in backlogs],
    )  # fmt: skip
    yield gauge(
        "curb_trace_backlog_age_seconds", "Age of the oldest of them", labels,
        [((each.target,), each.oldest_seconds) for each in backlogs],
    )  # fmt: skip
    yield gauge(
        "curb_traces_refused", "Given up within the last hour", labels,
        [((each.target,), each.refused) for each in backlogs],
    )  # fmt: skip


def _backups(last: LastBackup | None) -> Iterable[Metric]:
    failed = [] if last is None else [float(not last.success)]
    good = [] if last is None or last.good_at is None else [last.good_at.timestamp()]
    yield _plain("curb_backup_failed", "1 when the newest backup failed", failed)
    yield _plain("curb_backup_last_good_timestamp_seconds", "When the newest good backup began", good)


def _providers(health: Sequence[Health]) -> Iterable[Metric]:
    probed = [each for each in health if not each.deployment]
    yield gauge(
        "curb_provider_up", "0 for a provider that is held to be down", ("provider",),
        [((each.provider,), float(each.status != "down")) for each in probed if each.status != "unknown"],
    )  # fmt: skip
    yield gauge(
        "curb_provider_latency_seconds", "How long its last probe took", ("provider",),
        [((each.provider,), each.latency_ms / 1000) for each in probed if each.checked_at is not None],
    )  # fmt: skip


def _redis(load: ServerLoad | None) -> Iterable[Metric]:
    seen = [] if load is None else [load]
    yield _plain("curb_redis_memory_used_bytes", "Bytes that Redis uses", [r.used_bytes for r in seen])
    yield _plain(
        "curb_redis_memory_limit_bytes", "The most it may; 0: no limit", [r.limit_bytes for r in seen]
    )
    yield _plain("curb_redis_evicted_keys", "Keys evicted since it began", [r.evicted_keys for r in seen])
    yield _plain("curb_redis_connections", "Clients that are connected", [r.connections for r in seen])


def _plain(name: str, text: str, values: Iterable[float]) -> Metric:
    """A gauge without labels."""
    return gauge(name, text, (), [((), value) for value in values])
