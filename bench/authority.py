"""How fast the budget authority decides: admit and settle over 8 scopes, each counted as one decision.

Beside it, over the same connections, what Redis and its client can do at all: PING, and a script
that does nothing. A client decides again as soon as it has its answer; the steady rate has a timetable.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import psutil

from bench.report import Figure, percentile
from bench.world import cpu_seconds, median
from gateway.calls import Settlement
from gateway.config import GatewayConfig, Velocity
from gateway.events import Opened
from gateway.policy.money import usd
from gateway.policy.refusals import Refusal
from gateway.policy.scopes import BudgetLine, Period, Scope, ScopeKind, Window
from gateway.state.authority import Ask, Authority, EpochSnapshot
from gateway.state.connection import Connection
from worker.stack import FREE_PORTS, Stack

LIMIT = usd(1_000_000)
STEADY_PER_SECOND = 2_000
DAY_MS = 86_400_000
Decide = Callable[[int, str], Awaitable[tuple[float, ...]]]


async def measure(quick: bool) -> Sequence[Figure]:
    """Decisions a second and milliseconds at 1 client, at 50, and at a steady rate."""
    seconds = 2.0 if quick else 8.0
    async with _valkey() as (url, server), _authority(url) as authority:
        drain = asyncio.create_task(_drain(authority))
        decide, ping, nothing = _decider(authority), _pinger(authority), _scripter(authority)
        await _clients(decide, 1, 0.5)
        figures = [
            *_rates("PING, 1 client", await _clients(ping, 1, seconds / 4)),
            *_rates("decisions, 1 client", await _clients(decide, 1, seconds)),
        ]
        pings = await _clients(ping, 50, seconds / 2)
        scripts = await _clients(nothing, 50, seconds / 2)
        before = _cpu(server)
        decisions = await _clients(decide, 50, seconds)
        client_us, server_us = (
            (after - then) * 1_000_000 / len(decisions[0])
            for after, then in zip(_cpu(server), before, strict=True)
        )
        steady = await _steady(decide, STEADY_PER_SECOND, seconds)
        steady_pings = await _steady(ping, STEADY_PER_SECOND, seconds)
        drain.cancel()
        await asyncio.gather(drain, return_exceptions=True)
    figures += [
        *_rates("PING, 50 clients", pings),
        *_rates("script that does nothing, 50 clients", scripts),
        *_rates("decisions, 50 clients", decisions, at_least=5_000),
        Figure("decisions / PING, 50 clients", _per_second(decisions) / _per_second(pings), "x"),
        Figure("decisions / empty script, 50 clients", _per_second(decisions) / _per_second(scripts), "x"),
        Figure("CPU of the client's process", client_us, "us/decision"),
        Figure("CPU of Valkey", server_us, "us/decision"),
        *_rates(f"PING, {STEADY_PER_SECOND}/s asked for", steady_pings),
        *_rates(f"decisions, {STEADY_PER_SECOND}/s asked for", steady, p99_at_most=5.0),
        Figure(
            f"decisions, {STEADY_PER_SECOND}/s asked for, p99 of the median tenth",
            median([percentile(tenth, 99) for tenth in _tenths(steady[0])]) * 1000,
            "ms",
        ),
    ]
    return figures


def _tenths(taken: Sequence[float]) -> list[Sequence[float]]:
    """In the order in which they were taken: what a neighbour on the machine did is in some of them."""
    size = len(taken) // 10
    return [taken[size * n : size * (n + 1)] for n in range(10)]


def _decider(authority: Authority) -> Decide:
    async def decide(number: int, key: str) -> tuple[float, ...]:
        return await _decide(authority, number, key)

    return decide


def _pinger(authority: Authority) -> Decide:
    connection = _connection(authority)

    async def ping(number: int, key: str) -> tuple[float, ...]:
        started = time.perf_counter()
        await connection.call(connection.redis.ping)
        between = time.perf_counter()
        await connection.call(connection.redis.ping)
        return between - started, time.perf_counter() - between

    return ping


def _scripter(authority: Authority) -> Decide:
    connection = _connection(authority)

    async def script(number: int, key: str) -> tuple[float, ...]:
        started = time.perf_counter()
        await connection.call(lambda: connection.redis.eval("return 1", 0, key))
        return (time.perf_counter() - started,)

    return script


def _connection(authority: Authority) -> Connection:
    """The authority's own: the baseline shares its pool, its timeouts and its retries."""
    connection: Connection = authority._connection
    return connection


async def _clients(decide: Decide, clients: int, seconds: float) -> tuple[list[float], float]:
    """As fast as they can: how long each took, and how long they took together. In seconds."""
    taken: list[float] = []
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        call = 0
        while time.perf_counter() < end:
            call += 1
            taken.extend(await decide(number, f"c{clients}:{number}:{call}"))

    started = time.perf_counter()
    await asyncio.gather(*map(client, range(clients)))
    return taken, time.perf_counter() - started


