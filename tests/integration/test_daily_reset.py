"""The reset: runs go on with a fresh budget, with schedules and without any, and a day is closed once."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis.asyncio as redis
from temporalio.client import Client, WorkflowFailureError

from activities.reset import ResetOutcome
from gateway.agents import Agent
from gateway.events import Event
from gateway.policy.periods import Calendar
from gateway.policy.scopes import Period, Window
from gateway.store import AttemptRow, Store
from gateway.store.days import ClosedWindow
from tests.faults.processes import WorkerProcess
from tests.integration.books import settlement
from tests.integration.databases import migrated_database
from tests.integration.past_days import attempt, days_ago
from tests.integration.runs import Factory, eventually, serving
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.config import Config
from worker.config_schedules import NAMES, ScheduleChange
from worker.schedules import wanted_schedules
from worker.temporal_schedules import Schedules
from worker.wiring import Servers
from workflows.queues import SUPERVISION
from workflows.scheduled import Scheduled

MODELS = ("gpt-5-mini@say-12", "gpt-5-mini@say-60+slow-stream-40")
BUDGET = 50_000_000
AGENTS = (
    Agent(name="poor", tier="openai/gpt-5-mini@say-12", daily_budget_nano_usd=BUDGET),
    Agent(name="slow", tier="openai/gpt-5-mini@say-60+slow-stream-40"),
)
SECONDS_TO_MIDNIGHT = 8


@dataclass
class Night:
    """A factory whose accounting day ends in a few seconds, with an agent that has spent it all."""

    factory: Factory
    config: Config
    midnight: datetime
    ending: Window

    @property
    def store(self) -> Store:
        return self.factory.store

    async def until_before_midnight(self, seconds: float) -> None:
        """Until so much of the day is left."""
        then = self.midnight.timestamp() * 1000 - seconds * 1000

        async def is_then() -> bool:
            return await self.factory.authority.clock_ms() >= then

        await eventually(is_then)

    async def bought(self, run_id: str) -> list[AttemptRow]:
        """The run's attempts, without its refusals, when they are settled."""
        found: list[AttemptRow] = []

        async def are_settled() -> bool:
            rows = await self.store.attempts.of_run(run_id)
            found[:] = [row for row in rows if row["state"] != "refused"]
            return {row["state"] for row in found} == {"settled"}

        await eventually(are_settled)
        return found

    async def closed(self) -> ClosedWindow | None:
        return await self.store.days.closed(Period.DAY, self.ending.id)

    async def until_closed(self) -> ClosedWindow:
        async def is_closed() -> bool:
            return await self.closed() is not None

        await eventually(is_closed)
        closed = await self.closed()
        assert closed is not None
        return closed


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "test_daily_reset") as url:
        yield url


@pytest.fixture
async def servers(redis_url: str, url: str) -> Servers:
    async with redis.from_url(redis_url) as connection:
        await connection.flushdb()
    return Servers(redis_url, url)


@contextlib.asynccontextmanager
async def night(
    client: Client, servers: Servers, simulator: SimulatedProvider, *, scheduled: bool
) -> AsyncIterator[Night]:
    midnight = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=SECONDS_TO_MIDNIGHT)
    start = midnight.hour * 3_600 + midnight.minute * 60 + midnight.second
    gateway = replace(config(simulator.url, ("balanced", MODELS)), day_start_seconds=start)
    calendar = Calendar(ZoneInfo("UTC"), start)
    ending = calendar.windows(Period.DAY, round(midnight.timestamp() * 1000) - 1)[1]
    day = datetime.fromisoformat(ending.id).date()
    others = {name: ScheduleChange(off=True) for name in NAMES if name != "daily-reset"}
    settings = Config(
        gateway=gateway, agents={agent.name: agent for agent in AGENTS}, limits={}, schedules=others
    )
    async with await Store.connect(servers.database_url) as store:
        await store.ledger.apply_events(attempt("spent", day, BUDGET, agent="poor"))
    async with serving(client, servers, gateway, AGENTS, config=settings, scheduled=scheduled) as factory:
        yield Night(factory, settings, midnight, ending)


