"""Providers are watched: an outage switches one off, good probes switch it on, people's switches stay."""

import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
import redis.asyncio as redis
from aiohttp import web
from temporalio.client import Client

from activities.health import Judged
from gateway.calls import Completion
from gateway.config import GatewayConfig, Provider
from gateway.drainer import Drainer
from gateway.health import OWN_VALUE, PROBE_AGENT, Watch
from gateway.policy.health import HealthPlan
from gateway.policy.money import NanoUsd
from gateway.providers.errors import ProviderError
from tests.integration.runs import serving
from tests.integration.world import World, call, config, open_world
from tests.simulated import SimulatedProvider
from worker.config import Config
from worker.wiring import Servers
from workflows.queues import SUPERVISION
from workflows.scheduled import Scheduled

SLOT = timedelta(seconds=30)
FIRST = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 30 * 30, UTC)
PLAN = HealthPlan({"openai": "models", "anthropic": "models"}, timeout_seconds=2, tries=1, pause_seconds=0.01)
ANTHROPIC = "kill:provider:anthropic"
_KEYS = itertools.count()


@dataclass
class Moody:
    """A provider that answers with these statuses, one after the other, and then well."""

    url: str = ""
    moods: list[int] = field(default_factory=list)

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": []}, status=self.moods.pop(0) if self.moods else 200)


@pytest.fixture(scope="module")
async def moody() -> AsyncIterator[Moody]:
    provider = Moody()
    app = web.Application()
    app.router.add_get("/models", provider.models)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield provider
    await runner.cleanup()


@pytest.fixture(scope="module")
async def world(
    redis_url: str, database: str, simulator: SimulatedProvider, moody: Moody
) -> AsyncIterator[World]:
    async with redis.from_url(redis_url) as client:
        await client.flushdb()
    models = watched(simulator)
    more = {
        "moody": Provider("moody", "openai", moody.url),
        "keyless": Provider("keyless", "openai", "https://127.0.0.1:1/v1", "CURB_TEST_NO_SUCH_KEY"),
    }
    models = replace(models, providers=models.providers | more)
    async with open_world(models, Servers(redis_url, database), simulator) as world:
        yield world


@pytest.fixture
async def servers(redis_url: str, database: str, world: World) -> Servers:
    """As if nothing had happened: nothing is known, nothing is switched."""
    for name in await world.parts.authority.known_switches():
        await world.parts.authority.clear_switch(name)
    await world.ledger()
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute("TRUNCATE probes, provider_health, events, attempts, http_answers")
    return Servers(redis_url, database)


@pytest.fixture
async def outages(simulator: SimulatedProvider) -> AsyncIterator[httpx.AsyncClient]:
    """`await outages.put("/anthropic", json={"mode": "down"})`; all is well again afterwards."""
    async with httpx.AsyncClient(base_url=f"{simulator.url}/outages", timeout=10) as client:
        yield client
        for family in ("openai", "anthropic"):
            await client.delete(f"/{family}")


def watched(simulator: SimulatedProvider) -> GatewayConfig:
    broken = [
        "gpt-5-mini@500",
        "gpt-5-mini@503",
        "gpt-5-mini@429",
        "gpt-5-mini@429-1",
        "gpt-5-mini@context-length",
    ]
    return config(
        simulator.url,
        ("quick", ["gpt-5-mini@say"]),
        ("balanced", ["claude-sonnet-4-5@say", "gpt-5-mini@say"]),
        ("broken", broken),
    )


@dataclass
class Scene:
    """A world whose slots pass as the test says."""

    world: World
    plan: HealthPlan = PLAN
    slots: int = 0

    async def pass_slot(self, **plan: object) -> dict[str, str]:
        """Look and judge in the next slot; the status of each provider."""
        self.slots += 1
        return await self.again(**plan)

    async def again(self, **plan: object) -> dict[str, str]:
        """The same slot once more, as another process would do it."""
        watch = Watch(self.world.parts.gateway, replace(self.plan, **plan))  # type: ignore[arg-type]
        slot = FIRST + self.slots * SLOT
        await watch.probe(slot)
        held = await watch.judge(slot)
        return {each.provider: each.status for each in held if not each.deployment}

    async def switch(self, name: str = ANTHROPIC) -> str:
        return (await self.world.parts.authority.read_switches([name])).get(name, "")

    async def told(self) -> Sequence[tuple[str, str]]:
        """Scope and state of the alerts, oldest first."""
        alerts = await self.world.parts.store.events.alerts(rule="provider_down")
        return [(alert.scope, alert.state) for alert in alerts][::-1]

    async def buy(self, tier: str = "balanced", times: int = 1) -> list[object]:
        gateway = self.world.parts.gateway
        outcomes: list[object] = [
            await gateway.complete(call(f"http:health:{next(_KEYS)}", tier)) for _ in range(times)
        ]
        assert await Drainer(self.world.parts.authority, self.world.parts.store, "t").drain_all(
            within_seconds=10
        )
        return outcomes