async def _steady(decide: Decide, per_second: int, seconds: float) -> tuple[list[float], float]:
    """At a given rate of decisions, from 50 clients that keep to a timetable."""
    taken: list[float] = []
    clients = 50
    pairs = per_second / 2  # admit and settle; PINGs come in twos as well
    started = time.perf_counter()

    async def client(number: int) -> None:
        for call in range(int(pairs * seconds / clients)):
            due = started + (call * clients + number) / pairs
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            taken.extend(await decide(number, f"s:{number}:{call}"))

    await asyncio.gather(*map(client, range(clients)))
    return taken, time.perf_counter() - started


async def _decide(authority: Authority, number: int, call_key: str) -> tuple[float, ...]:
    """One admit and one settle; how long each took, in seconds."""
    start = time.perf_counter()
    answer = await authority.admit(Ask(_opened(number, call_key), _lines(number)))
    admitted = time.perf_counter()
    if isinstance(answer, Refusal):
        raise SystemExit(f"refused: {answer}")
    settlement = Settlement(
        attempt_id=answer.attempt_id,
        state="settled",
        cost_nano_usd=700,
        basis="usage",
        input_tokens=500,
        output_tokens=50,
        status="success",
    )
    ready = time.perf_counter()
    await authority.close_attempt(settlement)
    return admitted - start, time.perf_counter() - ready


async def _drain(authority: Authority) -> None:
    """Keeps the outbox and the memory short, as the drainer does."""
    while True:
        events = await authority.read_events("bench", 500, 100)
        await authority.ack_events([event.id for event in events])
        if events:
            authority.note_drained(events[-1].epoch, events[-1].seq)


def _opened(number: int, call_key: str) -> Opened:
    return Opened(
        attempt_id="", call_key=call_key, number=0, process_id="bench", agent=f"agent{number}", tier="quick",
        deployment="sim/steady", provider="sim", model="steady", asked_nano_usd=1_000, run_id=f"run{number}",
        team="core", user=f"user{number}", key_id="key", price_id="sim-1", max_output_tokens=1024,
    )  # fmt: skip


def _lines(number: int) -> tuple[BudgetLine, ...]:
    """Eight: run, agent day, tier day, team day and month, user day, global day and month."""
    day, month = _windows()
    run = (Window("run", 0, 0),)
    scopes = [
        (Scope(ScopeKind.RUN, f"run{number}"), Period.RUN, run),
        (Scope(ScopeKind.AGENT, f"agent{number}"), Period.DAY, day),
        (Scope(ScopeKind.TIER, "quick"), Period.DAY, day),
        (Scope(ScopeKind.TEAM, "core"), Period.DAY, day),
        (Scope(ScopeKind.TEAM, "core"), Period.MONTH, month),
        (Scope(ScopeKind.USER, f"user{number}"), Period.DAY, day),
        (Scope(ScopeKind.GLOBAL), Period.DAY, day),
        (Scope(ScopeKind.GLOBAL), Period.MONTH, month),
    ]
    return tuple(BudgetLine(scope, period, windows, LIMIT) for scope, period, windows in scopes)


def _windows() -> tuple[tuple[Window, ...], tuple[Window, ...]]:
    today = int(time.time() * 1000) // DAY_MS
    day = tuple(Window(f"day{n}", n * DAY_MS, (n + 1) * DAY_MS) for n in (today - 1, today, today + 1))
    month = tuple(
        Window(f"month{n}", (today + n * 30 - 15) * DAY_MS, (today + n * 30 + 15) * DAY_MS)
        for n in (-1, 0, 1)
    )
    return day, month


def _rates(
    name: str,
    measured: tuple[list[float], float],
    *,
    at_least: float | None = None,
    p99_at_most: float | None = None,
) -> list[Figure]:
    taken = [seconds * 1000 for seconds in measured[0]]
    return [
        Figure(name, _per_second(measured), "/s", at_least=at_least),
        Figure(f"{name}, p50", percentile(taken, 50), "ms"),
        Figure(f"{name}, p99", percentile(taken, 99), "ms", at_most=p99_at_most),
    ]


def _per_second(measured: tuple[list[float], float]) -> float:
    return len(measured[0]) / measured[1]


def _cpu(server: psutil.Process) -> tuple[float, float]:
    """CPU seconds of this process and of the server."""
    return time.process_time(), cpu_seconds(server)


@contextlib.asynccontextmanager
async def _valkey() -> AsyncIterator[tuple[str, psutil.Process]]:
    """A Valkey of our own as the stack runs it: appendonly, fsync every second."""
    with tempfile.TemporaryDirectory(prefix="curb-bench-") as scratch:
        async with Stack(Path(scratch), servers=("valkey",), ports=FREE_PORTS) as stack:
            yield stack.redis_url, psutil.Process(stack.server("valkey").pid)


@contextlib.asynccontextmanager
async def _authority(url: str) -> AsyncIterator[Authority]:
    velocity = Velocity(alert_nano_usd=LIMIT, pause_nano_usd=LIMIT, global_nano_usd=LIMIT)
    config = GatewayConfig({}, {}, (), velocity=velocity)
    authority = await Authority.connect(url, process_id="bench", config=config)
    await authority.open_epoch(EpochSnapshot(epoch=1))
    try:
        yield authority
    finally:
        await authority.close()
