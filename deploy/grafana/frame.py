"""What all dashboards share: their variables, their links to each other, their refreshing."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.panels import Panel
from deploy.grafana.queries import PROMETHEUS

Dashboard = dashboard.Dashboard
TAG = "curb"
AGENTS = "label_values(llm_cost_velocity_dollars_per_minute, agent)"
MODELS = "label_values(llm_requests_total, model)"
TEAMS = "label_values(llm_cost_total_usd, team)"


def frame(uid: str, title: str, description: str, *, hours: int = 6) -> Dashboard:
    """An empty dashboard, with variables for agent, model and team, and for where the Temporal UI is."""
    made = Dashboard(title).uid(uid).description(description).tags([TAG]).timezone("browser")
    made.time(f"now-{hours}h", "now").refresh("30s").tooltip(models.DashboardCursorSync.CROSSHAIR).readonly()
    for name, values in (("agent", AGENTS), ("model", MODELS), ("team", TEAMS)):
        made.with_variable(_chosen(name, values))
    made.with_variable(_written("temporal_ui", "http://localhost:8233"))
    made.with_variable(_written("namespace", "default"))
    others = dashboard.DashboardLink("curb").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    return made.link(others.as_dropdown(True).include_vars(True).keep_time(True))


def section(made: Dashboard, title: str, panels: Sequence[Panel]) -> None:
    """A row with a title, and panels from left to right."""
    made.with_row(dashboard.Row(title))
    for panel in panels:
        made.with_panel(panel)


def _chosen(name: str, values: str) -> dashboard.QueryVariable:
    """Any number of those that Prometheus knows. All is everything, also what has no such name."""
    variable = dashboard.QueryVariable(name).label(name).query(values).datasource(PROMETHEUS)
    variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    everything = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    return variable.multi(True).include_all(True).all_value(".*").current(everything)


def _written(name: str, value: str) -> dashboard.TextBoxVariable:
    """A text that people may change in the address: a link needs it, nobody looks at it."""
    variable = dashboard.TextBoxVariable(name).default_value(value)
    variable.current(models.VariableOption(selected=True, text=value, value=value))
    return variable.hide(models.VariableHide.HIDE_VARIABLE)
