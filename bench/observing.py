"""What it costs to be looked at: the front door with everything that observes it, and without.

Two houses of `curb gateway` and `curb worker` on servers of their own, under the same load in turns. One is
scraped every second, door and worker, and tells every call to a collector of traces; the other is left alone.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import httpx
import psutil

from bench.asking import Asking, Heard
from bench.gateways import Door, Program, opened, running, upstream
from bench.report import Figure, percentile
from bench.world import median
from worker.stack.ports import free_port

AGENTS = 1_000
_CLIENTS = 16
_ROUNDS = 4
_SCRAPES = 5
_FRESH_SECONDS = 5.5  # a scrape asks Redis and Postgres anew after five
_CAUGHT_UP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class House:
    """One of the two. metrics: the addresses that are scraped."""

    door: Door
    metrics: Sequence[str] = ()


async def measure(quick: bool) -> Sequence[Figure]:
    """Requests a second with and without, and how long a scrape takes when a thousand agents have called."""
    seconds, rounds = (2.0, 1) if quick else (5.0, _ROUNDS)
    async with upstream() as (port, _), _collector() as (collector, spans):
        seen_by = {"CURB_OTLP_ENDPOINT": collector}
        async with _house(port, {}, scraped=False) as alone, _house(port, seen_by, scraped=True) as seen:
            for house in (alone, seen):
                await house.door.gateway.asking.clients(_CLIENTS, 1.0)
            await spans.until_some(seen.door.gateway.asking)
            pairs = [await _round(alone, seen, seconds, number, spans) for number in range(rounds)]
            ratio = median([on.per_second / off.per_second for off, on in pairs])
            return [
                Figure("left alone", median([off.per_second for off, _ in pairs]), "requests/s"),
                Figure("observed", median([on.per_second for _, on in pairs]), "requests/s"),
                Figure("observed / left alone", ratio, "x", at_least=0.9),
                Figure("spans told", float(await spans.count()), "spans"),
                *await _scrapes(seen, 1 if quick else _SCRAPES),
            ]


async def _round(
    alone: House, seen: House, seconds: float, number: int, spans: "_Spans"
) -> tuple[Heard, Heard]:
    """One turn each; who begins changes. What is still being told is waited for, and disturbs nobody."""

    async def left_alone() -> Heard:
        return await alone.door.gateway.asking.clients(_CLIENTS, seconds)

    async def observed() -> Heard:
        async with _scraping(seen.metrics):
            return await seen.door.gateway.asking.clients(_CLIENTS, seconds)

    if number % 2:
        on = await observed()
        await spans.until_quiet()
        return await left_alone(), on
    off = await left_alone()
    on = await observed()
    await spans.until_quiet()
    return off, on


async def _scrapes(house: House, many: int) -> list[Figure]:
    """The door's own page, after a thousand agents."""
    await _agents_call(house.door)
    anew: list[float] = []
    again: list[float] = []
    size = 0
    async with httpx.AsyncClient(timeout=30) as client:
        for _ in range(many):
            await asyncio.sleep(_FRESH_SECONDS)
            for times in (anew, again):
                started = time.perf_counter()
                size = len((await client.get(house.metrics[0])).content)
                times.append((time.perf_counter() - started) * 1_000)
    what = f"scrape, {AGENTS:,} agents"
    return [
        Figure(f"{what}, p50", percentile(anew, 50), "ms", at_most=200),
        Figure(f"{what}, longest", max(anew), "ms"),
        Figure(f"{what}, within five seconds of another, p50", percentile(again, 50), "ms"),
        Figure(f"{what}, size", size / 1_000, "kB"),
    ]


async def _agents_call(door: Door) -> None:
    token = {"authorization": f"Bearer {door.free_token}"}
    for number in range(AGENTS):
        await Asking(door.port, {**token, "x-curb-agent": f"agent-{number}"}).clients(1, 0.001)


@contextlib.asynccontextmanager
async def _house(provider_port: int, seen_by: Mapping[str, str], *, scraped: bool) -> AsyncIterator[House]:
    ports = [free_port(), free_port()] if scraped else [0, 0]
    servers = ("valkey", "postgres", "temporal")
    async with opened(
        provider_port, {**seen_by, "CURB_METRICS_PORT": str(ports[0])}, servers=servers
    ) as door:
        own = {**door.environment, "CURB_METRICS_PORT": str(ports[1])}
        async with _worker(door, own):
            yield House(door, [f"http://127.0.0.1:{port}/metrics" for port in ports] if scraped else ())


@contextlib.asynccontextmanager
async def _worker(door: Door, environment: Mapping[str, str]) -> AsyncIterator[psutil.Process]:
    command = (sys.executable, "-m", "worker.cli", "worker", "--config", "curb.yaml")
    place = {**environment, "CURB_TEMPORAL_ADDRESS": door.stack.temporal_address}
    program = Program("worker", command, door.port, door.place, {}, place)
    async with running(program, headers=door.gateway.asking.headers) as worker:
        yield worker.process


class _Spans:
    """How many spans the collector has."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def count(self) -> int:
        async with httpx.AsyncClient() as client:
            return int((await client.get(f"{self._url}/spans")).json())

    async def until_some(self, asking: Asking) -> None:
        """Call until the first ones come: then the worker is at it. Raises TimeoutError."""
        async with asyncio.timeout(_CAUGHT_UP_SECONDS):
            while not await self.count():
                await asking.clients(1, 0.1)
                await asyncio.sleep(0.5)
        await self.until_quiet()

    async def until_quiet(self) -> None:
        """Wait until nothing more comes, a minute at most."""
        deadline = time.monotonic() + _CAUGHT_UP_SECONDS
        before = -1
        while (now := await self.count()) != before and time.monotonic() < deadline:
            before = now
            await asyncio.sleep(6.0)  # it is looked for something to tell every five


@contextlib.asynccontextmanager
async def _collector() -> AsyncIterator[tuple[str, _Spans]]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.collector", str(port))
    url = f"http://127.0.0.1:{port}"
    spans = _Spans(url)
    try:
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    await spans.count()
                    break
                await asyncio.sleep(0.1)
        yield url, spans
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def _scraping(addresses: Sequence[str]) -> AsyncIterator[None]:
    """Ask each of them once a second while the block runs."""

    async def scrape() -> None:
        async with httpx.AsyncClient(timeout=10) as client:
            while True:
                for address in addresses:
                    await client.get(address)
                await asyncio.sleep(1.0)

    task = asyncio.create_task(scrape())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