@pytest.fixture
async def scene(servers: Servers, world: World) -> Scene:
    return Scene(world)


async def test_providers_that_answer_are_up_and_their_latency_is_kept(scene: Scene) -> None:
    assert await scene.pass_slot() == {"openai": "up", "anthropic": "up"}

    held = {each.provider: each for each in await scene.world.parts.store.health.latest()}
    assert held["openai"].checked_at == held["openai"].since == FIRST + SLOT
    assert 0 <= held["openai"].latency_ms < 2_000
    assert await scene.told() == []


async def test_an_outage_switches_a_provider_off_and_calls_take_the_next_deployment(
    scene: Scene, outages: httpx.AsyncClient, servers: Servers
) -> None:
    await scene.pass_slot()
    await outages.put("/anthropic", json={"mode": "down"})

    assert await scene.pass_slot() == {"openai": "up", "anthropic": "down"}

    assert (await scene.switch()).startswith(OWN_VALUE)
    async with redis.from_url(servers.redis_url) as client:
        assert 0 < await client.pttl(ANTHROPIC) <= PLAN.switch_seconds * 1000
    assert await scene.told() == [("provider:anthropic", "firing")]
    [alert] = await scene.world.parts.store.events.alerts(rule="provider_down")
    assert alert.evidence["reason"] == "probes fail: answered 503"
    await scene.buy()
    tried = await scene.world.parts.store.attempts.recent()
    assert {row["provider"] for row in tried} == {"openai"}


async def test_good_probes_in_a_row_switch_it_on_again(scene: Scene, outages: httpx.AsyncClient) -> None:
    await outages.put("/anthropic", json={"mode": "refuse"})
    await scene.pass_slot()
    await outages.delete("/anthropic")

    seen = [(await scene.pass_slot())["anthropic"] for _ in range(3)]

    assert seen == ["down", "down", "up"]
    assert await scene.switch() == ""
    assert await scene.told() == [("provider:anthropic", "firing"), ("provider:anthropic", "resolved")]
    [answer] = await scene.buy()
    assert isinstance(answer, Completion)
    assert answer.deployment.startswith("anthropic/")


async def test_a_slot_done_twice_is_done_once(scene: Scene, outages: httpx.AsyncClient) -> None:
    await outages.put("/anthropic", json={"mode": "down"})
    await scene.pass_slot()
    await outages.delete("/anthropic")

    assert (await scene.again())["anthropic"] == "down"

    assert await scene.told() == [("provider:anthropic", "firing")]


async def test_a_process_that_dies_between_the_switch_and_its_record_is_finished_by_another(
    scene: Scene, outages: httpx.AsyncClient, servers: Servers
) -> None:
    await outages.put("/anthropic", json={"mode": "down"})
    await scene.pass_slot()
    value = await scene.switch()
    async with await psycopg.AsyncConnection.connect(servers.database_url, autocommit=True) as connection:
        await connection.execute("DELETE FROM provider_health")  # what it had not written yet

    assert (await scene.again())["anthropic"] == "down"

    assert await scene.switch() == value
    assert await scene.told() == [("provider:anthropic", "firing")]


async def test_a_switch_that_was_left_behind_is_lifted(scene: Scene) -> None:
    await scene.world.parts.authority.set_switch(ANTHROPIC, f"{OWN_VALUE}down since long ago")

    await scene.pass_slot()

    assert await scene.switch() == ""


@pytest.mark.parametrize("set_before", [True, False])
async def test_a_switch_set_by_hand_is_never_touched(
    scene: Scene, outages: httpx.AsyncClient, set_before: bool
) -> None:
    await outages.put("/anthropic", json={"mode": "down"})
    if not set_before:
        await scene.pass_slot()
    await scene.world.parts.authority.set_switch(ANTHROPIC, "manual:adam:maintenance")

    await scene.pass_slot()
    await outages.delete("/anthropic")
    for _ in range(4):
        await scene.pass_slot()

    assert await scene.switch() == "manual:adam:maintenance"
    assert (await scene.told())[-1] == ("provider:anthropic", "resolved")


