"""A worker of the frameworks under SupervisorPlugin, beside a curb of its own."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio as redis
from agents import OpenAIProvider
from pydantic_ai.durable_exec.temporal import PydanticAIPlugin
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.langgraph import LangGraphPlugin
from temporalio.openai_agents import OpenAIAgentsPlugin
from temporalio.worker import Interceptor, Worker

from curb import SupervisorPlugin
from gateway.agents import Agent
from gateway.config import GatewayConfig
from gateway.store import AttemptRow
from tests.integration.frameworks.langgraph_nodes import ask, ask_in_a_thread, graph_of
from tests.integration.frameworks.langgraph_workflows import AskLangGraph, AskLangGraphInThreads
from tests.integration.frameworks.openai_agents import AskOpenAI
from tests.integration.frameworks.pydantic import AskPydantic
from tests.integration.runs import eventually
from tests.integration.world import World, open_world
from tests.simulated import SimulatedProvider
from worker.config import Config
from worker.wiring import Servers

Handle = WorkflowHandle[Any, Any]
BRIEF, SLOW, DEAR = "gpt-5-mini@say-12", "gpt-5-mini@say-60+slow-stream-40", "gpt-5-mini@say-400"
INVALID = "gpt-5-mini@say-12+invalid"
MODELS = (BRIEF, SLOW, DEAR, INVALID)
FRAMEWORKS = ("AskOpenAI", "AskPydantic", "AskLangGraph", "AskLangGraphInThreads")
WORKFLOWS = {
    "AskOpenAI": AskOpenAI,
    "AskPydantic": AskPydantic,
    "AskLangGraph": AskLangGraph,
    "AskLangGraphInThreads": AskLangGraphInThreads,
}


def plugins(framework: str) -> list[Any]:
    """The framework's own, as its documentation says."""
    if framework == "AskOpenAI":  # whose own client wants a key, which is never used
        return [OpenAIAgentsPlugin(model_provider=OpenAIProvider(api_key="unused"))]
    if framework == "AskPydantic":
        return [PydanticAIPlugin()]
    return [LangGraphPlugin(graphs={"talk": graph_of(ask), "threads": graph_of(ask_in_a_thread)})]


@dataclass
class FrameworkWorker:
    """A worker that runs, on a queue of its own."""

    client: Client
    world: World
    framework: str
    queue: str
    supervisor: SupervisorPlugin

    async def start(self, model: str, times: int = 1, *, id: str = "", **launch: Any) -> Handle:
        """launch: what the memo `curb` says."""
        return await self.client.start_workflow(
            self.framework,
            args=[model, times],
            id=id or f"{self.framework}-{uuid.uuid4().hex[:8]}",
            task_queue=self.queue,
            execution_timeout=timedelta(minutes=2),
            memo={"curb": launch} if launch else None,
        )

    async def run(self, model: str, times: int = 1, **launch: Any) -> list[str]:
        said: list[str] = await (await self.start(model, times, **launch)).result()
        return said

    async def attempts(self, run: Handle) -> list[AttemptRow]:
        await self.world.ledger()
        return list(await self.world.parts.store.attempts.of_run(run.id))

    async def until_waiting(self, run: Handle, kind: str) -> str:
        """Wait until the run is on record as waiting for this; what it says."""
        said = ""

        async def waits() -> bool:
            nonlocal said
            runs = [each for each in await self.world.parts.store.runs.list(limit=100) if each.id == run.id]
            said = runs[0].waiting_for if runs else ""
            return said.startswith(kind)

        await eventually(waits, 60)
        return said

    async def until_sending(self, run: Handle) -> None:
        """Wait until the provider has a request of this run."""

        async def sends() -> bool:
            sent = {row["client_request_id"] for row in self.world.simulator.invoice()}
            return any(row["attempt_id"] in sent for row in await self.attempts(run))

        await eventually(sends, 60)


async def failure(run: Handle) -> ApplicationError:
    """How a workflow failed, at the bottom of it."""
    with pytest.raises(WorkflowFailureError) as failed:
        await run.result()
    cause: BaseException | None = failed.value.cause
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = cause.__cause__
    assert isinstance(cause, ApplicationError), failed.value.cause
    return cause


@contextlib.asynccontextmanager
async def framework_worker(
    framework: str,
    temporal: Client,
    ours: Sequence[SupervisorPlugin],
    interceptors: Sequence[Interceptor] = (),
) -> AsyncIterator[tuple[Client, str]]:
    """A worker on a queue of its own while the block runs: its client and its queue. ours: the client has the
    first, the worker the others."""
    target = temporal.service_client.config.target_host
    client = await Client.connect(target, plugins=[*plugins(framework), ours[0]])
    queue = f"frameworks-{uuid.uuid4().hex[:8]}"
    flows = [WORKFLOWS[framework]]
    async with Worker(client, task_queue=queue, workflows=flows, plugins=ours[1:], interceptors=interceptors):
        yield client, queue


@contextlib.asynccontextmanager
async def open_worker(
    framework: str,
    temporal: Client,
    servers: Servers,
    gateway: GatewayConfig,
    simulator: SimulatedProvider,
    *,
    agents: Sequence[Agent] = (),
    twice: bool = False,
    interceptors: Sequence[Interceptor] = (),
) -> AsyncIterator[FrameworkWorker]:
    """Empty Redis, then a world, and a worker in it until the block ends. twice: the client has the plugin,
    and the worker has one of its own."""
    async with redis.from_url(servers.redis_url) as connection:
        await connection.flushdb()
    config = Config(gateway=gateway, agents={agent.name: agent for agent in agents}, limits={})
    ours = [SupervisorPlugin(config=config, servers=servers) for _ in range(1 + twice)]
    async with (
        open_world(gateway, servers, simulator) as world,
        framework_worker(framework, temporal, ours, interceptors) as (client, queue),
    ):
        yield FrameworkWorker(client, world, framework, queue, ours[0])
