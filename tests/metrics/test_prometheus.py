"""A real Prometheus scrapes a real worker and front door, and every rule of deploy/ is evaluated on it."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio as redis
import yaml
from temporalio.client import Client

from gateway.agents import Agent
from tests.integration.databases import migrated_database
from tests.integration.runs import Factory, serving
from tests.integration.servers import free_port
from tests.integration.waiting import until
from tests.integration.world import config
from tests.metrics.programs import RULES, Server, prometheus
from tests.simulated import SimulatedProvider
from worker.config import Config
from worker.front_door import Place, serve_front_door
from worker.settings import Settings
from worker.wiring import Servers

WELL, BROKEN, LOOPS = "openai/gpt-5-mini@say-20", "openai/gpt-5-mini@say-20+cut", "openai/gpt-5-mini@loop"
AGENTS = (
    Agent(name="looper", tier=LOOPS, tools=("list_files", "read_file")),
    Agent(name="talker", tier=WELL),
)
_PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}/*.rules]
scrape_configs:
  - {{job_name: curb-worker, static_configs: [{{targets: ["127.0.0.1:{worker}"]}}]}}
  - {{job_name: curb-gateway, static_configs: [{{targets: ["127.0.0.1:{door}"]}}]}}
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"
ELSEWHERE = {"up"}
"""What is told by Prometheus itself."""


class World:
    """Prometheus, and the curb that it scrapes."""

    def __init__(self, server: Server, factory: Factory, door: str) -> None:
        self.prometheus, self.factory, self.door = server, factory, door

    async def value(self, expression: str) -> float | None:
        """The only sample of an expression, None without one."""
        found = await self.prometheus.query(expression)
        return float(found[0]["value"][1]) if found else None

    async def until(self, expression: str) -> None:
        """Wait until there are samples of an expression."""
        await until(lambda: self.prometheus.query(expression), seconds=60)


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_prometheus") as url:
        yield url


@pytest.fixture(scope="module")
async def world(
    temporal: Client, redis_url: str, database: str, simulator: SimulatedProvider, tmp_path_factory: Any
) -> AsyncIterator[World]:
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()
    servers = Servers(redis_url, database)
    models = [name.removeprefix("openai/") for name in (WELL, BROKEN, LOOPS)]
    gateway = config(simulator.url, ("balanced", models))
    known = Config(gateway=gateway, agents={agent.name: agent for agent in AGENTS}, limits={})
    ports = {"worker": free_port(), "door": free_port()}
    directory: Path = tmp_path_factory.mktemp("prometheus")
    own = directory / "prometheus.yml"
    own.write_text(_PROMETHEUS.format(rules=directory, **ports))
    for path in RULES.glob("*.yml"):  # without their patience
        (directory / f"{path.stem}.rules").write_text(
            path.read_text().replace("interval: 2m", "interval: 1s")
        )
    stop, opened = asyncio.Event(), asyncio.get_running_loop().create_future()
    door = asyncio.create_task(
        serve_front_door(
            servers,
            Settings(metrics_port=ports["door"], shutdown_seconds=2),
            known,
            Place("127.0.0.1", 0, is_open=True),
            stop=stop,
            on_ready=opened.set_result,
        )
    )
    working = Settings(metrics_port=ports["worker"], shutdown_seconds=5)
    try:
        async with (
            serving(temporal, servers, gateway, AGENTS, settings=working, config=known) as factory,
            prometheus(own, directory / "data") as server,
        ):
            yield World(server, factory, await opened)
    finally:
        stop.set()
        await door


async def ask(world: World, model: str, **headers: str) -> int:
    """One call at the front door; its status."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 60}
    async with httpx.AsyncClient(base_url=world.door, timeout=30) as client:
        return (await client.post("/v1/chat/completions", json=body, headers=headers)).status_code


async def test_rules_see_what_a_real_curb_does(world: World) -> None:
    await world.until('up{job="curb-worker"} == 1 and on () up{job="curb-gateway"} == 1')
    await world.until("curb_http_requests_total")
    assert await ask(world, WELL, traceparent=f"00-{TRACE}-b7ad6b7169203331-01") == 200
    await world.until('llm_requests_total{status="success"} > 0')  # from here on, increases are seen
    assert [await ask(world, WELL) for _ in range(4)] == [200] * 4
    assert await ask(world, BROKEN) == 503
    result = await world.factory.run("looper")
    assert result.status == "stopped"

    await world.until("llm_throughput_requests_per_second > 0")
    await world.until("llm_model_efficiency_ratio > 0")
    await world.until("curb_http:own_errors:ratio5m > 0")
    await world.until('curb_spent_dollars{scope="global", period="month"} > 0')
    await world.until('ALERTS{alertname="LoopDetected", agent="looper", alertstate="firing"}')
    await world.until('ALERTS{alertname="CurbTells", alertstate="firing"}')
    assert (
        await world.prometheus.query('ALERTS{alertname=~"CurbDown|WatcherLate", alertstate="firing"}') == []
    )


async def test_a_slow_call_leads_to_its_trace(world: World) -> None:
    async def traces() -> set[str]:
        found = await world.prometheus.get(
            "query_exemplars",
            query="llm_request_duration_seconds_bucket",
            start="2020-01-01T00:00:00Z",
            end="2100-01-01T00:00:00Z",
        )
        return {each["labels"]["trace_id"] for series in found["data"] for each in series["exemplars"]}

    async def has_come() -> bool:
        return TRACE in await traces()

    await until(has_come)


async def test_every_rule_is_evaluated_without_an_error(world: World) -> None:
    async def evaluated() -> bool:
        rules = await self_told()
        return all(rule["health"] != "unknown" for rule in rules)

    async def self_told() -> list[Any]:
        groups = (await world.prometheus.get("rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    await until(evaluated, seconds=60)
    told = await self_told()
    assert len(told) == sum(1 for _ in rules_of_files())
    assert [(rule["name"], rule["lastError"]) for rule in told if rule["health"] != "ok"] == []


async def test_every_metric_that_rules_ask_for_is_one_that_curb_tells(world: World) -> None:
    targets = (await world.prometheus.get("targets/metadata"))["data"]
    told = {re.sub("_total$", "", each["metric"]) for each in targets} | ELSEWHERE
    recorded = {rule["record"] for rule in rules_of_files() if "record" in rule}
    asked = {name for rule in rules_of_files() for name in metrics_in(rule["expr"])} - recorded
    assert {re.sub("_(total|bucket|count)$", "", name) for name in asked} <= told


def rules_of_files() -> Iterator[dict[str, Any]]:
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def metrics_in(expression: str) -> set[str]:
    """Names of metrics in an expression: what begins like one, outside of labels and texts."""
    bare = re.sub(r"\{[^}]*\}|\"[^\"]*\"|\b(?:by|on|group_left)\s*\([^)]*\)", " ", expression)
    return set(re.findall(r"(?<![\w:])(?:llm_|curb_|agent_|up\b)[a-z0-9_:]*", bare))
