"""A month that goes over its budget reaches people as an alert, not only with the report."""

from temporalio.client import Client

from gateway.policy.money import usd
from gateway.policy.scopes import Period
from gateway.store import Store
from tests.integration.past_days import attempt, days_ago
from tests.integration.receivers import receiver
from tests.integration.report_house import start
from tests.integration.runs import serving
from worker.config import parse_config
from worker.settings import Settings
from worker.wiring import Servers
from workflows.cost_report import ReportTask


async def test_the_forecast_over_budget_reaches_a_channel(
    temporal: Client, redis_url: str, database: str
) -> None:
    async with await Store.connect(database) as store:
        await store.ledger.apply_events(attempt("dear", days_ago(1), usd("10")))
        await store.budgets.apply_policy({("global", Period.MONTH): usd("1")}, source="", applied_by="test")
    async with receiver() as hook:
        config = parse_config(
            f'alerts: {{channels: {{hook: {{type: webhook, url: "{hook.url}"}}}},\n'
            "         routes: [{rule: forecast_over_budget, channels: hook}]}\n"
            "reports: {daily: {channels: []}}"
        )
        async with serving(
            temporal,
            Servers(redis_url, database),
            config.gateway,
            [],
            config=config,
            settings=Settings(metrics_port=0),
            supervise=True,
        ):
            await (await start(temporal, ReportTask(at=f"{days_ago(0)}T00:10:00Z"))).result()
            [told] = await hook.until(1)

    assert (told.json["kind"], told.json["severity"]) == ("firing", "warning")
    assert "more than $1" in told.json["title"]
    assert told.json["data"]["rule"] == "forecast_over_budget"
