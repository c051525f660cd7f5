"""The gateways that benches put under load, each a process of its own before a provider that answers at once.

curb's has everything on: a key with budgets, agent, team, rate limits, breaker, ledger.
"""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.asking import Asking
from gateway.config import GatewayConfig
from gateway.policy.money import usd
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.keys import Key
from gateway.store.migrate import migrate
from gateway.tokens import new_key_id
from worker.config import load_config
from worker.keys import KeyDesk
from worker.settings import Settings
from worker.stack import FREE_PORTS, Stack
from worker.stack.kinds import tail
from worker.stack.ports import free_port

_READY_SECONDS = 90.0
_END_SECONDS = 20.0
_CURB = """\
providers:
  bench: {{family: openai, base_url: "http://127.0.0.1:{provider_port}/v1"}}
deployments:
  bench/fast: {{provider: bench, model: gpt-5-mini, ceiling: 0.01}}
tiers:
  quick: {{deployments: [bench/fast], daily_budget: 1000000}}
rate_limits:
  tiers: {{enterprise: 100000/s}}
"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """One that runs. port, headers: how it is asked; beside: servers that it needs."""

    name: str
    asking: Asking
    process: psutil.Process
    beside: Sequence[psutil.Process] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """How a gateway is started, and asked. environment: beside this process's own, without curb's."""

    name: str
    command: Sequence[str | Path]
    port: int
    directory: Path
    headers: Mapping[str, str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Door:
    """curb's, with its servers. free_token: of a key that may say which agent calls. environment: its own."""

    gateway: Gateway
    stack: Stack
    place: Path
    port: int
    free_token: str
    environment: Mapping[str, str]


@contextlib.asynccontextmanager
async def running(
    program: Program, beside: Sequence[psutil.Process] = (), headers: Mapping[str, str] | None = None
) -> AsyncIterator[Gateway]:
    """The gateway while the block runs, from its first right answer on. SystemExit where it gives none.

    In a session of its own, so that Ctrl-C reaches nobody but the bench, which ends it.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("CURB_")}
    log = program.directory / f"{program.name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *program.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            cwd=program.directory,
            env={**own, **program.environment},
            start_new_session=True,
        )
    try:
        asking = Asking(program.port, headers or program.headers)
        if not await _answers(process, asking):
            raise SystemExit(f"bench: {program.name} does not answer; {log} ends:\n{tail(log)}")
        yield Gateway(program.name, asking, psutil.Process(process.pid), beside)
    finally:
        await _end(process)


async def _answers(process: asyncio.subprocess.Process, asking: Asking) -> bool:
    answered = asyncio.create_task(asking.until_answered(_READY_SECONDS))
    ended = asyncio.create_task(process.wait())
    try:
        await asyncio.wait({answered, ended}, return_when=asyncio.FIRST_COMPLETED)
        return answered.done() and answered.exception() is None
    finally:
        answered.cancel()
        ended.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@contextlib.asynccontextmanager
async def upstream() -> AsyncIterator[tuple[int, Gateway]]:
    """The provider itself, asked without anything between: its port, and how it is asked."""
    with tempfile.TemporaryDirectory(prefix="curb-bench-") as scratch:
        port = free_port()
        command = (sys.executable, "-m", "bench.upstream", str(port))
        here = {"PYTHONPATH": str(Path(__file__).parent.parent)}
        async with running(Program("direct", command, port, Path(scratch), {}, here)) as gateway:
            yield port, gateway


@contextlib.asynccontextmanager
async def curb(provider_port: int) -> AsyncIterator[Gateway]:
    """`curb gateway`, on servers of its own."""
    async with opened(provider_port) as door:
        yield door.gateway


@contextlib.asynccontextmanager
async def opened(
    provider_port: int,
    environment: Mapping[str, str] | None = None,
    *,
    servers: Sequence[str] = ("valkey", "postgres"),
) -> AsyncIterator[Door]:
    """The same with all that is known of it. environment: more settings."""
    with tempfile.TemporaryDirectory(prefix="curb-bench-", ignore_cleanup_errors=True) as scratch:
        place = Path(scratch)
        config = place / "curb.yaml"
        config.write_text(_CURB.format(provider_port=provider_port))
        async with Stack(place / "stack", servers=servers, ports=FREE_PORTS) as stack:
            await asyncio.to_thread(migrate, stack.database_url)
            given = load_config(config).gateway
            token, free_token = [await _key(stack, given, agent) for agent in ("bench", "")]
            own = {
                "CURB_REDIS_URL": stack.redis_url,
                "CURB_DATABASE_URL": stack.database_url,
                "CURB_METRICS_PORT": "0",
                "CURB_SHUTDOWN_SECONDS": "5",
                **(environment or {}),
            }
            beside = [psutil.Process(stack.server(name).pid) for name in ("valkey", "postgres")]
            program = _curb(token, place, own)
            async with running(program, beside) as gateway:
                yield Door(gateway, stack, place, program.port, free_token, own)


def _curb(token: str, place: Path, environment: Mapping[str, str]) -> Program:
    port = free_port()
    return Program(
        "curb",
        (sys.executable, "-m", "worker.cli", "gateway", "--config", "curb.yaml", "--port", str(port)),
        port,
        place,
        {"authorization": f"Bearer {token}"},
        environment,
    )


async def _key(stack: Stack, config: GatewayConfig, agent: str) -> str:
    """A key with budgets of its own, bound to a team and, where one is given, to an agent."""
    async with await Store.connect(stack.database_url) as store:
        authority = await Authority.connect(stack.redis_url, process_id="bench", config=config)
        try:
            desk = await KeyDesk.open(store, authority, Settings(), by="bench")
            name = agent or "free"
            key = Key(new_key_id(), name, agent=agent, team="bench", rate_tier="enterprise")
            issued = await desk.create(key, daily=usd(1_000), monthly=usd(10_000))
        finally:
            await authority.close()
    return issued.token.text
