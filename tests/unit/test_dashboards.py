"""The dashboards in the repository are those that the code makes, and they ask for what there is."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.writing import DIRECTORY, documents, write

ROOT = Path(__file__).parents[2]
FILES = {path.name: path.read_text() for path in DIRECTORY.glob("*.json")}
DASHBOARDS: Mapping[str, Mapping[str, Any]] = {name: json.loads(text) for name, text in FILES.items()}
OVERVIEW = DASHBOARDS["curb-cost-health.json"]
# REQUIREMENTS 8, top to bottom.
ORDER = (
    "Today", "Month to date", "Budget used", "Cost velocity, $/h", "Active agents", "Error rate, 1 h",
    "Cache hit rate, 1 h", "p95 latency, 1 h", "Cost by agent today", "Cost by model today",
    "Provider health", "Kill switches and throttles", "Requests per minute", "Success rate",
    "Top users by cost, today", "Hourly cost", "Token usage per minute", "Rate-limit violations, 24 h",
    "Backups", "Redis memory", "Redis evictions", "Redis connections",
)  # fmt: skip
# What is not curb's: of Temporal's server and SDK.
OTHERS = {
    "workflow", "activity", "schedule", "task", "poll", "service", "persistence", "memory", "temporal",
}  # fmt: skip


def panels() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            yield name, panel


def targets() -> Iterator[Mapping[str, Any]]:
    for _, panel in panels():
        yield from panel.get("targets", ())


def test_the_files_are_what_the_code_makes() -> None:
    assert documents() == FILES, "run `make dashboards`"


def test_what_is_no_dashboard_any_more_is_removed(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)


def test_the_overview_has_what_was_promised_in_that_order() -> None:
    assert OVERVIEW["title"] == "AI factory - cost & health"
    titles = [panel["title"] for panel in OVERVIEW["panels"]]
    assert [title for title in titles if title in ORDER] == list(ORDER)


def test_panels_fill_the_width_and_do_not_leave_it() -> None:
    widths: dict[tuple[str, int], int] = {}
    for name, panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        widths[name, place["y"]] = widths.get((name, place["y"]), 0) + place["w"]
    assert {place: width for place, width in widths.items() if width != 24} == {}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_numbers_of_their_own(name: str) -> None:
    numbers = [panel["id"] for panel in DASHBOARDS[name]["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_agent_model_and_team_can_be_chosen(name: str) -> None:
    variables = {each["name"]: each for each in DASHBOARDS[name]["templating"]["list"]}
    assert {"agent", "model", "team", "temporal_ui", "namespace"} <= set(variables)
    assert all(variables[each]["allValue"] == ".*" for each in ("agent", "model", "team"))


def test_every_source_is_provisioned() -> None:
    text = (ROOT / "deploy/grafana/provisioning/datasources/curb.yaml").read_text()
    known = {(source["uid"], source["type"]) for source in yaml.safe_load(text)["datasources"]}
    assert {(each["datasource"]["uid"], each["datasource"]["type"]) for each in targets()} == known


def test_every_metric_of_curb_is_documented() -> None:
    documented = set(re.findall(r"`([a-z][a-z0-9_]+)`", (ROOT / "docs/metrics.md").read_text()))
    asked = set()
    for each in targets():
        asked |= set(re.findall(r"\b([a-z][a-z0-9]*_[a-z0-9_]+)(?=[{)\[\] ]|$)", _bare(each.get("expr", ""))))
    metrics = {re.sub(r"_bucket$", "", name) for name in asked}
    ours = {name for name in metrics if name.partition("_")[0] in ("llm", "agent", "curb")}
    assert len(ours) > 20
    assert ours <= documented
    assert {name.partition("_")[0] for name in metrics - ours} <= OTHERS


def test_a_run_leads_to_the_temporal_ui() -> None:
    tables = [
        panel
        for _, panel in panels()
        if any("AS run," in each.get("rawSql", "") for each in panel.get("targets", ()))
    ]
    assert len(tables) >= 4
    for panel in tables:
        [urls] = [
            [link["url"] for link in each["value"]]
            for override in panel["fieldConfig"]["overrides"]
            for each in override["properties"]
            if each["id"] == "links"
        ]
        assert urls[0] == (
            "${temporal_ui:raw}/namespaces/${namespace}/workflows/${__value.raw:percentencode}"
        ), panel["title"]


def _bare(expression: str) -> str:
    """Without labels, and without what lists them."""
    without = re.sub(r"\{[^}]*\}", "", expression)
    without = re.sub(r"\bby \([^)]*\)|\"[^\"]*\"", "", without)
    return re.sub(r"\b(histogram_quantile|label_replace|topk)\b", "", without)
