"""What the scheduled activities work by: rules and channels, read from curb.yaml once per process."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from activities.channels import Channel
from activities.reports.policy import ReportPolicy
from gateway.policy.alert_routes import AlertPolicy
from gateway.policy.health import HealthPlan
from gateway.policy.retention import RetentionPolicy
from gateway.policy.sums import SumRules
from gateway.policy.sweep_rules import SweepRules
from gateway.traces.export import Target, TracePolicy


@dataclass(frozen=True, slots=True)
class Supervision:
    """channels: by their names in curb.yaml. temporal_ui: where people look at workflows, '' unknown.
    alerts: who is told of what. health: which providers are looked at, and how.
    reconcile: how patient the providers' usage is read. retention: how long what is kept.
    traces, trace_targets: what is told of calls and runs, and to whom."""

    channels: Mapping[str, Channel] = field(default_factory=dict)
    temporal_ui: str = ""
    namespace: str = "default"
    alerts: AlertPolicy = AlertPolicy()
    health: HealthPlan = HealthPlan({})
    reconcile: SumRules = SumRules()
    sweep: SweepRules = SweepRules()
    reports: ReportPolicy = ReportPolicy()
    retention: RetentionPolicy = RetentionPolicy()
    traces: TracePolicy = TracePolicy()
    trace_targets: tuple[Target, ...] = ()

    def workflow_url(self, workflow_id: str) -> str:
        """A workflow in the Temporal UI; '' where no UI is known."""
        if not self.temporal_ui:
            return ""
        return f"{self.temporal_ui}/namespaces/{self.namespace}/workflows/{workflow_id}"
