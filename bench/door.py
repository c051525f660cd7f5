"""The front door: what it adds to a call, and how many calls one process carries.

One gateway process with everything on (keys, budgets, ledger) before a provider that answers at once;
beside it the same requests straight to that provider. A client asks again as soon as it has its answer.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil

from bench.report import Figure, percentile
from bench.upstream import PIECES
from bench.world import cpu_seconds
from gateway.config import Deployment, GatewayConfig, Provider, Tier
from gateway.policy.money import usd
from gateway.policy.rate_limits import SECOND_MS, Rate, RateLimits
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.keys import Key
from gateway.store.migrate import migrate
from gateway.tokens import new_key_id
from worker.config import Config
from worker.keys import KeyDesk
from worker.settings import Settings
from worker.stack import FREE_PORTS, Stack

LITELLM_PER_SECOND = 90  # measured on this machine before, at 16 clients


async def measure(quick: bool) -> Sequence[Figure]:
    """Milliseconds added at 1 client; requests a second at 16 and at 64; the same for streams."""
    seconds = 2.0 if quick else 8.0
    async with _upstream() as provider, _gateway(provider) as (door, token, process):
        ask = _Asking(door, token)
        plain = _Asking(provider, token)
        await ask.clients(16, 1.0)
        direct = await plain.clients(1, seconds / 2)
        figures = _latency("1 client", direct, await ask.clients(1, seconds))
        direct = await plain.clients(1, seconds / 2, stream=True)
        through = await ask.clients(1, seconds / 2, stream=True)
        figures += _latency(f"1 client, stream of {PIECES} pieces", direct, through)
        for clients, aim in ((16, LITELLM_PER_SECOND * 12), (64, None)):
            figures += await _throughput(ask, process, clients, seconds, aim)
        figures += await _throughput(ask, process, 16, seconds, None, stream=True)
        figures.append(Figure("resident memory", process.memory_info().rss / 1e6, "MB"))
    return figures


async def _throughput(
    ask: "_Asking",
    process: psutil.Process,
    clients: int,
    seconds: float,
    aim: float | None,
    *,
    stream: bool = False,
) -> list[Figure]:
    before = cpu_seconds(process)
    took = await ask.clients(clients, seconds, stream=stream)
    cpu = (cpu_seconds(process) - before) * 1_000 / len(took)
    what = f"{clients} clients{', streams' if stream else ''}"
    return [
        Figure(what, len(took) / seconds, "requests/s", at_least=aim),
        Figure(f"{what}, p50", percentile(took, 50) * 1_000, "ms"),
        Figure(f"{what}, p99", percentile(took, 99) * 1_000, "ms"),
        Figure(f"{what}, CPU of the gateway process", cpu, "ms/request"),
    ]


def _latency(what: str, direct: Sequence[float], through: Sequence[float]) -> list[Figure]:
    straight, whole = percentile(direct, 50) * 1_000, percentile(through, 50) * 1_000
    return [
        Figure(f"{what}, p50 straight to the provider", straight, "ms"),
        Figure(f"{what}, p50", whole, "ms"),
        Figure(f"{what}, p50 added", whole - straight, "ms", at_most=2.0),
        Figure(f"{what}, p99", percentile(through, 99) * 1_000, "ms"),
    ]


class _Asking:
    """Asks one server, over bare connections: a client of libraries would cost more than what is measured."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._requests = {stream: _request(token, stream=stream) for stream in (False, True)}

    async def clients(self, many: int, seconds: float, *, stream: bool = False) -> list[float]:
        """Ask with so many clients at once; seconds that each request took."""
        until = time.perf_counter() + seconds
        took = await asyncio.gather(*(self._client(until, stream) for _ in range(many)))
        return [each for one in took for each in one]

    async def _client(self, until: float, stream: bool) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        took, request = [], self._requests[stream]
        try:
            while (started := time.perf_counter()) < until:
                writer.write(request)
                await _answer(reader, stream=stream)
                took.append(time.perf_counter() - started)
        finally:
            writer.close()
        return took


async def _answer(reader: asyncio.StreamReader, *, stream: bool) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise SystemExit(f"bench: {head.decode()}")
    if stream:
        await reader.readuntil(b"\r\n0\r\n\r\n")
    else:
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))


def _request(token: str, *, stream: bool) -> bytes:
    said = {"role": "user", "content": "Say something that is neither long nor short, please."}
    body = json.dumps(
        {"model": "quick", "messages": [said], "max_tokens": 100, "stream": stream}, separators=(",", ":")
    ).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def configuration(provider_port: int) -> Config:
    """One model, at a provider that is not far."""
    deployment = Deployment("bench/fast", "bench", "gpt-5-mini", ceiling_nano_usd_per_mtok=usd("0.01"))
    gateway = GatewayConfig(
        providers={"bench": Provider("bench", "openai", f"http://127.0.0.1:{provider_port}/v1")},
        deployments={deployment.name: deployment},
        tiers=(Tier("quick", (deployment.name,), usd(1_000_000)),),
        rate_limits=RateLimits(tiers={"enterprise": Rate(100_000, SECOND_MS)}),
    )
    return Config(gateway=gateway, agents={}, limits={})


@contextlib.asynccontextmanager
async def _upstream() -> AsyncIterator[int]:
    async with _process("bench.upstream") as (_, said):
        yield int(said)


@contextlib.asynccontextmanager
async def _gateway(provider_port: int) -> AsyncIterator[tuple[int, str, psutil.Process]]:
    """A gateway process on servers of its own: its port, a key's token, the process."""
    with tempfile.TemporaryDirectory(prefix="curb-bench-", ignore_cleanup_errors=True) as scratch:
        async with Stack(Path(scratch), servers=["valkey", "postgres"], ports=FREE_PORTS) as stack:
            await asyncio.to_thread(migrate, stack.database_url)
            arguments = (stack.redis_url, stack.database_url, str(provider_port))
            async with _process("bench.worker", "door", *arguments) as (process, said):
                token = await _key(stack, configuration(provider_port).gateway)
                yield int(said.rpartition(":")[2]), token, process


async def _key(stack: Stack, config: GatewayConfig) -> str:
    """A key with budgets of its own, bound to an agent and a team."""
    async with await Store.connect(stack.database_url) as store:
        authority = await Authority.connect(stack.redis_url, process_id="bench", config=config)
        desk = await KeyDesk.open(store, authority, Settings(), by="bench")
        key = Key(new_key_id(), "bench", agent="bench", team="bench", rate_tier="enterprise")
        issued = await desk.create(key, daily=usd(1_000), monthly=usd(10_000))
        await authority.close()
    await asyncio.sleep(1)  # until every process has heard of it
    return issued.token.text


@contextlib.asynccontextmanager
async def _process(module: str, *arguments: str) -> AsyncIterator[tuple[psutil.Process, str]]:
    """A process of ours while the block runs, and the first line that it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments), stdout=asyncio.subprocess.PIPE, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            said = (await process.stdout.readline()).decode().strip()
        yield psutil.Process(process.pid), said
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
