"""AnomalySweep on a real Temporal: a minute is swept once, and a watch that fails is told."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleHandle,
    ScheduleSpec,
    WorkflowExecutionStatus,
)

from gateway.config import GatewayConfig
from gateway.policy.anomaly_calls import RedisMemory
from gateway.policy.sweep_rules import SweepRules
from tests.integration.runs import Factory, eventually, serving
from tests.integration.spending_past import book, call
from worker.config import Config
from worker.wiring import Servers
from workflows.queues import SUPERVISION
from workflows.scheduled import Scheduled

MINUTE = timedelta(minutes=1)
HALF_PAST = datetime(2031, 5, 6, 12, 30, tzinfo=UTC)
_GATEWAY = GatewayConfig({}, {}, ())


@pytest.fixture
async def factory(temporal: Client, redis_url: str, database: str) -> AsyncIterator[Factory]:
    servers = Servers(redis_url, database)
    config = Config(_GATEWAY, {}, {}, sweep=SweepRules(redis_memory=RedisMemory()))
    async with serving(temporal, servers, _GATEWAY, [], config=config) as factory:
        yield factory


async def sweep(factory: Factory, at: datetime) -> dict[str, object]:
    """As somebody in the Temporal UI would ask for it."""
    result: dict[str, object] = await factory.client.execute_workflow(
        "AnomalySweep",
        Scheduled(at=at.isoformat()),
        id=f"sweep-{uuid.uuid4().hex[:8]}",
        task_queue=SUPERVISION,
        result_type=dict,
    )
    return result


async def test_a_minute_is_swept_once_however_often_it_is_asked_for(factory: Factory) -> None:
    await book(factory.store, call(HALF_PAST - MINUTE, "7", agent="once"))

    first = await sweep(factory, HALF_PAST)
    again = await sweep(factory, HALF_PAST + timedelta(seconds=40))

    assert first["minute"] == again["minute"] == "2031-05-06T12:30Z"
    assert (first["told"], again["told"]) == (1, 0)
    assert len(await factory.store.events.alerts(rule="hourly_jump")) == 1


async def test_two_sweeps_in_a_row_that_fail_are_told_and_so_is_the_end(
    factory: Factory, database: str
) -> None:
    async def alerts(state: str) -> int:
        rows = await factory.store.events.alerts(rule="supervision_failed")
        return sum(row.state == state for row in rows)

    schedule = await factory.client.create_schedule(
        f"sweep-{uuid.uuid4().hex[:8]}",
        Schedule(
            action=ScheduleActionStartWorkflow(
                "AnomalySweep", id=f"scheduled-{uuid.uuid4().hex[:8]}", task_queue=SUPERVISION
            ),
            spec=ScheduleSpec(),
        ),
    )
    try:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("ALTER TABLE usage_frozen RENAME TO usage_gone")
            for number in (1, 2):
                await trigger(factory, schedule, number, WorkflowExecutionStatus.FAILED)
                assert await alerts("firing") == number - 1
            connection.execute("ALTER TABLE usage_gone RENAME TO usage_frozen")
        await trigger(factory, schedule, 3, WorkflowExecutionStatus.COMPLETED)
    finally:
        await schedule.delete()

    assert await alerts("resolved") == 1


async def trigger(
    factory: Factory, schedule: ScheduleHandle, number: int, wanted: WorkflowExecutionStatus
) -> None:
    """Pull the trigger and wait until the so-many-th workflow has ended as wanted."""
    await schedule.trigger()

    async def ended() -> bool:
        actions = (await schedule.describe()).info.recent_actions
        if len(actions) < number:
            return False
        started = actions[-1].action
        assert isinstance(started, ScheduleActionExecutionStartWorkflow)
        workflow = factory.client.get_workflow_handle(
            started.workflow_id, run_id=started.first_execution_run_id
        )
        return (await workflow.describe()).status is wanted

    await eventually(ended, 40)
