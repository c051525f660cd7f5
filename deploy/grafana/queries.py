"""Questions to Prometheus and to curb's PostgreSQL, and how the dashboards' variables stand in them."""

from collections.abc import Mapping
from typing import Literal

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog import builder as cogbuilder
from grafana_foundation_sdk.cog import variants as cogvariants
from grafana_foundation_sdk.models import prometheus as prometheus_models
from grafana_foundation_sdk.models.dashboard import DataSourceRef

PROMETHEUS = DataSourceRef("prometheus", "curb-prometheus")
POSTGRES = DataSourceRef("grafana-postgresql-datasource", "curb-postgres")
MIXED = DataSourceRef("datasource", "-- Mixed --")

CHOSEN = 'agent=~"$agent", model=~"$model"'
"""Labels of what carries an agent and a model; metrics about money by team carry no agent."""


def over_time(expression: str, legend: str = "") -> prometheus.Dataquery:
    """A line for each series."""
    return prometheus.Dataquery().expr(expression).range().legend_format(legend).datasource(PROMETHEUS)


def now(expression: str, legend: str = "") -> prometheus.Dataquery:
    """A number for each series."""
    return prometheus.Dataquery().expr(expression).instant().legend_format(legend).datasource(PROMETHEUS)


def rows_of(expression: str) -> prometheus.Dataquery:
    """A row for each series, its labels as columns."""
    asked = prometheus.Dataquery().expr(expression).instant().datasource(PROMETHEUS)
    return asked.format(prometheus_models.PromQueryFormat.TABLE)


def quantile(share: float, metric: str, chosen: str = "", *, by: str = "", window: str = "5m") -> str:
    """A quantile of a histogram, by some label or of all together."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{chosen}}}[{window}])))"


def matches(column: str, variable: str) -> str:
    """Whether a column is among what is chosen.

    `:regex` escapes every `$`, so nothing that is chosen ends this quotation.
    """
    return f"{column} ~ $re$^(${{{variable}:regex}})$$re$"


class Sql(cogbuilder.Builder["SqlQuery"]):
    """A question to PostgreSQL. as_lines: by a column `time`, else a table."""

    def __init__(self, text: str, *, as_lines: bool = False) -> None:
        self._query = SqlQuery(" ".join(text.split()), "time_series" if as_lines else "table")

    def build(self) -> "SqlQuery":
        return self._query

    def ref_id(self, ref_id: str) -> "Sql":
        self._query.ref_id = ref_id
        return self


class SqlQuery(cogvariants.Dataquery):
    """As Grafana keeps it; the SDK has no class for it."""

    def __init__(self, text: str, format: Literal["table", "time_series"]) -> None:
        self.text = text
        self.format = format
        self.ref_id = ""

    def to_json(self) -> Mapping[str, object]:
        return {
            "datasource": POSTGRES,
            "editorMode": "code",
            "format": self.format,
            "rawQuery": True,
            "rawSql": self.text,
            "refId": self.ref_id,
        }


Query = prometheus.Dataquery | Sql
