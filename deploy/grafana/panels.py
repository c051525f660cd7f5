"""The few kinds of panels that the dashboards are made of, and links from them."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, common, dashboard, gauge, stat, table, timeseries
from grafana_foundation_sdk.cog import builder as cogbuilder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.queries import MIXED, POSTGRES, PROMETHEUS, Query, Sql

USD, SHARE, SECONDS, BYTES = "currencyUSD", "percentunit", "s", "bytes"
WIDE, HALF, THIRD, QUARTER, SIXTH = 24, 12, 8, 6, 4
RUN = "${__value.raw:percentencode}"
TEMPORAL_LINK = ("In Temporal", "${temporal_ui:raw}/namespaces/${namespace}/workflows/" + RUN)
RUN_LINK = ("Its steps", "/d/curb-runs?var-run=" + RUN + "&${__url_time_range}")
AGENT_LINK = ("Its runs", "/d/curb-runs?var-agent=${__data.fields.agent:percentencode}&${__url_time_range}")

Link = tuple[str, str]
Panel = cogbuilder.Builder[models.Panel]
_P = TypeVar("_P", stat.Panel, gauge.Panel, bargauge.Panel, table.Panel, timeseries.Panel)
_LETTERS = "ABCDEFGH"


def number(
    title: str, *queries: Query, unit: str = "short", text: str = "", bad: Sequence[float] = ()
) -> stat.Panel:
    """Large figures. bad: from where on they are yellow, and red."""
    panel = _asked(stat.Panel().title(title).unit(unit).height(4).span(SIXTH), queries, text)
    return panel.thresholds(_steps(bad)).reduce_options(_last()).no_value("0")


def dial(title: str, *queries: Query, unit: str, text: str = "") -> gauge.Panel:
    """A figure on a scale."""
    panel = _asked(gauge.Panel().title(title).unit(unit).min(0).height(8).span(THIRD), queries, text)
    return panel.thresholds(_steps(())).reduce_options(_last())


def bars(title: str, query: Query, *, unit: str, link: Link | None = None, text: str = "") -> bargauge.Panel:
    """A bar for each row of a table: a name, and a number."""
    panel = _asked(bargauge.Panel().title(title).unit(unit).height(8).span(HALF), [query], text)
    panel.reduce_options(common.ReduceDataOptions().values(True).calcs(["lastNotNull"]).limit(20))
    panel.orientation(common_models.VizOrientation.HORIZONTAL).thresholds(_steps(())).min(0)
    return panel.data_links([_link(link)]) if link else panel


def lines(title: str, *queries: Query, unit: str = "short", text: str = "") -> timeseries.Panel:
    """Something over time."""
    panel = _asked(timeseries.Panel().title(title).unit(unit).height(8).span(THIRD), queries, text)
    legend = common.VizLegendOptions().show_legend(True).placement(common_models.LegendPlacement.BOTTOM)
    return panel.min(0).fill_opacity(10).legend(legend).no_value("nothing")


def rows(
    title: str,
    query: Query,
    *,
    units: Mapping[str, str] | None = None,
    links: Mapping[str, Sequence[Link]] | None = None,
    text: str = "",
) -> table.Panel:
    """A table. units: of columns. links: from what is in a column."""
    panel = _asked(table.Panel().title(title).height(8).span(WIDE), [query], text)
    for column, unit in (units or {}).items():
        panel.override_by_name(column, [models.DynamicConfigValue("unit", unit)])
    for column, given in (links or {}).items():
        made = [_link(link).build() for link in given]
        panel.override_by_name(column, [models.DynamicConfigValue("links", made)])
    return panel.no_value("none")


def _asked(panel: _P, queries: Sequence[Query], text: str) -> _P:
    for letter, query in zip(_LETTERS, queries, strict=False):
        panel.with_target(query.ref_id(letter))
    panel.datasource(_source(queries))
    return panel.description(text) if text else panel


def _source(queries: Sequence[Query]) -> models.DataSourceRef:
    kinds = {isinstance(query, Sql) for query in queries}
    if len(kinds) > 1:
        return MIXED
    return POSTGRES if True in kinds else PROMETHEUS


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _link(link: Link) -> dashboard.DashboardLink:
    title, url = link
    return dashboard.DashboardLink(title).url(url).target_blank(True)


def _steps(bad: Sequence[float]) -> dashboard.ThresholdsConfig:
    colours = zip(("yellow", "red"), bad, strict=False)
    steps = [models.Threshold(value=None, color="green")]
    steps += [models.Threshold(value=value, color=colour) for colour, value in colours]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
