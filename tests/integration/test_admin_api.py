"""The admin API: costs, budgets, keys, switches, alerts and reports, over HTTP as anybody would ask."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis.asyncio as redis

from gateway.calls import Completion
from gateway.policy.money import decimal_usd
from tests.integration.admin import Admin, open_admin
from tests.integration.waiting import until
from tests.integration.world import World, call, config, open_world
from tests.simulated import SimulatedProvider
from worker.config import Config
from worker.wiring import Servers

PATHS = (
    "/api/v1/costs/summary", "/api/v1/costs/daily", "/api/v1/spend/agents", "/api/v1/spend/users",
    "/api/v1/usage/stats", "/api/v1/budgets", "/api/v1/budget/rules", "/api/v1/switches", "/api/v1/alerts",
    "/api/v1/silences", "/api/v1/reports", "/admin/spend/teams",
)  # fmt: skip


@pytest.fixture(scope="module")
async def world(redis_url: str, database: str, simulator: SimulatedProvider) -> AsyncIterator[World]:
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()  # the limits of another module's database are not these
    given = config(simulator.url, ("quick", ["gpt-5-mini@say-10"]), ("balanced", ["gpt-5-mini@say-20"]))
    async with open_world(given, Servers(redis_url, database), simulator) as opened:
        yield opened


@pytest.fixture(scope="module")
async def admin(world: World) -> AsyncIterator[Admin]:
    given = Config(gateway=world.parts.gateway.config, agents={}, limits={})
    async with open_admin(world.parts.store, world.parts.authority, given) as opened:
        yield opened


def today() -> str:
    return str(datetime.now(UTC).date())


async def bought(world: World, *keys: str, agent: str = "coder") -> int:
    """What these calls came to, in nano-dollars."""
    cost = 0
    for key in keys:
        outcome = await world.parts.gateway.complete(call(key, agent=agent))
        assert isinstance(outcome, Completion)
        cost += outcome.cost_nano_usd
    await world.ledger()
    return cost


# -- who may -------------------------------------------------------------------------------------


async def test_each_role_sees_what_it_may(admin: Admin) -> None:
    for path in PATHS:
        assert "role viewer" in await admin.refused("GET", path, role="call", status=403)
        for role in ("viewer", "operator", "admin"):
            await admin.ask("GET", path, role=role)


async def test_without_a_key_nothing_is_told(admin: Admin) -> None:
    for path in (*PATHS, "/api/v1/keys", "/v1/runs"):
        assert "wants a key" in await admin.refused("GET", path, role="", status=401)


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("PUT", "/api/v1/switches/kill:agent:x", "operator"),
        ("DELETE", "/api/v1/switches/kill:agent:x", "operator"),
        ("POST", "/v1/runs/r-1/kill", "operator"),
        ("POST", "/api/v1/alerts/x/ack", "operator"),
        ("POST", "/api/v1/alerts/alertmanager", "operator"),
        ("GET", "/api/v1/keys", "admin"),
        ("POST", "/api/v1/keys/x/revoke", "admin"),
        ("POST", "/api/v1/teams/x/freeze", "admin"),
        ("DELETE", "/api/v1/budget/rules/x", "admin"),
    ],
)
async def test_what_changes_something_needs_a_higher_role(
    admin: Admin, method: str, path: str, needs: str
) -> None:
    lower = {"operator": "viewer", "admin": "operator"}[needs]
    assert f"role {needs}" in await admin.refused(method, path, role=lower, status=403)


async def test_the_developer_is_let_in_and_no_page_of_another_site(world: World, admin: Admin) -> None:
    from worker.front_door import _OpenKeys

    given = Config(gateway=world.parts.gateway.config, agents={}, limits={})
    async with open_admin(world.parts.store, world.parts.authority, given, is_open=True) as opened:
        object.__setattr__(opened.office, "keys", _OpenKeys(opened.office.keys))  # type: ignore[arg-type]
        await opened.ask("GET", "/api/v1/keys", role="")
        for header in (
            {"origin": "http://evil.example"},
            {"sec-fetch-site": "cross-site"},
            {"host": "rebound.example"},
        ):
            said = await opened.refused("GET", "/api/v1/keys", role="", status=403, headers=header)
            assert "other sites" in said
            await opened.ask("GET", "/api/v1/keys", headers=header)


# -- costs ---------------------------------------------------------------------------------------


async def test_costs_are_the_ledgers(world: World, admin: Admin) -> None:
    await bought(world, "api-1", "api-2", agent="adder")
    ledger = decimal_usd(await world.ledger())

    async def seen() -> bool:
        return bool((await admin.ask("GET", "/api/v1/costs/summary"))["total_usd"] == ledger)

    await until(seen)
    summary = await admin.ask("GET", f"/api/v1/costs/summary?start_date={today()}&end_date={today()}")
    assert (summary["total_usd"], summary["sums"]["cost_usd"]) == (ledger, ledger)
    for path in (
        "costs/hourly",
        "costs/daily",
        "costs/monthly",
        "spend/agents",
        "spend/models",
        "spend/teams",
    ):
        spend = await admin.ask("GET", f"/api/v1/{path}")
        assert spend["total_usd"] == ledger, path
        assert sum(row["attempts"] for row in spend["rows"]) == summary["attempts"], path
    agents = {row["name"]: row for row in (await admin.ask("GET", "/api/v1/spend/agents"))["rows"]}
    assert agents["adder"]["attempts"] == 2
    assert (await admin.ask("GET", "/admin/spend/teams")) == (await admin.ask("GET", "/api/v1/spend/teams"))


async def test_a_user_is_summed_up_alone(world: World, admin: Admin) -> None:
    assert (await admin.ask("GET", "/api/v1/costs/summary?user_id=nobody-at-all"))["total_usd"] == "0"
    users = await admin.ask("GET", "/api/v1/spend/users")
    mine = await admin.ask("GET", "/api/v1/costs/summary?user_id=")
    assert mine["total_usd"] == next(row["cost_usd"] for row in users["rows"] if row["name"] == "")


async def test_statistics_say_how_well_and_how_fast(world: World, admin: Admin) -> None:
    await bought(world, "api-3")
    stats = await admin.ask("GET", "/api/v1/usage/stats")

    assert stats["success_rate"] == 1.0
    assert 0 < stats["p50_ms"] <= stats["p95_ms"] <= stats["p99_ms"]
    assert {row["model"] for row in stats["models"]} == {"openai/gpt-5-mini@say-20"}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("start_date=2026-02-30", "start_date: write a date like"),
        ("start_date=tomorrow", "start_date"),
        ("start_date=2026-03-02&end_date=2026-03-01", "is after"),
        ("end_date=0000-01-01", "end_date"),
    ],
)
async def test_dates_that_are_none_are_named(admin: Admin, query: str, says: str) -> None:
    assert says in await admin.refused("GET", f"/api/v1/costs/summary?{query}", status=422)


# -- budgets -------------------------------------------------------------------------------------


async def test_a_rule_is_in_force_when_it_is_answered(world: World, admin: Admin) -> None:
    made = await admin.ask(
        "POST", "/api/v1/budget/rules",
        {"scope": "agent:capped", "period": "day", "limit_usd": "0.000001"}, status=201,
    )  # fmt: skip
    assert made["name"] == "agent:capped/day"

    outcome = await world.parts.gateway.complete(call("capped-1", agent="capped"))
    assert not isinstance(outcome, Completion)

    path = "/api/v1/budget/rules/agent:capped/day"
    got = await admin.raw("GET", path)
    assert got.headers["etag"] == f'"{made["version"]}"'
    changed = await admin.ask("PUT", path, {"limit_usd": "5"}, headers={"if-match": got.headers["etag"]})
    assert (changed["limit_usd"], changed["version"] > made["version"]) == ("5", True)
    assert await bought(world, "capped-2", agent="capped")
    seen = await admin.ask("GET", "/api/v1/budgets?scope=agent:capped")
    [counter] = [each for each in seen["budgets"] if each["period"] == "day"]
    assert (counter["limit_usd"], counter["held_usd"]) == ("5", "0")


async def test_nobodys_change_of_a_rule_is_lost(admin: Admin) -> None:
    path = "/api/v1/budget/rules/locked"
    made = await admin.ask(
        "POST", "/api/v1/budget/rules", {"name": "locked", "scope": "team:x", "limit_usd": "9"}, status=201
    )
    first = {"if-match": f'"{made["version"]}"'}

    assert "If-Match" in await admin.refused("PUT", path, {"limit_usd": "1"}, status=428)
    assert "If-Match" in await admin.refused("DELETE", path, status=428)
    answers = await asyncio.gather(
        *(admin.raw("PUT", path, {"limit_usd": str(n)}, headers=first) for n in range(1, 6))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert "has changed since" in await admin.refused("DELETE", path, status=409, headers=first)
    now = (await admin.raw("GET", path)).headers["etag"]
    await admin.ask("DELETE", path, status=204, headers={"if-match": now})
    await admin.refused("GET", path, status=404)


async def test_two_rules_about_the_same_are_a_conflict(admin: Admin) -> None:
    rule = {"scope": "user:ann", "period": "month", "limit_usd": "3"}
    await admin.ask("POST", "/api/v1/budget/rules", rule, status=201)
    assert "already" in await admin.refused("POST", "/api/v1/budget/rules", rule, status=409)
    assert "already" in await admin.refused(
        "POST", "/api/v1/budget/rules", {**rule, "name": "other"}, status=409
    )


async def test_a_rule_of_the_file_is_changed_in_the_file(world: World, admin: Admin) -> None:
    await world.limit(agent__filed=1_000_000_000)
    got = await admin.raw("GET", "/api/v1/budget/rules/agent:filed/day")
    said = await admin.refused(
        "PUT", "/api/v1/budget/rules/agent:filed/day", {"limit_usd": "2"}, status=409,
        headers={"if-match": got.headers["etag"]},
    )  # fmt: skip
    assert "curb.yaml" in said


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ({"scope": "planet:mars", "limit_usd": "1"}, "scope"),
        ({"scope": "agent:x", "limit_usd": "-1"}, "limit_usd"),
        ({"scope": "agent:x", "limit_usd": 1.5}, "limit_usd"),
        ({"scope": "agent:x", "limit_usd": "1", "period": "year"}, "period"),
        ({"scope": "agent:x", "limit_usd": "1", "colour": "red"}, "colour"),
        ({"limit_usd": "1"}, "scope"),
    ],
)
async def test_a_rule_that_cannot_be_is_refused_by_its_field(
    admin: Admin, rule: dict[str, Any], names: str
) -> None:
    answer = await admin.ask("POST", "/api/v1/budget/rules", rule, status=422)
    assert names in answer["error"]["message"]


# -- keys ----------------------------------------------------------------------------------------


async def test_a_key_lives_and_ends(world: World, admin: Admin) -> None:
    given = {"name": "app", "agent": "shop", "team": "sales", "tiers": ["quick"], "daily_usd": "2.5"}
    made = await admin.ask("POST", "/api/v1/keys", given, status=201)
    assert made["token"].startswith("curb_")
    assert (made["daily_usd"], made["tiers"], made["roles"]) == ("2.5", ["quick"], ["call"])

    path = f"/api/v1/keys/{made['id']}"
    assert (await admin.ask("POST", f"{path}/freeze", {"reason": "odd"}))["state"] == "frozen"
    assert (await admin.ask("POST", f"{path}/unfreeze"))["state"] == "active"
    rotated = await admin.ask("POST", f"{path}/rotate", {"overlap_seconds": 0})
    assert rotated["token"] != made["token"]
    assert (await admin.ask("POST", "/api/v1/teams/sales/freeze"))["keys"] == [made["id"]]
    assert (await admin.ask("POST", "/api/v1/teams/sales/unfreeze"))["keys"] == [made["id"]]
    assert (await admin.ask("POST", f"{path}/revoke"))["state"] == "revoked"
    shown = await admin.raw("GET", "/admin/api_keys?revoked=true")
    assert made["token"] not in shown.text
    assert made["id"] in {key["id"] for key in shown.json()["keys"]}
    assert made["id"] not in {key["id"] for key in (await admin.ask("GET", "/api/v1/keys"))["keys"]}


async def test_a_key_for_what_is_not_there_is_refused(admin: Admin) -> None:
    said = await admin.refused("POST", "/api/v1/keys", {"name": "bad", "tiers": ["quik"]}, status=422)
    assert "quick" in said
    await admin.refused("GET", "/api/v1/keys/k-none", status=404)


# -- switches ------------------------------------------------------------------------------------


async def test_a_switch_stops_and_lets_go_on(world: World, admin: Admin) -> None:
    await admin.ask("PUT", "/api/v1/switches/kill:agent:wild", {"reason": "runs wild"}, role="operator")
    outcome = await world.parts.gateway.complete(call("wild-1", agent="wild"))
    assert not isinstance(outcome, Completion)

    done = await admin.ask("DELETE", "/api/v1/switches/kill:agent:wild", role="operator")
    assert done["done"] == "lifted"
    assert await bought(world, "wild-2", agent="wild")
    again = await admin.ask("DELETE", "/api/v1/switches/kill:agent:wild", role="operator")
    assert again["done"] == "was_not_set"


async def test_switches_that_are_set_are_listed_with_their_end(admin: Admin) -> None:
    name = "kill:provider:openai"
    await admin.ask("PUT", f"/api/v1/switches/{name}", {"expires_seconds": 600})
    try:
        [found] = [
            each for each in (await admin.ask("GET", "/api/v1/switches"))["switches"] if each["name"] == name
        ]
        assert found["value"].endswith(":by_hand")
    finally:
        await admin.ask("DELETE", f"/api/v1/switches/{name}")
    assert "kill:agent:NAME" in await admin.refused("PUT", "/api/v1/switches/stop:all", status=422)


# -- alerts and reports --------------------------------------------------------------------------


async def test_silences_are_made_and_ended(admin: Admin) -> None:
    made = await admin.ask(
        "POST", "/api/v1/silences", {"rule": "velocity_*", "seconds": 60, "reason": "a test"}, status=201
    )
    listed = await admin.ask("GET", "/api/v1/silences")
    assert made["silence"] in listed["silences"]
    await admin.ask("DELETE", f"/api/v1/silences/{made['silence']['id']}")
    assert not (await admin.ask("GET", "/api/v1/silences"))["silences"]
    assert "say what" in await admin.refused("POST", "/api/v1/silences", {"seconds": 5}, status=422)
    assert "no such rule" in await admin.refused(
        "POST", "/api/v1/silences", {"rule": "velosity", "seconds": 5}, status=422
    )


async def test_an_alert_that_is_not_there_cannot_be_acknowledged(admin: Admin) -> None:
    assert "no alert" in await admin.refused("POST", "/api/v1/alerts/zzz/ack", status=404)


@pytest.mark.parametrize(("format", "media"), [("json", "application/json"), ("html", "text/html")])
async def test_the_running_day_is_reported_as_far_as_it_has_come(
    world: World, admin: Admin, format: str, media: str
) -> None:
    await bought(world, f"reported-{format}")
    answer = await admin.raw("GET", f"/api/v1/reports/daily/{today()}?format={format}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(media)
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_a_report_of_no_day_is_refused(admin: Admin) -> None:
    await admin.refused("GET", "/api/v1/reports/daily/2026-02-30", status=422)
    await admin.refused("GET", "/api/v1/reports/daily/8000-01-01", status=404)
    await admin.refused("GET", "/api/v1/reports/daily/1999-01-01", status=404)


# -- the whole -----------------------------------------------------------------------------------


async def test_without_temporal_runs_say_so(admin: Admin) -> None:
    assert "CURB_TEMPORAL_ADDRESS" in await admin.refused("GET", "/v1/runs", status=503)


async def test_paths_that_are_none_and_bodies_that_are_too_large_have_the_same_form(admin: Admin) -> None:
    assert "nothing is here" in await admin.refused("GET", "/api/v1/nothing", status=404)
    await admin.refused("PATCH", "/api/v1/keys", status=405)
    await admin.refused("POST", "/api/v1/keys", {"name": "x" * 3_000_000}, status=413)


async def test_what_is_done_is_in_the_audit(world: World, admin: Admin) -> None:
    await admin.ask("PUT", "/api/v1/switches/kill:agent:audited", {"expires_seconds": 1})
    rows = await world.parts.store.events.audit_log(limit=50)
    assert any(row.action == "switch_set" and row.target == "kill:agent:audited" for row in rows)
