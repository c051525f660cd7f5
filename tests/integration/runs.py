"""Agents on a real Temporal, with a worker in the test's own event loop."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy

from gateway.agents import Agent
from gateway.config import GatewayConfig
from gateway.state.authority import Authority
from gateway.store import Store
from worker.config import Config
from worker.config_schedules import NAMES, ScheduleChange
from worker.service import serve
from worker.settings import Settings
from worker.temporal_schedules import Schedules
from worker.wiring import Servers
from workflows.messages import RunInput, RunResult, RunStatus
from workflows.queues import RUNS

Handle = WorkflowHandle[Any, RunResult]


@dataclass
class Factory:
    """A running worker, and what tests look at it with."""

    client: Client
    store: Store
    authority: Authority

    async def start(
        self, agent: str, task: str = "Do it.", *, id: str = "", paused: str = "", **given: Any
    ) -> Handle:
        """Start a run as somebody in the Temporal UI would. paused: with this reason, from the start."""
        return await self.client.start_workflow(
            "AgentRun",
            RunInput(agent=agent, task=task, **given),
            id=id or f"{agent}-{uuid.uuid4().hex[:8]}",
            task_queue=RUNS,
            result_type=RunResult,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            start_signal="pause" if paused else None,
            start_signal_args=[paused] if paused else [],
        )

    async def run(self, agent: str, task: str = "Do it.", **given: Any) -> RunResult:
        """Start a run and wait for its end."""
        return await (await self.start(agent, task, **given)).result()

    async def status(self, handle: Handle) -> RunStatus:
        status: RunStatus = await handle.query("status", result_type=RunStatus)
        return status

    async def until_waiting(self, handle: Handle, cause: str) -> str:
        """Wait until the run waits for this cause; returns what it says."""
        async with asyncio.timeout(30):
            while cause not in (waiting := (await self.status(handle)).waiting_for):
                await asyncio.sleep(0.02)
        return waiting[cause]


@contextlib.asynccontextmanager
async def serving(
    client: Client,
    servers: Servers,
    gateway: GatewayConfig,
    agents: Sequence[Agent],
    *,
    tools: Sequence[str] = (),
    workflows: Sequence[type] = (),
    shutdown_seconds: float = 5.0,
    supervise: bool = False,
    scheduled: bool = False,
    settings: Settings | None = None,
    config: Config | None = None,
) -> AsyncIterator[Factory]:
    """A worker of all roles while the block runs; when it ends, what is in flight has that long.

    supervise: alerts are told. scheduled: schedules are applied too, and deleted in the end.
    """
    stop, ready = asyncio.Event(), asyncio.Event()
    config = config or Config(gateway=gateway, agents={agent.name: agent for agent in agents}, limits={})
    if not scheduled:
        config = replace(config, schedules={name: ScheduleChange(off=True) for name in NAMES})
    service = asyncio.create_task(
        serve(
            client,
            servers,
            settings or Settings(metrics_port=0, shutdown_seconds=shutdown_seconds),
            config,
            stop=stop,
            tools=tools,
            workflows=workflows,
            supervise=supervise or scheduled,
            on_ready=ready.set,
        )
    )
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({service, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if service.done():
        await service
    async with await Store.connect(servers.database_url) as store:
        authority = await Authority.connect(servers.redis_url, process_id="test", config=gateway)
        try:
            yield Factory(client, store, authority)
        finally:
            await authority.close()
            stop.set()
            await service
            if scheduled:
                await Schedules(client).apply([])


async def result_of(handle: WorkflowHandle[Any, Any], seconds: float = 120.0) -> Any:
    """What a workflow came to; should it take too long, what it waits for."""
    try:
        async with asyncio.timeout(seconds):
            return await handle.result()
    except TimeoutError:
        told = (await handle.describe()).raw_description
        events = [event.event_type async for event in handle.fetch_history_events()]
        raise AssertionError(f"{handle.id} goes on:\n{told.pending_activities}\n{events[-12:]}") from None


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait for a condition; fails when it does not come."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)