async def test_at_midnight_a_run_goes_on_with_a_fresh_budget_and_the_day_is_closed(
    temporal: Client, servers: Servers, simulator: SimulatedProvider
) -> None:
    async with night(temporal, servers, simulator, scheduled=True) as tonight:
        factory = tonight.factory
        poor = await factory.start("poor")
        assert "agent:poor per day" in await factory.until_waiting(poor, "budget")
        await factory.authority.set_switch("throttle:agent:poor", "auto:anomaly:curb:dear")
        await factory.authority.set_switch("throttle:agent:slow", "manual:ann:watching")
        await factory.authority.observe_switches([])
        await tonight.until_before_midnight(1.2)
        slow = await factory.start("slow")

        assert (await poor.result()).status == "completed"
        closed = await tonight.until_closed()

        assert (closed.preliminary, closed.verified, closed.differences) == (False, True, 0)
        assert await factory.authority.read_switches(["throttle:agent:poor", "throttle:agent:slow"]) == {
            "throttle:agent:slow": "manual:ann:watching"
        }
        [bought] = await tonight.bought(poor.id)
        assert bought["day"].isoformat() > tonight.ending.id
        await slow.result()
        [crossing] = await tonight.bought(slow.id)
        assert crossing["day"].isoformat() == tonight.ending.id
        assert crossing["settled_at"] > tonight.midnight
        budgets = {
            each.scope: each for each in await tonight.store.days.budgets(Period.DAY, tonight.ending.id)
        }
        assert budgets["agent:poor"].spent_nano_usd == budgets["agent:poor"].limit_nano_usd == BUDGET
        assert budgets["agent:poor"].refusals >= 1
        assert budgets["agent:slow"].spent_nano_usd == crossing["cost_nano_usd"] > 0
        assert budgets["agent:slow"].held_nano_usd == 0
        assert [work.at for work in await recorded(tonight)] == [tonight.midnight]

        await by_hand_twice(tonight)
        assert await tonight.closed() == closed
        assert len(await recorded(tonight)) == 1


async def recorded(tonight: Night) -> list[Any]:
    async def is_recorded() -> bool:
        return bool(await tonight.store.days.work("daily_reset"))

    await eventually(is_recorded)
    return list(await tonight.store.days.work("daily_reset"))


async def by_hand_twice(tonight: Night) -> None:
    """Trigger and backfill the same reset, twice each."""
    client = tonight.factory.client
    schedules = Schedules(client)
    [wanted] = wanted_schedules(tonight.config)
    ids = [await schedules.trigger("daily-reset")]
    for _ in range(2):
        ids += await schedules.backfill(wanted, tonight.midnight, tonight.midnight)
    ids.append(await schedules.trigger("daily-reset"))
    for workflow_id in ids:
        await client.get_workflow_handle(workflow_id, result_type=ResetOutcome).result()


async def test_without_any_schedule_a_run_goes_on_at_midnight_all_the_same(
    temporal: Client, servers: Servers, simulator: SimulatedProvider
) -> None:
    async with night(temporal, servers, simulator, scheduled=False) as tonight:
        poor = await tonight.factory.start("poor")
        assert "agent:poor per day" in await tonight.factory.until_waiting(poor, "budget")

        assert (await poor.result()).status == "completed"

        assert await tonight.closed() is None
        [bought] = await tonight.bought(poor.id)
        assert bought["day"].isoformat() > tonight.ending.id
        assert bought["reserved_at"] >= tonight.midnight


