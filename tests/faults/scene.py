"""The scene of these tests: servers and workers that may be killed, runs, and the books afterwards."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import redis.asyncio as redis
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from gateway.errors import CurbError
from gateway.reconcile import Report, SimulatorInvoice, resolve
from gateway.state.authority import Authority
from gateway.store import AttemptRow, Store
from gateway.store.migrate import migrate
from tests.faults.agents import gateway_config
from tests.faults.gate import Gate
from tests.faults.processes import WorkerProcess
from worker.stack import FREE_PORTS, Server, Stack
from worker.temporal import connect
from workflows.messages import RunInput, RunResult, RunStatus
from workflows.queues import RUNS

Handle = WorkflowHandle[Any, RunResult]
Row = dict[str, Any]
T = TypeVar("T")


@dataclass
class Scene:
    """Everything that can break, and what tests look at it with.

    Workers reach Temporal and the provider through gates; Redis and Postgres directly.
    """

    stack: Stack
    root: Path
    client: Client
    store: Store
    authority: Authority
    provider_gate: Gate
    temporal_gate: Gate
    workers: list[WorkerProcess] = field(default_factory=list)
    _started: int = 0

    # Servers and workers

    @property
    def valkey(self) -> Server:
        return self.stack.server("valkey")

    @property
    def postgres(self) -> Server:
        return self.stack.server("postgres")

    @property
    def temporal(self) -> Server:
        return self.stack.server("temporal")

    def redis(self) -> "redis.Redis":
        return redis.from_url(self.stack.redis_url)

    async def start_worker(self, provider_url: str = "") -> WorkerProcess:
        """Another worker process, ready. provider_url: where its provider is; '' for behind the gate."""
        self._started += 1
        worker = WorkerProcess(
            [
                self.temporal_gate.address,
                self.stack.redis_url,
                self.stack.database_url,
                provider_url or f"http://{self.provider_gate.address}",
                str(self.root),
            ],
            self.stack.directory / "logs",
            f"worker-{self._started}",
        )
        self.workers.append(worker)
        await worker.until_ready()
        return worker

    async def dismiss_workers(self) -> None:
        """Kill whoever still works."""
        for worker in self.workers:
            await worker.kill()
        self.workers.clear()

    # Runs

    async def start(self, agent: str, *, id: str = "", **given: Any) -> Handle:
        return await self.client.start_workflow(
            "AgentRun",
            RunInput(agent=agent, task="Do it.", **given),
            id=id or f"{agent}-{uuid.uuid4().hex[:8]}",
            task_queue=RUNS,
            result_type=RunResult,
        )

    async def result(self, handle: Handle, seconds: float = 40.0) -> RunResult:
        """Wait for the end of a run, also while Temporal is being restarted."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await handle.result()
                except RPCError:
                    await asyncio.sleep(0.1)

    async def status(self, handle: Handle) -> RunStatus:
        status: RunStatus = await handle.query("status", result_type=RunStatus)
        return status

    # The provider's side

    async def invoice(self, run_id: str = "") -> list[Row]:
        """Rows of the provider's invoice, all of them or those of one run's calls, oldest first."""
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            answer = await client.get(f"{self.stack.simulator_url}/invoice")
        rows: list[Row] = answer.json()["rows"]
        if not run_id:
            return rows
        first = f"run:{await self._temporal_run_id(run_id)}:"
        return [row for row in rows if row["client_request_id"].startswith(first)]

    async def until_streaming(self, run_id: str) -> Row:
        """Wait until the provider is in the middle of an answer to this run; its row."""

        async def streaming() -> Row | None:
            rows = await self.invoice(run_id)
            return next((row for row in rows if row["state"] == "open" and row["output_tokens"] > 0), None)

        return await until(streaming)

    # Our side

    async def attempts(self, run_id: str) -> list[AttemptRow]:
        """What the ledger has about a run, refusals left out."""
        return [row for row in await self.store.attempts.of_run(run_id) if row["state"] != "refused"]

    async def until_attempt(self, run_id: str, *states: str) -> AttemptRow:
        """Wait until the ledger has an attempt of this run in one of these states; the last such."""

        async def found() -> AttemptRow | None:
            rows = [row for row in await self.attempts(run_id) if row["state"] in states]
            return rows[-1] if rows else None

        return await until(found)

    async def until_open(self, after_epoch: int = 0) -> int:
        """Wait until admission is open in an epoch after this one; its number."""

        async def opened() -> int:
            state = await self.authority.epoch_state()
            return state.epoch if state.open and state.epoch > after_epoch else 0

        return await until(opened)

    async def limit(self, counter: str) -> int | None:
        [state] = await self.authority.counters([counter])
        return state.limit_nano_usd

    async def resolved(self, seconds: float = 30.0) -> Report:
        """Wait until nothing is held nor being generated, resolve what is in doubt, and report."""
        await until(self._is_quiet, seconds)
        usage = SimulatorInvoice(self.stack.simulator_url)
        return await resolve(self.authority, self.store, usage, min_age_seconds=0)

    async def check_books(self, seconds: float = 30.0) -> Report:
        """Resolve; then ledger = invoice = counters to the nano-dollar, and nothing is held or in doubt."""
        report = await self.resolved(seconds)
        invoice = sum(row["amount_nano_usd"] for row in await self.invoice())
        assert report.differences == []
        assert report.ok
        assert report.ledger_nano_usd == invoice
        for state in await self.authority.budgets():
            assert (state.held_nano_usd, state.in_doubt_nano_usd) == (0, 0), state.counter
            assert state.limit_nano_usd is None or state.spent_nano_usd <= state.limit_nano_usd, state
        await self.check_leases()
        return report

    async def check_leases(self) -> None:
        """No request reached the provider after its attempt's lease had lapsed and its hold was in doubt."""
        for row in await self.invoice():
            attempt = await self.store.attempts.get(row["client_request_id"])
            assert attempt is not None, row
            doubted_at = attempt["in_doubt_at"]
            assert doubted_at is None or row["at_ms"] <= doubted_at.timestamp() * 1000, row

    async def _is_quiet(self) -> bool:
        held = sum(state.held_nano_usd for state in await self.authority.budgets())
        totals = await self.store.attempts.totals()
        generating = any(row["state"] == "open" for row in await self.invoice())
        is_open = (await self.authority.epoch_state()).open
        return is_open and not held and not totals.pending and not generating

    async def _temporal_run_id(self, run_id: str) -> str:
        description = await self.client.get_workflow_handle(run_id).describe()
        return str(description.run_id)


