"""Buying by workers of agent frameworks under SupervisorPlugin."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle

from curb import SupervisorPlugin
from tests.conformance.house import PYDANTIC_SLOW, House
from tests.integration.plugin_world import framework_worker
from tests.integration.runs import eventually
from worker.config import Config


def supervised(framework: str) -> Callable[[House, str], Awaitable[None]]:
    """Two answers, one after another."""

    async def buy(house: House, name: str) -> None:
        async with _started(house, framework, name, "gpt-5-mini@say-12", 2) as run:
            assert len(await run.result()) == 2

    return buy


def supervised_and_killed(framework: str) -> Callable[[House, str], Awaitable[None]]:
    """The signal `kill` in the middle of an answer."""

    async def buy(house: House, name: str) -> None:
        async with _started(house, framework, name, PYDANTIC_SLOW, 1) as run:
            await eventually(lambda: _generating(house, run.id), 60)
            await run.signal("kill", "seen enough")
            with pytest.raises(WorkflowFailureError):
                await run.result()
            await eventually(lambda: _cut(house, run.id), 60)

    return buy


@contextlib.asynccontextmanager
async def _started(
    house: House, framework: str, name: str, model: str, times: int
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    gateway = house.front.world.parts.gateway.config
    config = Config(gateway=gateway, agents={}, limits={})
    plugin = SupervisorPlugin(config=config, servers=house.servers)
    async with framework_worker(framework, house.factory.client, [plugin]) as (client, queue):
        yield await client.start_workflow(
            framework,
            args=[model, times],
            id=f"{name}-{uuid.uuid4().hex[:8]}",
            task_queue=queue,
            memo={"curb": {"agent": name, "team": name, "user": name}},
        )


async def _generating(house: House, run_id: str) -> bool:
    sent = {row["client_request_id"] for row in house.front.world.simulator.invoice()}
    rows = await house.front.world.parts.store.attempts.of_run(run_id)
    return any(row["attempt_id"] in sent for row in rows)


async def _cut(house: House, run_id: str) -> bool:
    rows = await house.front.world.parts.store.attempts.of_run(run_id)
    return [row["status"] for row in rows] == ["killed"]
