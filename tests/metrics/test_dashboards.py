"""Every query of every panel finds something: in a real Prometheus and PostgreSQL, of a curb under load.

PostgreSQL is asked as the role that Grafana has there.
"""

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.acceptance.command import Curb, Dev
from tests.metrics.grafana import Asked, Chosen, dashboards, queries
from tests.metrics.load import Load, Worker, furnish, set_the_scene
from tests.metrics.prometheus import Prometheus, until

READER = Path(__file__).parents[2] / "deploy" / "grafana" / "reader.sql"
QUERIES = queries()
TO_PROMETHEUS = [asked for asked in QUERIES if asked.to_prometheus]
TO_POSTGRES = [asked for asked in QUERIES if not asked.to_prometheus]
RUN = "waits"
ABSENT = {
    ("Redis memory", "B"),  # the embedded Valkey has no limit
    ("Waiting for who keeps traces", "A"),  # nobody keeps any
}
CALM = {"Redis evictions", "Waiting for the ledger", "In doubt", "Errors per second"}  # zero, we hope
PROMPTS = ("items", "http_answers", "cached_answers", "server_secrets", "api_key_tokens", "conversations")


@dataclass(frozen=True)
class House:
    """A curb at work, the Prometheus that looks at it, and its database as Grafana sees it."""

    curb: Curb
    prometheus: Prometheus
    database_url: str

    def rows(self, sql: str) -> Sequence[dict[str, Any]]:
        with psycopg.connect(self.database_url, row_factory=dict_row, user="curb_grafana") as connection:
            return connection.execute(sql.encode()).fetchall()

    def series(self, asked: Asked, chosen: Chosen) -> list[dict[str, Any]]:
        """As the panel asks: now, or over the last half minute."""
        expression = chosen.expression(asked)
        if asked.target.get("instant"):
            return self.prometheus.query(expression)
        return self.prometheus.query_range(expression, 30)

    def numbers(self, asked: Asked) -> list[float]:
        """All numbers that the panel shows."""
        found = self.series(asked, Chosen())
        pairs = [pair for each in found for pair in each.get("values", [each.get("value")])]
        return [float(value) for _, value in pairs if math.isfinite(float(value))]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("metrics")
    furnish(directory)
    curb = Curb(directory, {"CURB_SHUTDOWN_SECONDS": "1"})
    with contextlib.ExitStack() as ends:
        dev = Dev(curb)
        ends.callback(ended_well, dev)
        set_the_scene(curb)
        stack = json.loads((directory / ".curb" / "stack.json").read_text())
        prepare(stack["addresses"]["database_url"])
        worker = Worker(curb)
        ends.callback(worker.stop)
        targets = {
            "curb": (dev.places["front_door"].removeprefix("http://"), worker.metrics),
            "temporal": (f"127.0.0.1:{stack['servers']['temporal']['ports']['temporal_metrics']}",),
            "temporal-sdk": (worker.temporal_metrics,),
        }
        prometheus = Prometheus(targets, directory)
        ends.callback(prometheus.stop)
        load = Load(dev.places["front_door"])
        ends.callback(load.stop)
        yield House(curb, prometheus, stack["addresses"]["database_url"])


def prepare(database_url: str) -> None:
    """The role that Grafana reads with, and what only others write: a backup."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(READER.read_bytes())
        connection.execute("INSERT INTO backup_logs (kind, success) VALUES ('pg_dump', true)")


def ended_well(dev: Dev) -> None:
    assert dev.stop() == 0, dev.errors.read_text()


@pytest.mark.parametrize("asked", TO_PROMETHEUS, ids=str)
def test_a_query_to_prometheus_finds_something(house: House, asked: Asked) -> None:
    name = asked.panel, asked.target["refId"]
    condition = bool if asked.panel in CALM else any
    if name not in ABSENT:
        until(lambda: house.numbers(asked), condition)


@pytest.mark.parametrize("asked", TO_POSTGRES, ids=str)
def test_a_query_to_postgres_finds_something(house: House, asked: Asked) -> None:
    until(lambda: house.rows(Chosen(run=RUN).sql(asked)), bool)


@pytest.mark.parametrize("variable", ["agent", "model", "team"])
def test_a_variable_has_something_to_choose(house: House, variable: str) -> None:
    [asked] = {
        each["query"]
        for dashboard in dashboards().values()
        for each in dashboard["templating"]["list"]
        if each["name"] == variable
    }
    metric = asked.removeprefix("label_values(").removesuffix(f", {variable})")
    until(lambda: house.prometheus.values(variable, metric), bool)


CHOICES = Chosen(agent=("writer", "re$ader"), model=("openai/gpt-5-mini@say-20",), team=("care",), run="it's")


@pytest.mark.parametrize("asked", QUERIES, ids=str)
def test_a_query_is_well_formed_whatever_is_chosen(house: House, asked: Asked) -> None:
    if asked.to_prometheus:
        house.series(asked, CHOICES)
    else:
        house.rows(CHOICES.sql(asked))


def test_what_is_not_chosen_is_not_shown(house: House) -> None:
    [costs] = [asked for asked in TO_POSTGRES if asked.panel == "Cost by agent today"]
    [requests] = [asked for asked in TO_PROMETHEUS if asked.panel == "Requests per minute"]
    chosen = Chosen(agent=("writer",), team=("care",))
    rows = until(lambda: house.rows(chosen.sql(costs)), bool)
    assert {row["agent"] for row in rows} == {"writer"}
    until(lambda: house.series(requests, chosen), bool)
    assert house.series(requests, Chosen(model=("openai/gpt-5-mini@500",)))[0]["metric"] == {
        "status": "error"
    }


def test_today_is_what_the_ledger_says(house: House) -> None:
    [today] = [asked for asked in TO_POSTGRES if asked.panel == "Today"]
    [by_agent] = [asked for asked in TO_POSTGRES if asked.panel == "Cost by agent today"]

    def both() -> tuple[float, float]:
        [whole] = house.rows(Chosen().sql(today))
        return whole["chosen"], sum(row["usd"] for row in house.rows(Chosen().sql(by_agent)))

    whole, parts = until(both, lambda seen: seen[0] > 0 and seen[0] == pytest.approx(seen[1]))
    assert whole == pytest.approx(parts)


@pytest.mark.parametrize("table", PROMPTS)
def test_grafana_cannot_read_what_was_said(house: House, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        house.rows(f"SELECT * FROM {table}")


def test_grafana_cannot_write(house: House) -> None:
    with pytest.raises(psycopg.errors.Error):
        house.rows("INSERT INTO backup_logs (success) VALUES (true) RETURNING id")
