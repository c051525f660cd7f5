"""What the benches run against: a stack of their own on free ports, and worker processes."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from temporalio.client import Client, WorkflowHandle

from gateway.agents import Agent
from gateway.config import Deployment, GatewayConfig, Provider, Tier
from gateway.policy.limits import RunLimits
from gateway.policy.money import usd
from gateway.store.migrate import migrate
from worker.config import Config
from worker.stack import FREE_PORTS, Stack
from worker.temporal import connect
from worker.wiring import Servers
from workflows.messages import RunInput, RunResult
from workflows.queues import RUNS

Handle = WorkflowHandle[Any, RunResult]
LENGTHS = (1, 10, 20, 60, 300)
HANGING = "gpt-5-mini@say-20+hang-3"
WATCHED = 20  # agents with a switch each, whose calls never end by themselves


@dataclass(frozen=True, slots=True)
class World:
    """Servers that run, and how to use them."""

    stack: Stack
    client: Client
    root: Path

    @property
    def servers(self) -> Servers:
        return Servers(self.stack.redis_url, self.stack.database_url)

    @property
    def config(self) -> Config:
        return configuration(self.stack.simulator_url, self.root)

    def server(self, name: str) -> psutil.Process:
        """The process of one server of the stack."""
        return psutil.Process(self.stack.server(name).pid)

    async def start(self, agent: str) -> Handle:
        """Start a run of this agent."""
        return await self.client.start_workflow(
            "AgentRun",
            RunInput(agent=agent, task="Read the files and say what is in them."),
            id=f"{agent}-{uuid.uuid4().hex[:8]}",
            task_queue=RUNS,
            result_type=RunResult,
        )

    async def finished(self, agent: str) -> None:
        """Start a run and wait for its end, which must be a good one."""
        result = await (await self.start(agent)).result()
        if result.status != "completed":
            raise SystemExit(f"bench: run of {agent} {result.status}: {result.reason}")


def configuration(simulator_url: str, root: Path) -> Config:
    """Agents `steps-N` (a tool call in each of N steps but the last) and `hanging-N` (never done)."""
    models = [*(f"gpt-5-mini@long-{length}" for length in LENGTHS), HANGING]
    deployments = [Deployment(f"openai/{m}", "openai", m, price_model="gpt-5-mini") for m in models]
    gateway = GatewayConfig(
        providers={"openai": Provider("openai", "openai", f"{simulator_url}/v1")},
        deployments={each.name: each for each in deployments},
        tiers=(Tier("quick", (deployments[0].name,)),),
    )
    agents = [_agent(f"steps-{length}", f"gpt-5-mini@long-{length}", root) for length in LENGTHS]
    agents += [_agent(f"hanging-{number}", HANGING, root) for number in range(WATCHED)]
    return Config(gateway=gateway, agents={agent.name: agent for agent in agents}, limits={})


def _agent(name: str, model: str, root: Path) -> Agent:
    return Agent(
        name=name,
        instructions="You read files and report what is in them.",
        tier=f"openai/{model}",
        tools=("list_files", "read_file"),
        root=str(root),
        run_budget_nano_usd=usd(100),
        limits=RunLimits(max_steps=1_000, max_tool_calls=1_000),
    )


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    """A fresh stack with curb's tables in it; gone with the block."""
    with tempfile.TemporaryDirectory(prefix="curb-bench-", ignore_cleanup_errors=True) as scratch:
        root = Path(scratch) / "files"
        root.mkdir()
        for number in range(5):
            (root / f"file{number}.txt").write_text(f"This is file {number}. It says little.\n" * 5)
        async with Stack(Path(scratch) / "stack", ports=FREE_PORTS) as stack:
            await asyncio.to_thread(migrate, stack.database_url)
            yield World(stack, await connect(stack.temporal_address), root)


@contextlib.asynccontextmanager
async def worker(
    world: World, kind: str = "supervised", environment: Mapping[str, str] | None = None
) -> AsyncIterator[psutil.Process]:
    """A worker process while the block runs: `supervised` as curb has it, or `bare`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.worker", kind, world.stack.temporal_address),
        *(world.stack.redis_url, world.stack.database_url, world.stack.simulator_url, str(world.root)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "CURB_METRICS_PORT": "0", **(environment or {})},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            said = await process.stdout.readline()
        if said.strip() != b"ready":
            raise SystemExit(f"bench: the {kind} worker did not start")
        yield psutil.Process(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time that a process and its living children have used."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return sorted(values)[len(values) // 2]