async def test_the_switch_is_prolonged_while_the_outage_lasts(
    scene: Scene, outages: httpx.AsyncClient, servers: Servers
) -> None:
    await outages.put("/anthropic", json={"mode": "down"})
    await scene.pass_slot(switch_seconds=60)
    value = await scene.switch()

    await scene.pass_slot(switch_seconds=600)

    async with redis.from_url(servers.redis_url) as client:
        assert await client.pttl(ANTHROPIC) > 60_000
    assert await scene.switch() == value


async def test_a_switch_that_changed_meanwhile_is_not_prolonged(scene: Scene, servers: Servers) -> None:
    authority = scene.world.parts.authority
    await authority.set_switch(ANTHROPIC, "manual:adam:maintenance")

    assert not await authority.prolong_switch(ANTHROPIC, f"{OWN_VALUE}down since noon", 60_000)

    assert await scene.switch() == "manual:adam:maintenance"
    async with redis.from_url(servers.redis_url) as client:
        assert await client.pttl(ANTHROPIC) == -1


async def test_without_switch_off_an_outage_is_only_told(scene: Scene, outages: httpx.AsyncClient) -> None:
    await outages.put("/anthropic", json={"mode": "down"})

    assert (await scene.pass_slot(switch_off=False))["anthropic"] == "down"

    assert await scene.switch() == ""
    assert await scene.told() == [("provider:anthropic", "firing")]


async def test_one_provider_that_hangs_keeps_nobody_from_judging_the_others(
    scene: Scene, outages: httpx.AsyncClient
) -> None:
    await outages.put("/openai", json={"mode": "hang"})

    assert await scene.pass_slot(timeout_seconds=0.2) == {"openai": "down", "anthropic": "up"}

    [alert] = await scene.world.parts.store.events.alerts(rule="provider_down")
    assert alert.evidence["reason"] == "probes fail: no answer within 0.2 s"


async def test_trouble_shorter_than_the_tries_is_no_outage(scene: Scene, moody: Moody) -> None:
    moody.moods = [503, 503]

    assert await scene.pass_slot(providers={"moody": "models"}, tries=3) == {"moody": "degraded"}

    [held] = await scene.world.parts.store.health.latest()
    assert held.reason == "answered after another try: answered 503"
    assert await scene.pass_slot(providers={"moody": "models"}) == {"moody": "up"}


@pytest.mark.parametrize(("status", "said"), [(401, "answered 401"), (404, "lists no models"), (429, "429")])
async def test_a_provider_that_answers_and_refuses_us_is_degraded(
    scene: Scene, moody: Moody, status: int, said: str
) -> None:
    moody.moods = [status]

    assert await scene.pass_slot(providers={"moody": "models"}) == {"moody": "degraded"}

    [held] = await scene.world.parts.store.health.latest()
    assert said in held.reason
    assert await scene.told() == []


async def test_calls_that_fail_by_the_providers_fault_are_an_outage_though_its_list_answers(
    scene: Scene,
) -> None:
    await scene.buy("openai/gpt-5-mini@500", times=6)
    assert (await scene.pass_slot())["openai"] == "down"

    [alert] = await scene.world.parts.store.events.alerts(rule="provider_down")
    assert "calls failed" in alert.evidence["reason"]
    assert (await scene.switch("kill:provider:openai")).startswith(OWN_VALUE)


async def test_requests_that_are_refused_are_no_outage(scene: Scene) -> None:
    for _ in range(3):
        await scene.buy("openai/gpt-5-mini@429")
        with pytest.raises(ProviderError):
            await scene.buy("openai/gpt-5-mini@context-length")

    assert (await scene.pass_slot())["openai"] == "up"


async def test_a_provider_without_a_key_is_unknown_and_never_down(scene: Scene) -> None:
    assert (await scene.pass_slot(providers={"keyless": "models"})) == {"keyless": "unknown"}
    assert await scene.told() == []


