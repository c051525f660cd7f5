"""The table of alerts (REQUIREMENTS 9): each row fires where it happens, and reaches whom it should.

A chat, a pager and mail as they are without any routes; money is spent and agents run for real where
the hot path raises the alert, and events are as their other sources write them where they do not.
"""

import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis.asyncio
from temporalio.client import Client

from gateway.agents import Agent
from gateway.policy.money import usd
from gateway.policy.periods import windows
from gateway.policy.scopes import BudgetLine, Period, Scope, ScopeKind
from gateway.state.authority import Reservation
from tests.integration.books import Books
from tests.integration.mail import MailServer, mail_server
from tests.integration.receivers import Receiver, receiver
from tests.integration.runs import Factory, eventually, serving
from tests.integration.world import config as world_config
from tests.simulated import SimulatedProvider
from worker.config import parse_config
from worker.wiring import Servers

_LOOPS, _GROWS = "gpt-5-mini@loop", "gpt-5-mini@grow"


@dataclass
class House:
    """A worker with the channels that most houses have."""

    factory: Factory
    chat: Receiver
    pager: Receiver
    mail: MailServer
    redis: "redis.asyncio.Redis"

    async def spend(self, agent: str, dollars: str, team: str = "") -> None:
        """Buy something for so much, as an agent (of a team)."""
        books = Books(self.factory.authority, self.factory.store, self.redis, "curb:", agent)
        ask = books.ask(f"c-{secrets.token_hex(6)}", usd(dollars), run_id=f"r-{agent}")
        now_ms = time.time_ns() // 1_000_000
        scope = Scope(ScopeKind.TEAM, team or agent)
        line = BudgetLine(scope, Period.DAY, windows(Period.DAY, now_ms, ZoneInfo("UTC")))
        held = await self.factory.authority.admit(replace(ask, lines=(ask.lines[0], line)))
        assert isinstance(held, Reservation), held
        await books.settle(held, usd(dollars))

    async def limit(self, scope: str, dollars: str) -> None:
        amounts = {(scope, Period.DAY): usd(dollars)}
        policy = await self.factory.store.budgets.apply_policy(amounts, source=scope, applied_by="test")
        await self.factory.authority.apply_limits(policy, amounts)

    async def told(self, place: str, words: str) -> str:
        """Wait until a message with these words has come to a place; its first line."""
        found: list[str] = []

        async def there() -> bool:
            found[:] = [each for each in self.heard(place) if words in each]
            return bool(found)

        await eventually(there)
        return found[0]

    def heard(self, place: str) -> list[str]:
        match place:
            case "chat":
                return [each.json["title"] for each in self.chat.requests if each.json["kind"] == "firing"]
            case "pager":
                return [
                    each.json["payload"]["summary"] for each in self.pager.requests if "payload" in each.json
                ]
            case _:
                return [str(each.mail["Subject"]) for each in self.mail.taken]


