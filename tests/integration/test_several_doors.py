"""Three real `curb gateway` processes, one Redis, one Postgres, one budget: as exact as one process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import redis.asyncio as redis

from gateway.policy.money import NanoUsd, usd
from tests.acceptance.command import Curb, Gateway
from tests.integration.waiting import until
from tests.integration.world import World, config, open_world
from tests.simulated import SimulatedProvider
from worker.desk.documents import usd_text
from worker.wiring import Servers

DOORS = 3
SAY, SLOW = "openai/gpt-5-mini@say-20", "openai/gpt-5-mini@say-400+slow-stream-20"
YAML = """
providers: {{openai: {{base_url: "{url}/v1"}}}}
deployments:
  "openai/gpt-5-mini@say-20": {{price_model: gpt-5-mini}}
  "openai/gpt-5-mini@say-400+slow-stream-20": {{price_model: gpt-5-mini}}
rate_limits: {{tiers: {{enterprise: unlimited}}}}
"""
ASKED: dict[str, Any] = {"model": SAY, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 25}


@dataclass(frozen=True)
class House:
    """What all doors have: how to run commands, and the state and books behind them."""

    curb: Curb
    world: World

    def key(self, name: str, *options: str) -> str:
        return str(self.curb.json("keys", "create", name, "--rate-tier", "enterprise", *options)["token"])

    async def rows(self, agent: str) -> list[dict[str, Any]]:
        """The attempts of an agent, the latest first."""
        rows = await self.world.parts.store.attempts.recent(limit=1000)
        return [dict(row) for row in rows if row["agent"] == agent]


@pytest.fixture(scope="module")
async def house(
    redis_url: str, database: str, simulator: SimulatedProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    directory: Path = tmp_path_factory.mktemp("several-doors")
    (directory / "curb.yaml").write_text(YAML.format(url=simulator.url))
    places = {"CURB_REDIS_URL": redis_url, "CURB_DATABASE_URL": database, "OPENAI_API_KEY": "simulated"}
    models = [name.partition("/")[2] for name in (SAY, SLOW)]
    given = config(simulator.url, ("quick", models))
    async with redis.from_url(redis_url) as client:  # what modules before this one left there
        await client.flushdb()
    async with open_world(given, Servers(redis_url, database), simulator) as world:
        yield House(Curb(directory, places), world)


@contextlib.contextmanager
def open_door(house: House) -> Iterator[Gateway]:
    """A process of its own; if it still runs in the end it is told to stop, and does."""
    door = Gateway(house.curb)
    try:
        yield door
    finally:
        if door.process.poll() is None:
            door.close()
            door.ended()


@contextlib.contextmanager
def open_doors(house: House) -> Iterator[list[Gateway]]:
    with contextlib.ExitStack() as opened:
        yield [opened.enter_context(open_door(house)) for _ in range(DOORS)]


async def test_three_doors_admit_exactly_what_one_budget_allows(house: House) -> None:
    fits, clients = 12, 40
    key, admin = house.key("crowd", "--agent", "crowd"), house.key("chief", "--role", "admin")
    with open_doors(house) as doors:
        urls = [door.url for door in doors]
        cost, bound = await price_of_one(house, urls[0], key)
        # One was bought to know this; the last that fits may find all others paid for, and no more.
        await limit(urls[0], admin, "crowd", NanoUsd(cost * fits + bound))

        answers = await asyncio.gather(
            *(asks(urls[number % DOORS], key, streamed=number // DOORS % 2 == 1) for number in range(clients))
        )

        assert sorted(answers) == ["answered"] * fits + ["exhausted"] * (clients - fits)
        await house.world.booked()
        assert await house.world.held() == 0
        bought = [row for row in await house.rows("crowd") if row["cost_nano_usd"]]
        assert [row["cost_nano_usd"] for row in bought] == [cost] * (fits + 1)
        spent = (await house.world.parts.authority.utilization("crowd")).spent_nano_usd
        assert spent == cost * (fits + 1)


async def test_a_door_that_is_killed_in_the_crowd_leaves_the_others_and_the_books_right(
    house: House,
) -> None:
    key, allowed = house.key("brave", "--agent", "brave", "--daily", "0.01"), usd("0.01")
    with open_doors(house) as (doomed, *living):
        slow: dict[str, Any] = {"model": SLOW, "max_tokens": 900}
        cut = [asyncio.create_task(asks(doomed.url, key, streamed=True, retries=0, **slow)) for _ in range(2)]
        await until(lambda: in_flight(house, "brave", len(cut)))
        others = [asyncio.create_task(asks(door.url, key, streamed=False)) for door in living * 12]

        doomed.kill()

        assert await asyncio.gather(*cut) == ["cut"] * len(cut)
        assert set(await asyncio.gather(*others)) == {"answered"}
        # Its leases lapse, then its money is in doubt, and the provider's invoice says what it was.
        await until(lambda: in_doubt(house, "brave", len(cut)), seconds=120)
        await house.world.booked()
        assert await house.world.held() == 0
        assert 0 < (await house.world.parts.authority.utilization("brave")).spent_nano_usd <= allowed


async def price_of_one(house: House, url: str, key: str) -> tuple[int, int]:
    """What such a call costs, and what is held for it at most, in nano-dollars; streamed it holds more."""
    assert await asks(url, key, streamed=True) == "answered"
    await house.world.booked()
    [row] = await house.rows("crowd")
    return row["cost_nano_usd"], row["reserved_nano_usd"]


async def limit(url: str, token: str, agent: str, nano_usd: NanoUsd) -> None:
    """Set an agent's budget for the day, at one door."""
    rule = {"scope": f"agent:{agent}", "period": "day", "limit_usd": usd_text(nano_usd)}
    async with httpx.AsyncClient(base_url=url, headers={"x-api-key": token}) as client:
        answer = await client.post("/api/v1/budget/rules", json=rule)
        assert answer.status_code == 201, answer.text


async def asks(url: str, key: str, *, streamed: bool, retries: int = 100, **more: Any) -> str:
    """A client that comes again when it is told to: what became of its call."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries) as client:
        try:
            answer = await client.chat.completions.create(**{**ASKED, **more, "stream": streamed})
            return "answered" if not streamed or [chunk async for chunk in answer] else "empty"
        except openai.APIStatusError as error:
            return "exhausted" if error.status_code == 402 else str(error)
        except (openai.APIConnectionError, httpx.RemoteProtocolError):
            return "cut"


async def in_flight(house: House, agent: str, calls: int) -> bool:
    return [row["state"] for row in await house.rows(agent)] == ["pending"] * calls


async def in_doubt(house: House, agent: str, calls: int) -> bool:
    states = [row["state"] for row in await house.rows(agent)]
    return "pending" not in states and states.count("in_doubt") == calls