async def test_a_probe_that_calls_is_on_the_ledger_under_its_own_name(scene: Scene) -> None:
    providers = {"openai": "call", "anthropic": "off"}
    billed, booked = scene.world.invoice(), await scene.world.ledger()

    statuses = await scene.pass_slot(providers=providers, deployments=("anthropic/claude-sonnet-4-5@say",))

    assert statuses == {"openai": "up", "anthropic": "unknown"}
    assert await scene.world.ledger() - booked == scene.world.invoice() - billed > 0
    [spend, *others] = await scene.world.parts.store.attempts.spend("agent")
    assert (spend.name, spend.attempts, others) == (PROBE_AGENT, 2, [])
    held = {each.deployment: each.status for each in await scene.world.parts.store.health.latest()}
    assert held["anthropic/claude-sonnet-4-5@say"] == "up"


async def test_a_probe_over_its_budget_or_of_a_provider_switched_off_asks_for_the_models(
    scene: Scene, servers: Servers
) -> None:
    calls = {"openai": "call", "anthropic": "call"}
    await scene.world.parts.authority.set_switch(ANTHROPIC, "manual:adam:maintenance")

    assert await scene.pass_slot(providers=calls, call_budget_nano_usd=NanoUsd(1)) == {
        "openai": "up",
        "anthropic": "up",
    }

    async with await psycopg.AsyncConnection.connect(servers.database_url) as connection:
        kinds = await (await connection.execute("SELECT DISTINCT kind FROM probes")).fetchall()
    assert kinds == [("models",)]


async def test_a_deployment_may_be_down_where_its_provider_is_not(scene: Scene) -> None:
    """The list is what the provider's own probe asks for; the deployment has a probe that buys."""
    deployments = ("openai/gpt-5-mini@503", "openai/gpt-5-mini@429-1")
    await scene.pass_slot(deployments=deployments)

    held = {each.deployment: each for each in await scene.world.parts.store.health.latest()}

    assert held["openai/gpt-5-mini@503"].status == "down"
    assert "answered 503" in held["openai/gpt-5-mini@503"].reason
    assert held["openai/gpt-5-mini@429-1"].status == "degraded"
    assert await scene.told() == []  # a deployment's trouble takes no provider away


def house(simulator: SimulatedProvider, **plan: object) -> Config:
    agents_too = watched(simulator)
    return Config(agents_too, {}, {}, health=replace(PLAN, **plan))  # type: ignore[arg-type]


async def run(client: Client, at: datetime, name: str) -> Judged:
    result: Judged = await client.execute_workflow(
        "ProviderHealth",
        Scheduled(at=at.isoformat()),
        id=name,
        task_queue=SUPERVISION,
        result_type=Judged,
    )
    return result


async def test_the_workflow_looks_once_per_slot_and_leaves_the_past_alone(
    temporal: Client, servers: Servers, simulator: SimulatedProvider, outages: httpx.AsyncClient
) -> None:
    await outages.put("/anthropic", json={"mode": "down"})
    settings = house(simulator)
    async with serving(temporal, servers, settings.gateway, [], config=settings) as factory:
        first = await run(temporal, FIRST + timedelta(seconds=1), "health-1")
        await outages.delete("/anthropic")
        again = await run(temporal, FIRST + timedelta(seconds=29), "health-2")
        past = await run(temporal, FIRST - timedelta(hours=1), "health-3")
        told = await factory.store.events.alerts(rule="provider_down")

    assert (first.probed, first.up, first.down) == (2, ("openai",), ("anthropic",))
    assert (again.probed, again.down) == (0, ("anthropic",))
    assert (past.skipped, len(told)) == (True, 1)


async def test_a_worker_that_goes_in_the_middle_of_a_look_is_replaced(
    temporal: Client, servers: Servers, simulator: SimulatedProvider, outages: httpx.AsyncClient
) -> None:
    await outages.put("/openai", json={"mode": "hang"})
    settings = house(simulator, timeout_seconds=30)
    options = {"config": settings, "shutdown_seconds": 0.1}
    async with serving(temporal, servers, settings.gateway, [], **options):  # type: ignore[arg-type]
        handle = await temporal.start_workflow(
            "ProviderHealth",
            Scheduled(at=FIRST.isoformat()),
            id="health-restart",
            task_queue=SUPERVISION,
            result_type=Judged,
        )
        async with httpx.AsyncClient() as client:  # until the look is under way
            while not (await handle.describe()).raw_description.pending_activities:
                await client.get(f"{simulator.url}/health")
    await outages.delete("/openai")

    async with serving(temporal, servers, settings.gateway, [], **options) as factory:  # type: ignore[arg-type]
        judged = await handle.result()
        held = await factory.store.health.latest()

    assert set(judged.up) == {"openai", "anthropic"}
    assert {each.checked_at for each in held} == {FIRST}