@pytest.fixture(scope="module")
async def house(
    temporal: Client,
    redis_url: str,
    database: str,
    simulator: SimulatedProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[House]:
    places = tmp_path_factory.mktemp("secrets")
    client = redis.asyncio.Redis.from_url(redis_url, decode_responses=True)
    async with receiver() as chat, receiver() as pager, mail_server() as mail:
        (places / "pager").write_text("k" * 32)
        (places / "smtp").write_text(mail.url(options="?tls=off"))
        text = f"""
        alerts:
          channels:
            chat: {{type: webhook, url: "{chat.url}"}}
            pager: {{type: pagerduty, key_file: "{places / "pager"}", url: "{pager.url}/v2/enqueue"}}
            mail: {{type: email, to: ops@example.org, from: curb@example.org, smtp_file: "{places / "smtp"}"}}
        """
        gateway = world_config(simulator.url, ("balanced", (_LOOPS, _GROWS)))
        agents = _agents(tmp_path_factory.mktemp("root"))
        config = replace(parse_config(text), gateway=gateway, agents={each.name: each for each in agents})
        async with serving(
            temporal, Servers(redis_url, database), gateway, agents, supervise=True, config=config
        ) as factory:
            yield House(factory, chat, pager, mail, client)
    await client.aclose()


def _agents(root: Path) -> list[Agent]:
    values: dict[str, Any] = {
        "instructions": "Work.",
        "tools": ("list_files", "read_file"),
        "root": str(root),
    }
    return [
        Agent(name="looper", tier=f"openai/{_LOOPS}", **values),
        Agent(name="grower", tier=f"openai/{_GROWS}", max_output_tokens=150_000, **values),
    ]


def an_agent() -> str:
    return f"buyer-{secrets.token_hex(3)}"


async def test_a_cost_velocity_spike_goes_to_the_chat(house: House) -> None:
    agent = an_agent()
    await house.spend(agent, "6.203144")

    assert await house.told("chat", agent) == f"{agent} spent $6.20 in 5 minutes"
    assert not [each for each in house.heard("pager") if agent in each]


async def test_a_critical_cost_velocity_kills_the_agent_and_pages_once(house: House) -> None:
    agent = an_agent()
    await house.spend(agent, "16")

    assert await house.told("pager", agent) == f"{agent} spent $16.00 in 5 minutes and is paused"
    assert await house.factory.authority.clear_switch(f"kill:agent:{agent}")

    async def lifted() -> bool:
        open_ = await house.factory.store.alerts.recent()
        return [a.action for a in open_ if a.agent == agent] == [f"kill:agent:{agent} is lifted"]

    await eventually(lifted)
    assert len([each for each in house.heard("pager") if agent in each]) == 1


async def test_80_percent_of_a_daily_budget_is_told_and_all_of_it_pages(house: House) -> None:
    agent = an_agent()
    await house.limit(f"agent:{agent}", "1")
    await house.spend(agent, "0.85")
    eighty = await house.told("chat", agent)
    await house.spend(agent, "0.15")

    everything = f"{agent}: the daily budget is spent ($1.00 of $1.00)"
    assert eighty == f"{agent}: 85% of the daily budget is spent ($0.85 of $1.00)"
    assert await house.told("pager", agent) == everything
    assert everything in await house.told("mail", agent)


async def test_80_percent_of_a_teams_budget_goes_to_chat_and_mail(house: House) -> None:
    team = f"red-{secrets.token_hex(3)}"
    await house.limit(f"team:{team}", "2")
    await house.spend(an_agent(), "1.6", team=team)

    words = f"Team {team}: 80% of the daily budget is spent ($1.60 of $2.00)"
    assert words in await house.told("chat", team)
    assert words in await house.told("mail", team)


async def test_a_loop_stops_the_run_and_is_told(house: House) -> None:
    result = await house.factory.run("looper", "Go round.", max_steps=25)

    assert result.status == "stopped"
    assert await house.told("chat", "looper") == "looper makes the same call again and again"


async def test_a_context_that_explodes_stops_the_run_and_is_told(house: House) -> None:
    result = await house.factory.run("grower", "Read everything.", max_steps=25)

    assert result.reason.startswith("context_explosion")
    assert await house.told("chat", "grower") == "grower: the context explodes"


async def test_a_switch_for_everything_pages(house: House) -> None:
    await house.factory.authority.set_switch("kill:global", "manual:adam:drill")
    try:
        assert await house.told("pager", "by adam") == "Everything is switched off by adam: drill"
    finally:
        await house.factory.authority.clear_switch("kill:global")
    assert await house.told("chat", "by adam")


_CALLS = {"calls": 100, "window_seconds": 300}


@pytest.mark.parametrize(
    ("rule", "scope", "severity", "evidence", "title", "places"),
    [
        ("daily_budget_80", "global", "",
         {"counter": "global|day|2026-11-21", "spent_nano_usd": usd(160), "limit_nano_usd": usd(200)},
         "All agents: 80% of the daily budget is spent ($160.00 of $200.00)", ("chat", "mail")),
        ("error_rate", "agent:erring", "warning", {"error_ratio": 0.12, "errors": 12, **_CALLS},
         "erring: 12% of the calls fail", ("chat",)),
        ("error_cascade", "global", "critical", {"agents": 4, **_CALLS},
         "4 agents fail at once", ("chat", "pager", "mail")),
        ("provider_down", "provider:openai", "", {"calls": 9, "errors": 8},
         "Provider openai is down", ("chat",)),
        ("model_degradation", "model:openai/gpt-5-mini", "warning", {"p95_ms": 12_000, **_CALLS},
         "Model openai/gpt-5-mini is slow: p95 12 seconds", ("chat",)),
        ("success_rate", "global", "critical", {"success_ratio": 0.89, "failed": 11, **_CALLS},
         "Only 89% of the calls succeed", ("chat", "pager", "mail")),
        ("redis_memory", "redis", "warning", {"used_ratio": 0.9, "used_bytes": 9, "limit_bytes": 10},
         "Redis is 90% full", ("chat",)),
        ("trace_export_lag", "traces:langfuse", "warning",
         {"target": "langfuse", "waiting": 7, "oldest_seconds": 660, "refused": 0},
         "7 traces wait for langfuse, for 11 minutes; 0 were refused", ("chat",)),
        ("backup_failed", "backups", "critical",
         {"failed": True, "error": "disk full", "good_age_seconds": 180_000},
         "No good backup for 2 days 2 hours", ("chat", "pager", "mail")),
        ("cost_threshold", "global", "warning",
         {"name": "daily warning", "period": "day", "window": "2026-11-21", "threshold_nano_usd": usd(100),
          "actual_nano_usd": usd(101), "overage_nano_usd": usd(1)},
         "All agents: $101.00 spent this day, more than $100.00", ("chat", "mail")),
        ("hourly_jump", "agent:jumper", "warning",
         {"spent_nano_usd": usd(9), "hour_before_nano_usd": usd(2), "limit_nano_usd": usd(6), "times": 3.0},
         "jumper spent $9.00 in this hour, $2.00 in the hour before", ("chat",)),
        ("velocity_all", "global", "critical", {"spent_nano_usd": usd(51), "window_seconds": 300},
         "All agents together spent $51.00 in 5 minutes", ("chat", "pager", "mail")),
    ],
)  # fmt: skip
async def test_what_others_find_reaches_whom_it_should(
    house: House,
    rule: str,
    scope: str,
    severity: Any,
    evidence: dict[str, Any],
    title: str,
    places: tuple[str, ...],
) -> None:
    await house.factory.store.events.alert(rule, scope, evidence, severity=severity)

    for place in places:
        assert title in await house.told(place, title)
    for place in {"pager", "mail"}.difference(places):
        assert not [each for each in house.heard(place) if title in each]