async def until(condition: Callable[[], Awaitable[T | None]], seconds: float = 20.0) -> T:
    """Ask until the answer is true and return it; a server that cannot be asked is no answer."""
    deadline = time.monotonic() + seconds
    trouble: Exception | None = None
    while True:
        try:
            if answer := await condition():
                return answer
        except (CurbError, RPCError, httpx.HTTPError) as error:
            trouble = error
        assert time.monotonic() < deadline, f"{condition} did not become true ({trouble})"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def open_scene(directory: Path, *, workers: int = 0) -> AsyncIterator[Scene]:
    """All servers, on free ports, and this many workers."""
    root = directory / "root"
    root.mkdir(parents=True)
    for name in ("notes", "more"):
        (root / f"{name}.txt").write_text("curb keeps agents affordable.\n")
    async with contextlib.AsyncExitStack() as exits:
        stack = await exits.enter_async_context(Stack(directory / "stack", ports=FREE_PORTS))
        migrate(stack.database_url)
        provider_gate = Gate(stack.simulator_url.removeprefix("http://"))
        temporal_gate = Gate(stack.temporal_address)
        for gate in (provider_gate, temporal_gate):
            await gate.open()
            exits.push_async_callback(gate.close)
        store = await exits.enter_async_context(await Store.connect(stack.database_url))
        authority = await Authority.connect(
            stack.redis_url, process_id="test", config=gateway_config(stack.simulator_url)
        )
        exits.push_async_callback(authority.close)
        client = await connect(stack.temporal_address)
        scene = Scene(stack, root, client, store, authority, provider_gate, temporal_gate)
        exits.push_async_callback(scene.dismiss_workers)
        for _ in range(workers):
            await scene.start_worker()
        yield scene


def ids(rows: Sequence[Row]) -> list[str]:
    """The attempts that these rows of the invoice are for."""
    return [row["client_request_id"] for row in rows]
