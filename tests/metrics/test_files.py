"""The files of deploy/prometheus and deploy/alertmanager, as their own programs judge them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.metrics.programs import DEPLOY, RULES, run

TESTS = sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))
ALERTMANAGER = DEPLOY / "alertmanager" / "alertmanager.yml"


def rules(kind: str) -> list[dict[str, Any]]:
    """All rules that record, or that alert."""
    files = (yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.yml")))
    return [r for given in files for group in given["groups"] for r in group["rules"] if kind in r]


def test_the_configuration_is_valid_with_its_rules(tmp_path: Path) -> None:
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    own = tmp_path / "prometheus.yml"
    own.write_text(text.replace("/etc/prometheus/rules", str(RULES)))
    assert f"{len(rules('alert'))} rules found" in run("promtool", "check", "config", own)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_do_what_their_scenes_say(path: Path) -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", path)


def test_there_is_a_scene_for_every_alert_and_every_record() -> None:
    told = "\n".join(path.read_text() for path in TESTS)
    fired = set(re.findall(r"exp_samples:\n(?:.*labels.*\n)+", told))
    firing = {name for scene in fired for name in re.findall(r'alertname="(\w+)"', scene)}
    assert firing == {rule["alert"] for rule in rules("alert")}
    wildcards = ("llm_cost_per_", "curb_http:own_errors:ratio")
    records = {rule["record"] for rule in rules("record") if not rule["record"].startswith(wildcards)}
    used = " ".join(rule["expr"] for rule in rules("expr"))
    assert [name for name in sorted(records) if name not in told and name not in used] == []


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("none", "info", "warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description"}


def test_alertmanager_takes_its_configuration() -> None:
    assert "SUCCESS" in run("amtool", "check-config", ALERTMANAGER)


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (["alertname=CurbTells", "severity=none"], "nobody"),
        (["alertname=CurbDown", "severity=critical"], "curb,page"),
        (["alertname=GatewayErrors", "severity=warning", "curb_rule=gateway_errors"], "curb"),
        (["alertname=ErrorRateSpike", "severity=warning", "told_by=curb"], "slack"),
        (["alertname=ErrorCascade", "severity=critical", "told_by=curb"], "page"),
    ],
)
def test_alerts_go_where_they_should(labels: list[str], receivers: str) -> None:
    found = run("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels)
    assert found.splitlines()[0] == receivers
