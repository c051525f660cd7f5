"""What SupervisorPlugin buys is paid for once: installed twice, completed in vain, asked for again."""

import contextlib

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from tests.integration.plugin_world import BRIEF, FRAMEWORKS, MODELS, open_worker
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.wiring import Servers


class LosesFirstCompletions(Interceptor):
    """The network takes the completion of every activity's first try."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Loses(next)


class _Loses(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> object:
        done: object = await super().execute_activity(input)
        if activity.info().attempt == 1:
            raise ApplicationError("the completion was lost")
        return done


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_a_lost_completion_is_replayed_for_free(
    framework: str, temporal: Client, redis_url: str, database: str, simulator: SimulatedProvider
) -> None:
    gateway = config(simulator.url, ("quick", MODELS))
    async with open_worker(
        framework,
        temporal,
        Servers(redis_url, database),
        gateway,
        simulator,
        interceptors=[LosesFirstCompletions()],
    ) as worker:
        run = await worker.start(BRIEF, 2)

        assert len(await run.result()) == 2

        rows = await worker.attempts(run)
        assert [row["state"] for row in rows] == ["settled"] * 2
        assert all(row["replayed"] for row in rows)
        sent = {row["client_request_id"] for row in simulator.invoice()}
        assert {row["attempt_id"] for row in rows} <= sent


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_installed_twice_it_charges_once(
    framework: str, temporal: Client, redis_url: str, database: str, simulator: SimulatedProvider
) -> None:
    gateway = config(simulator.url, ("quick", MODELS))
    before = len(simulator.invoice())
    servers = Servers(redis_url, database)
    opening = open_worker(framework, temporal, servers, gateway, simulator, twice=True)
    async with contextlib.AsyncExitStack() as stack:
        with pytest.warns(UserWarning, match="present from both client and worker"):
            worker = await stack.enter_async_context(opening)
        run = await worker.start(BRIEF, 2)
        await run.result()

        assert [row["state"] for row in await worker.attempts(run)] == ["settled"] * 2
        assert len(simulator.invoice()) == before + 2
