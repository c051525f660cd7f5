"""How fast calls are cut and runs closed, on calls that would hang for ever.

A cut: a plain SET of kill:agent:X over the Redis wire, until the caller has its refusal with the
attempt booked, and until the provider has noticed that nobody listens (its invoice says when).
A close: the kill signal, until Temporal says that the workflow is over.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence

import httpx
from redis.asyncio import Redis

from bench.report import Figure, percentile
from bench.world import HANGING, WATCHED, Handle, World, worker, world
from gateway.calls import Call, Caller, Message, ModelRequest, Text
from gateway.gateway import Gateway
from gateway.policy.refusals import Refusal, RefusalKind
from worker.wiring import open_parts

_CUTS, _CLOSES, _AT_ONCE = 200, 100, 10


async def measure(quick: bool) -> Sequence[Figure]:
    """Percentiles in milliseconds."""
    share = 5 if quick else 1
    async with world() as here:
        async with _gateway(here) as gateway, Redis.from_url(here.stack.redis_url) as redis:
            cuts = await _cuts(here, gateway, redis, _CUTS // share)
        async with worker(here):
            await here.finished("steps-1")
            closed = await _closes(here, _CLOSES // share)
    ended, noticed = [cut[0] for cut in cuts], [cut[1] for cut in cuts]
    return [
        Figure("calls in flight cut", len(cuts)),
        Figure("switch set -> call ended and booked, p50", percentile(ended, 50), "ms"),
        Figure("switch set -> call ended and booked, p99", percentile(ended, 99), "ms", at_most=250),
        Figure("switch set -> provider sees the cut, p50", percentile(noticed, 50), "ms"),
        Figure("switch set -> provider sees the cut, p99", percentile(noticed, 99), "ms", at_most=250),
        Figure("switch set -> provider sees the cut, worst", max(noticed), "ms"),
        Figure("runs closed by a kill signal", len(closed)),
        Figure("kill signal -> run closed, p50", percentile(closed, 50), "ms"),
        Figure("kill signal -> run closed, p99", percentile(closed, 99), "ms", at_most=1000),
    ]


async def _cuts(here: World, gateway: Gateway, redis: Redis, count: int) -> list[tuple[float, float]]:
    """For each cut, milliseconds until the call ended and until the provider noticed."""
    took: list[tuple[float, float]] = []
    async with httpx.AsyncClient() as http:
        for first in range(0, count, WATCHED):
            agents = range(min(WATCHED, count - first))
            took += await asyncio.gather(
                *(_cut(here, gateway, redis, http, f"hanging-{n}", f"cut:{first + n}") for n in agents)
            )
    return took


async def _cut(
    here: World, gateway: Gateway, redis: Redis, http: httpx.AsyncClient, agent: str, key: str
) -> tuple[float, float]:
    call = asyncio.create_task(gateway.complete(_call(agent, key)))
    try:
        await _until_open(here, http, key)
        await asyncio.sleep(random.uniform(0, 0.5))  # anywhere in the watcher's round
        started, started_ms = time.perf_counter(), time.time() * 1000
        await redis.set(f"kill:agent:{agent}", "bench")
        outcome = await call
        ended = (time.perf_counter() - started) * 1000
    finally:
        call.cancel()
        await redis.delete(f"kill:agent:{agent}")
    if not isinstance(outcome, Refusal) or outcome.kind is not RefusalKind.SWITCHED:
        raise SystemExit(f"bench: not cut: {outcome}")
    return ended, await _until_final(here, http, key) - started_ms


def _call(agent: str, key: str) -> Call:
    words = Message(role="user", parts=(Text(text="Say something."),))
    return Call(
        key=key,
        caller=Caller(agent=agent),
        request=ModelRequest(messages=(words,), max_output_tokens=100),
        tier=f"openai/{HANGING}",
    )


async def _until_open(here: World, http: httpx.AsyncClient, key: str) -> None:
    async with asyncio.timeout(20):
        while await _row(here, http, key) is None:
            await asyncio.sleep(0.1)


async def _until_final(here: World, http: httpx.AsyncClient, key: str) -> float:
    """When the provider closed the row of this call, in Unix milliseconds."""
    async with asyncio.timeout(20):
        while (row := await _row(here, http, key)) is None or row["done_ms"] is None:
            await asyncio.sleep(0.1)
    return float(str(row["done_ms"]))


async def _row(here: World, http: httpx.AsyncClient, key: str) -> dict[str, object] | None:
    since_ms = int(time.time() * 1000) - 30_000
    answer = await http.get(f"{here.stack.simulator_url}/invoice", params={"since_ms": since_ms})
    rows: list[dict[str, object]] = answer.json()["rows"]
    return next((row for row in rows if row["client_request_id"] == f"{key}#1"), None)


async def _closes(here: World, count: int) -> list[float]:
    """Milliseconds from each kill signal to the end of its run, ten runs at a time."""
    took: list[float] = []
    for _ in range(count // _AT_ONCE):
        handles = await asyncio.gather(*(here.start(f"hanging-{n}") for n in range(_AT_ONCE)))
        await asyncio.gather(*map(_until_asking, handles))
        took += await asyncio.gather(*map(_close, handles))
    return took


async def _close(handle: Handle) -> float:
    await asyncio.sleep(random.uniform(0, 0.5))
    started = time.perf_counter()
    await handle.signal("kill", "bench")
    result = await handle.result()
    took = (time.perf_counter() - started) * 1000
    if result.status != "killed":
        raise SystemExit(f"bench: not killed: {result}")
    return took


async def _until_asking(handle: Handle) -> None:
    """Wait until the run's model call is in a worker's hands."""
    async with asyncio.timeout(30):
        while True:
            pending = (await handle.describe()).raw_description.pending_activities
            if any(p.activity_type.name == "call_model" and p.state == 2 for p in pending):
                return
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def _gateway(here: World) -> AsyncIterator[Gateway]:
    """A gateway with its upkeep in this process."""
    async with open_parts(here.config.gateway, here.servers) as parts:
        upkeep = [asyncio.create_task(part.run()) for part in (parts.rebuilder, parts.drainer)]
        try:
            await parts.rebuilder.until_open()
            yield parts.gateway
        finally:
            for task in upkeep:
                task.cancel()
            await asyncio.gather(*upkeep, return_exceptions=True)
