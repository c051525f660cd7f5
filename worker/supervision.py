"""The worker that watches while nobody does: scheduled workflows, alerts, and their activities."""

from collections.abc import Callable, Mapping
from typing import Any

from activities.alerts import AlertActivities
from activities.channels import Channel
from activities.dependencies import Dependencies
from activities.health import HealthActivities
from activities.reconcile import ReconcileActivities
from activities.report import ReportActivities
from activities.reset import ResetActivities
from activities.retention import RetentionActivities
from activities.supervision import Supervision
from activities.sweep import SweepActivities
from activities.traces import TraceActivities
from worker.alerting import alerts_here
from worker.config import Config
from worker.config_reports import reports_here
from worker.settings import Settings
from worker.tracing import trace_targets
from workflows.alert import Alert
from workflows.anomaly_sweep import AnomalySweep
from workflows.cost_report import CostReport
from workflows.daily_reset import DailyReset
from workflows.provider_health import ProviderHealth
from workflows.reconcile import Reconcile
from workflows.retention import Retention
from workflows.trace_export import TraceExport

WORKFLOWS: tuple[type, ...] = (
    Alert,
    AnomalySweep,
    CostReport,
    DailyReset,
    ProviderHealth,
    Reconcile,
    Retention,
    TraceExport,
)


def activities(dependencies: Dependencies, supervision: Supervision) -> list[Callable[..., Any]]:
    """Everything that the workflows of supervision may ask for."""
    health = HealthActivities(dependencies, supervision)
    alerts = AlertActivities(dependencies, supervision)
    reconcile = ReconcileActivities(dependencies, supervision)
    reports = ReportActivities(dependencies, supervision)
    reset = ResetActivities(dependencies, supervision)
    retention = RetentionActivities(dependencies, supervision)
    sweep = SweepActivities(dependencies, supervision)
    traces = TraceActivities(dependencies, supervision)
    return [
        alerts.look_at_alert,
        alerts.tell,
        alerts.give_up_telling,
        alerts.note_word,
        health.probe_providers,
        health.judge_providers,
        reconcile.reconcile_hour,
        reports.make_report,
        reports.deliver_report,
        reports.note_report,
        reset.plan_reset,
        reset.reopen,
        reset.close_books,
        reset.record_reset,
        retention.plan_retention,
        retention.retire,
        retention.record_retention,
        sweep.sweep,
        sweep.tell_sweep_failure,
        sweep.tell_sweep_recovery,
        traces.export_traces,
    ]


def supervision(
    config: Config, settings: Settings, namespace: str, temporal_ui: str, channels: Mapping[str, Channel]
) -> Supervision:
    """What supervision works by in this process.

    Raises ConfigurationError for alerts and reports that go to a channel which is not there.
    """
    return Supervision(
        channels=channels,
        temporal_ui=temporal_ui,
        namespace=namespace,
        alerts=alerts_here(config, channels),
        health=config.health,
        reconcile=config.reconcile,
        sweep=config.sweep,
        reports=reports_here(config.reports, channels),
        retention=config.retention,
        traces=config.traces.policy,
        trace_targets=trace_targets(settings, config.traces),
    )
