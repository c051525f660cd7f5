"""Memory of a worker process: idle, and with runs that wait."""

import asyncio
import time
from collections.abc import Sequence

import psutil
from redis.asyncio import Redis

from bench.report import Figure
from bench.world import World, worker, world
from gateway.store import Store

_MEGABYTE = 1_000_000
_IDLE_SECONDS = 5.0


async def measure(quick: bool) -> Sequence[Figure]:
    """Resident megabytes, and those that are the process's own (USS), with every role in one process."""
    waiting = 20 if quick else 100
    async with world() as here, Redis.from_url(here.stack.redis_url) as redis, worker(here) as process:
        await asyncio.sleep(_IDLE_SECONDS)
        idle, own = _memory(process)
        cpu = await _idle_cpu(process)
        await here.finished("steps-10")
        await asyncio.sleep(_IDLE_SECONDS)
        before, own_before = _memory(process)
        await redis.set("kill:agent:steps-10", "bench")
        for _ in range(waiting):
            await here.start("steps-10")
        await _until_waiting(here, waiting)
        await asyncio.sleep(_IDLE_SECONDS)
        after, own_after = _memory(process)
    return [
        Figure("worker, idle", idle, "MB", at_most=200),
        Figure("worker, idle, its own", own, "MB"),
        Figure("worker, idle, CPU", cpu, "% of one"),
        Figure("worker after 10 steps", before, "MB", at_most=200),
        Figure(f"{waiting} runs that wait", after - before, "MB more"),
        Figure("100 runs that wait, its own", (own_after - own_before) * 100 / waiting, "MB more"),
    ]


def _memory(process: psutil.Process) -> tuple[float, float]:
    found = process.memory_full_info()
    return found.rss / _MEGABYTE, found.uss / _MEGABYTE


async def _idle_cpu(process: psutil.Process) -> float:
    """Percent of one CPU that a worker with nothing to do takes."""
    before, started = process.cpu_times(), time.monotonic()
    await asyncio.sleep(_IDLE_SECONDS)
    after, seconds = process.cpu_times(), time.monotonic() - started
    return (after.user + after.system - before.user - before.system) * 100 / seconds


async def _until_waiting(here: World, count: int) -> None:
    """Wait until so many runs are paused by the switch."""
    async with asyncio.timeout(60), await Store.connect(here.stack.database_url) as store:
        while len(await store.runs.list(status="paused", limit=count)) < count:
            await asyncio.sleep(0.2)