async def test_a_reset_wakes_who_waits_and_leaves_alone_what_was_set_in_the_new_day(
    temporal: Client, servers: Servers, simulator: SimulatedProvider
) -> None:
    async with await Store.connect(servers.database_url) as store:
        await store.ledger.apply_events(attempt("spent", days_ago(0), BUDGET, agent="poor"))
    gateway = config(simulator.url, ("balanced", MODELS))
    async with serving(temporal, servers, gateway, AGENTS) as factory:
        poor = await factory.start("poor")
        await factory.until_waiting(poor, "budget")
        await factory.authority.set_switch("throttle:agent:slow", "auto:anomaly:curb:dear", 600_000)
        await noticed(factory, "throttle:agent:slow")

        outcome = await reset(temporal, f"{days_ago(0).isoformat()}T00:00:00Z")

        assert (outcome.reopened.woken, outcome.reopened.lifted) == (1, ())
        assert "throttle:agent:slow" in await factory.authority.read_switches(["throttle:agent:slow"])
        await poor.signal("kill", "enough")
        await poor.result()


async def test_a_day_that_has_not_begun_is_not_reset(
    temporal: Client, servers: Servers, simulator: SimulatedProvider
) -> None:
    gateway = config(simulator.url, ("balanced", MODELS))
    async with serving(temporal, servers, gateway, AGENTS) as factory:
        await factory.authority.set_switch("throttle:agent:slow", "auto:anomaly:seasonal: dear")

        async with asyncio.timeout(30):
            with pytest.raises(WorkflowFailureError) as caught:
                await reset(temporal, "2999-01-01T00:00:00Z")

        assert "2999-01-01 00:00:00 UTC has not come" in str(caught.value.cause.__cause__)
        assert "throttle:agent:slow" in await factory.authority.read_switches(["throttle:agent:slow"])


async def noticed(factory: Factory, name: str) -> None:
    """Until the change of a switch is on the books."""

    async def is_noticed() -> bool:
        return bool(await factory.store.events.switch_changes(name))

    await eventually(is_noticed)


async def reset(client: Client, at: str) -> ResetOutcome:
    handle = await client.start_workflow(
        "DailyReset",
        Scheduled(at=at),
        id=f"reset-{uuid.uuid4().hex[:8]}",
        task_queue=SUPERVISION,
        result_type=ResetOutcome,
    )
    outcome: ResetOutcome = await handle.result()
    return outcome


async def test_a_worker_killed_in_the_middle_of_a_reset_leaves_one_closing_to_the_next(
    temporal: Client,
    temporal_address: str,
    servers: Servers,
    simulator: SimulatedProvider,
    tmp_path: Path,
) -> None:
    day = days_ago(1)
    async with await Store.connect(servers.database_url) as store:
        await store.ledger.apply_events(attempt("whole", day, 700))
        places = (temporal_address, servers.redis_url, servers.database_url, simulator.url, str(tmp_path))
        victim = WorkerProcess(places, tmp_path, "victim")
        await victim.until_ready()
        # Only now, and under a call that nobody ends: what is in the books before is put in doubt.
        await store.ledger.apply_events(attempt("open", day))
        handle = await temporal.start_workflow(
            "DailyReset",
            Scheduled(at=f"{days_ago(0).isoformat()}T00:00:00Z"),
            id=f"reset-{uuid.uuid4().hex[:8]}",
            task_queue=SUPERVISION,
            result_type=ResetOutcome,
        )

        async def is_closing() -> bool:
            pending = (await handle.describe()).raw_description.pending_activities
            return any(each.activity_type.name == "close_books" and each.attempt == 1 for each in pending)

        await eventually(is_closing)
        await victim.kill()
        said = settlement("open#1", state="released", basis="not_sent").model_dump(mode="json")
        await store.ledger.apply_events([Event("released", said, 1, 9, at_ms=1, day=day.isoformat())])

        gateway = config(simulator.url, ("balanced", MODELS))
        async with serving(temporal, servers, gateway, AGENTS):
            outcome = await handle.result()

        first = next(each for each in outcome.closed if each.window == day.isoformat())
        assert (first.new, first.spent_nano_usd, first.differences) == (True, 700, 0)
        assert len(await store.days.work("daily_reset")) == 1
