"""The upkeep that every process shares, beside whatever it is there for.

The drainer (outbox to ledger), the rebuilder (epochs), the monitor (switches, lapsed holds), the
gauges of the outbox, and /metrics. Each of them may run in many processes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

import structlog
from prometheus_client import start_http_server

from gateway.agents import Agent
from gateway.errors import CurbError, PortTaken
from gateway.state.monitor import Monitor
from worker.config import Config
from worker.settings import Settings
from worker.wiring import Parts

Work = Callable[[], Coroutine[Any, Any, None]]
log = structlog.get_logger(__name__)

_LAST_EVENTS_SECONDS = 5.0


@contextlib.asynccontextmanager
async def upkeep(
    parts: Parts, names: tuple[str, ...], more: Mapping[str, Work] | None = None
) -> AsyncIterator[None]:
    """Run the upkeep beside the block, and more parts of it by name. The budgets are open when the block
    begins. names: of the switches that are watched."""
    drainer = _task(parts.drainer.run, "drainer")
    tasks = [drainer, _task(parts.rebuilder.run, "rebuilder")]
    try:
        await parts.rebuilder.until_open()
        tasks += [
            _task(Monitor(parts.authority, lambda: names).run, "monitor"),
            _task(lambda: every(1.0, _Lag(parts).measure, "lag"), "lag"),
            *(_task(work, name) for name, work in (more or {}).items()),
        ]
        yield
    finally:
        await parts.gateway.close()
        parts.drainer.stop()
        await asyncio.wait([drainer], timeout=_LAST_EVENTS_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def switch_names(config: Config, agents: Mapping[str, Agent]) -> tuple[str, ...]:
    """Every switch that concerns something configured here."""
    return (
        "kill:global",
        *(f"{kind}:agent:{name}" for name in agents for kind in ("kill", "throttle")),
        *(f"kill:provider:{name}" for name in config.gateway.providers),
        *(f"kill:model:{name}" for name in config.gateway.deployments),
    )


def _task(work: Work, name: str) -> asyncio.Task[None]:
    return asyncio.create_task(kept_up(work, name), name=f"curb-{name}")


async def kept_up(work: Work, name: str, *, pause_seconds: float = 1.0) -> None:
    """Do a part of the upkeep until it ends by itself, and again when it stumbles over what nobody foresaw:
    without it admission closes, or what must stop does not.
    """
    while True:
        try:
            return await work()
        except Exception as error:
            log.error("upkeep failed, and begins again", part=name, exc_info=error)
        await asyncio.sleep(pause_seconds)


async def every(seconds: float, work: Callable[[], Awaitable[object]], name: str) -> None:
    """Do something again and again until cancelled; what fails is logged and tried again."""
    while True:
        try:
            await work()
        except CurbError as error:
            log.warning(f"{name} failed", error=str(error))
        await asyncio.sleep(seconds)


class _Lag:
    """Keeps the gauges of the outbox."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def measure(self) -> None:
        lag = await self._parts.drainer.lag()
        self._parts.metrics.outbox_length.set(lag.entries)
        self._parts.metrics.outbox_lag_seconds.set(lag.oldest_age_ms / 1000)


@contextlib.asynccontextmanager
async def metrics(settings: Settings, parts: Parts) -> AsyncIterator[None]:
    """Serve /metrics on loopback (or where the settings say) beside the block, in a thread of its own."""
    if not settings.metrics_port:
        yield
        return
    try:
        server, thread = start_http_server(
            settings.metrics_port, addr=settings.metrics_host, registry=parts.metrics.registry
        )
    except OSError as error:
        raise PortTaken(
            f"CURB_METRICS_PORT {settings.metrics_port}: {error.strerror}; choose another port, or 0 for none"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
