"""Health of a front door: told quickly whatever hangs, and never a secret in it."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from gateway.policy.health import Judgement, Standing
from gateway.state.authority import Authority
from gateway.store import Store
from tests.faults.gate import Gate
from tests.integration.admin import Admin, open_admin
from tests.integration.waiting import until
from tests.integration.world import World, config, open_world
from tests.simulated import SimulatedProvider
from worker.config import Config
from worker.health_checks import Check, Seen
from worker.wiring import Servers

LIVE, READY = ("/live", "/health/live", "/health/startup"), ("/ready", "/health/ready")


@pytest.fixture(scope="module")
async def world(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[World]:
    given = config(simulator.url, ("balanced", ["gpt-5-mini@say-20"]))
    async with open_world(given, Servers(redis_url, database), simulator) as opened:
        yield opened


@pytest.fixture(scope="module")
async def admin(world: World) -> AsyncIterator[Admin]:
    given = Config(gateway=world.parts.gateway.config, agents={}, limits={})
    async with open_admin(world.parts.store, world.parts.authority, given) as opened:
        yield opened


async def test_everything_is_well(admin: Admin) -> None:
    for path in (*LIVE, *READY):
        await admin.ask("GET", path, role="")
    for path in ("/health", "/api/v1/health"):
        found = await admin.ask("GET", path, role="")
        assert found["status"] == "healthy"
        assert {"timestamp", "version", "uptime"} <= set(found)
        database, provider = found["dependencies"]["database"], found["dependencies"]["provider:openai"]
        assert (database["status"], database["message"]) == ("healthy", "")
        assert database["latency"] > 0
        assert database["lastChecked"]
        assert (provider["status"], provider["latency"]) == ("unknown", None)
    alone = await admin.ask("GET", "/health/dependencies", role="")
    assert {"database", "redis", "provider:openai", "provider:anthropic"} == set(alone["dependencies"])


async def test_a_provider_is_as_its_last_probe_found_it(world: World, admin: Admin) -> None:
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    judged = Judgement(Standing("down", now), "503 five times")
    await world.parts.store.health.hold(("anthropic", ""), judged, slot=now, latency_ms=41)

    async def degraded() -> bool:
        found = await admin.ask("GET", "/health", role="")
        anthropic = found["dependencies"]["provider:anthropic"]
        return bool(found["status"] == "degraded" and anthropic["message"] == "503 five times")

    await until(degraded)
    await admin.ask("GET", "/ready", role="")


async def test_admission_that_is_closed_is_not_ready_but_alive(world: World, admin: Admin) -> None:
    async def not_ready() -> bool:
        await world.parts.authority.close_epoch("a test")
        return (await admin.raw("GET", "/ready", role="")).status_code == 503

    await until(not_ready)
    for path in LIVE:
        await admin.ask("GET", path, role="")

    async def ready() -> bool:
        return (await admin.raw("GET", "/ready", role="")).status_code == 200

    await until(ready)


@pytest.mark.parametrize("shut", ["redis", "database"])
async def test_a_server_that_hangs_holds_up_nobody(
    redis_url: str, database: str, world: World, shut: str
) -> None:
    """All of them ask at once, while nothing comes back from one server."""
    gates = {
        "redis": Gate(urlsplit(redis_url).netloc),
        "database": Gate(urlsplit(database).netloc.split("@")[1]),
    }
    for gate in gates.values():
        await gate.open()
    given = Config(gateway=world.parts.gateway.config, agents={}, limits={})
    through = database.replace(urlsplit(database).netloc, f"postgres@{gates['database'].address}")
    async with await Store.connect(through) as store:
        authority = await Authority.connect(
            f"redis://{gates['redis'].address}/0", process_id="health", config=given.gateway
        )
        try:
            async with open_admin(store, authority, given) as opened:
                await opened.ask("GET", "/health", role="")
                await gates[shut].shut()

                async def noticed() -> bool:
                    answers = await asyncio.wait_for(
                        asyncio.gather(*(opened.raw("GET", "/health", role="") for _ in range(20))), 20
                    )
                    live = await opened.ask("GET", "/live", role="")
                    assert live["status"] == "alive"
                    bad = [a.json()["dependencies"].get(shut, {}).get("status") for a in answers]
                    return bad == ["unhealthy"] * 20 and {a.status_code for a in answers} == {503}

                await until(noticed, seconds=40)
                await gates[shut].open()
                await until(lambda: _well(opened), seconds=40)
        finally:
            await authority.close()
            for gate in gates.values():
                await gate.close()


async def _well(admin: Admin) -> bool:
    return (await admin.raw("GET", "/health", role="")).status_code == 200


async def test_a_look_is_bounded_and_shared() -> None:
    looks = 0

    async def hang() -> Seen:
        nonlocal looks
        looks += 1
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")

    check = Check("slow", hang, seconds=0.05)
    found = await asyncio.gather(*(check.seen() for _ in range(50)))
    assert {each["slow"].status for each in found} == {"unhealthy"}
    assert "0.05 s" in found[0]["slow"].message
    assert looks == 1


async def test_metrics_are_told_on_the_same_port(admin: Admin) -> None:
    answer = await admin.raw("GET", "/metrics", role="")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    openmetrics = await admin.raw(
        "GET", "/metrics", role="", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")
