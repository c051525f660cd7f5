"""`teams:` in curb.yaml: owners are told, and of their own team's budgets only."""

from datetime import UTC, datetime

import httpx
import pytest
from pydantic import SecretStr

from gateway.policy.alert_catalogue import Severity
from gateway.policy.alerts import AlertRecord
from gateway.policy.scopes import Period
from gateway.state.values import BudgetState
from worker.alerting import alerts_here
from worker.channels import channels_of
from worker.config import Config, parse_config
from worker.config_errors import ConfigurationProblems
from worker.config_teams import Team, owners_mailboxes
from worker.settings import Settings
from worker.shared_metrics import _months

ADA = "ada@example.org"
WRITTEN = f"""
teams:
  research: {{department: science, project: search, owner: {ADA}}}
  sales: {{owner: [ops, {ADA}]}}
  care: {{department: science, project: search}}
alerts:
  channels: {{ops: {{type: ntfy, url: "https://ntfy.example.org/ops"}}}}
  routes: [{{severity: critical, channels: ops}}]
"""
NOW = datetime(2026, 11, 29, tzinfo=UTC)


@pytest.fixture
def config() -> Config:
    return parse_config(WRITTEN)


async def told(config: Config, rule: str, scope: str, severity: Severity = "warning") -> tuple[str, ...]:
    settings = Settings(smtp_url=SecretStr("smtp://127.0.0.1:25"))
    async with httpx.AsyncClient() as client:
        channels = channels_of({**owners_mailboxes(config.teams), **config.channels}, settings, client)
        alert = AlertRecord(
            *("a", "f", rule, severity, scope, "", scope.partition(":")[2], "It is so", {}, ""),
            *(NOW, NOW, None, 1, 1, "firing"),
        )
        return alerts_here(config, channels).channels(alert)


def test_a_team_has_a_department_a_project_and_owners(config: Config) -> None:
    assert config.teams["research"] == Team("science", "search", (ADA,))
    assert config.teams["sales"].owners == ("ops", ADA)
    assert parse_config("").teams == {}


@pytest.mark.parametrize("rule", ["daily_budget_80", "forecast_over_budget"])
async def test_the_owner_is_told_of_the_teams_budget(config: Config, rule: str) -> None:
    assert await told(config, rule, "team:research") == (ADA,)
    assert await told(config, rule, "team:sales") == ("ops", ADA)


async def test_the_owner_is_told_besides_whoever_is_told_anyway(config: Config) -> None:
    assert await told(config, "daily_budget_exceeded", "team:research", "critical") == (ADA, "ops")


@pytest.mark.parametrize(
    ("rule", "scope"),
    [("daily_budget_80", "team:care"), ("daily_budget_80", "global"), ("error_rate", "team:sales")],
)
async def test_nobody_is_told_of_what_is_not_theirs(config: Config, rule: str, scope: str) -> None:
    assert ADA not in await told(config, rule, scope, "critical")


def test_an_owner_whom_nobody_can_reach_is_an_error() -> None:
    with pytest.raises(ConfigurationProblems, match=r"teams.research.owner: .*neither an e-mail address nor"):
        parse_config("teams: {research: {owner: ada}}")


def test_departments_are_counted_together(config: Config) -> None:
    def month(scope: str, spent: int, limit: int) -> BudgetState:
        return BudgetState(f"{scope}|month|2026-11", scope, Period.MONTH, "2026-11", limit, spent, 0, 0)

    states = [month("team:research", 30, 100), month("team:care", 60, 200), month("team:sales", 1, 4)]
    assert dict(_months([*states, month("global", 1, 2)], config.teams)) == {
        ("science", "search"): 0.3,
        ("sales", ""): 0.25,
        ("", ""): 0.5,
    }
