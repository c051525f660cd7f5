"""Top-ups through the run's activity, on real servers: once per run and update, and never too much."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio as redis
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.messages import OpenRun, TopUp, TopUpDone, TopUpTask
from activities.runs import RunActivities
from activities.toolbox import Toolbox
from gateway.agents import Agent
from gateway.policy.money import usd
from tests.integration.databases import migrated_database
from tests.integration.world import config
from worker.wiring import Servers, dependencies, open_parts


@pytest.fixture
def database(database_url: str) -> Iterator[str]:
    with migrated_database(database_url, "top_up_ids") as url:
        yield url


@pytest.fixture
async def runs(redis_url: str, database: str) -> AsyncIterator[RunActivities]:
    """Two open runs, a and b, of $1 each."""
    async with redis.from_url(redis_url) as client:
        await client.flushdb()
    coder = Agent(name="coder", run_budget_nano_usd=usd(1))
    servers = Servers(redis_url, database)
    async with Toolbox() as toolbox, open_parts(config("http://nowhere"), servers) as parts:
        while not await parts.rebuilder.round():
            pass
        activities = RunActivities(dependencies(parts, toolbox, {"coder": coder}, search_attributes=False))
        for run_id in ("a", "b"):
            opening = OpenRun(run_id=run_id, temporal_run_id="t", agent="coder")
            await ActivityEnvironment().run(activities.open_run, opening)
        yield activities


async def top_up(runs: RunActivities, run_id: str, dollars: str, **to: str) -> TopUpDone:
    top_up = TopUp.model_validate({"usd": dollars, **to})
    return await runs.top_up(TopUpTask(run_id=run_id, top_up_id="first", top_up=top_up))


async def test_two_runs_may_be_told_the_same_update_id(runs: RunActivities) -> None:
    done = [await top_up(runs, run_id, "0.5") for run_id in ("a", "b", "a")]
    assert [each.limit_usd for each in done] == ["1.5", "1.5", "1.5"]


async def test_more_than_can_be_counted_is_refused_for_good(runs: RunActivities) -> None:
    """A retry would keep the update, and with it the run, from ending."""
    await top_up(runs, "a", "9000000")
    with pytest.raises(ApplicationError, match="2\\^53") as refused:
        await runs.top_up(TopUpTask(run_id="a", top_up_id="second", top_up=TopUp(usd="9000000")))
    assert refused.value.non_retryable
