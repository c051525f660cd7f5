"""One worker process: Temporal workers of the roles asked for, and the upkeep that every process shares.

Upkeep is the drainer (outbox to ledger), the rebuilder (epochs), the monitor (switches, lapsed
holds), the enforcer (runs that wait), the dispatcher (events that people are told of, in processes
that supervise) and /metrics. Each of them may run in many processes. Processes that supervise bring
Temporal's schedules to what curb.yaml wants when they start.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

import structlog
from prometheus_client import start_http_server
from temporalio.client import Client

from activities.channels import Channel
from activities.runs import RunActivities
from activities.toolbox import Toolbox
from gateway.agents import Agent
from gateway.errors import ConfigurationError
from gateway.state.monitor import Monitor
from worker.alerting import dispatcher
from worker.channels import open_channels
from worker.config import Config
from worker.enforcer import Enforcer, every
from worker.loading import load
from worker.settings import Settings
from worker.supervision import supervision
from worker.temporal import ROLES, build_workers, knows_search_attributes
from worker.temporal_schedules import keep_trying_to_apply
from worker.wiring import Parts, Servers, dependencies, open_parts

log = structlog.get_logger(__name__)

_LAST_EVENTS_SECONDS = 5.0


async def serve(
    client: Client,
    servers: Servers,
    settings: Settings,
    config: Config,
    *,
    stop: asyncio.Event,
    roles: Sequence[str] = ROLES,
    tools: Sequence[str] = (),
    workflows: Sequence[type] = (),
    supervise: bool = True,
    temporal_ui: str = "",
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Work until `stop` is set, then finish or settle what is in flight and leave.

    tools: modules or files whose tools, agents, workflows and activities are served too.
    workflows: more of the user's own. supervise: whether schedules are applied and alerts told.
    temporal_ui: what messages link to, '' where no UI is known.
    Raises ConfigurationError, StateUnavailable, StoreUnavailable when it cannot start.
    """
    async with (
        Toolbox() as toolbox,
        _channels(config, settings, roles) as channels,
        open_parts(config.gateway, servers) as parts,
    ):
        loaded = load(toolbox, tools, dict(config.agents))
        agents = loaded.agents
        for agent in agents.values():
            toolbox.check(agent)
        known = await knows_search_attributes(client)
        deps = dependencies(parts, toolbox, agents, search_attributes=known)
        workers = build_workers(
            client,
            deps,
            supervision(config, settings, client.namespace, temporal_ui, channels),
            roles=roles,
            workflows=(*workflows, *loaded.workflows),
            activities=loaded.activities,
            max_concurrent_calls=settings.max_concurrent_calls,
            graceful_seconds=settings.shutdown_seconds,
        )
        watches = supervise and "supervision" in roles
        async with (
            _upkeep(client, parts, RunActivities(deps), config, agents, watches=watches),
            _metrics(settings, parts),
        ):
            await asyncio.gather(*(worker.__aenter__() for worker in workers))
            log.info("worker ready", roles=list(roles), agents=sorted(agents), process_id=parts.process_id)
            if on_ready is not None:
                on_ready()
            await stop.wait()
            log.info("worker stopping", process_id=parts.process_id)
            await asyncio.gather(*(worker.shutdown() for worker in workers))


def _channels(
    config: Config, settings: Settings, roles: Sequence[str]
) -> contextlib.AbstractAsyncContextManager[Mapping[str, Channel]]:
    """The channels of a process that supervises; no other needs their secrets."""
    if "supervision" not in roles:
        return contextlib.nullcontext({})
    return open_channels(config.channels, settings)


@contextlib.asynccontextmanager
async def _upkeep(
    client: Client,
    parts: Parts,
    runs: RunActivities,
    config: Config,
    agents: dict[str, Agent],
    *,
    watches: bool,
) -> AsyncIterator[None]:
    """Run the upkeep beside the block. The budgets are open when the block begins."""
    names = switch_names(config, agents)
    drainer = _task(parts.drainer.run, "drainer")
    tasks = [drainer, _task(parts.rebuilder.run, "rebuilder")]
    try:
        await parts.rebuilder.until_open()
        enforcer = Enforcer(client, parts.authority, parts.store, runs, parts.process_id)
        tasks += [
            _task(Monitor(parts.authority, lambda: names).run, "monitor"),
            _task(enforcer.run, "enforcer"),
            _task(lambda: every(1.0, _Lag(parts).measure, "lag"), "lag"),
        ]
        if watches:
            tasks.append(_task(dispatcher(client, parts, agents).run, "alerts"))
            tasks.append(_task(lambda: keep_trying_to_apply(client, config), "schedules"))
        yield
    finally:
        await parts.gateway.close()
        parts.drainer.stop()
        await asyncio.wait([drainer], timeout=_LAST_EVENTS_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def switch_names(config: Config, agents: dict[str, Agent]) -> tuple[str, ...]:
    """Every switch that concerns something configured here."""
    return (
        "kill:global",
        *(f"{kind}:agent:{name}" for name in agents for kind in ("kill", "throttle")),
        *(f"kill:provider:{name}" for name in config.gateway.providers),
        *(f"kill:model:{name}" for name in config.gateway.deployments),
    )


def _task(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
    return asyncio.create_task(kept_up(work, name), name=f"curb-{name}")


async def kept_up(
    work: Callable[[], Coroutine[Any, Any, None]], name: str, *, pause_seconds: float = 1.0
) -> None:
    """Do a part of the upkeep until it ends by itself, and again when it stumbles over what nobody foresaw:
    without it admission closes, or what must stop does not.
    """
    while True:
        try:
            return await work()
        except Exception as error:
            log.error("upkeep failed, and begins again", part=name, exc_info=error)
        await asyncio.sleep(pause_seconds)


class _Lag:
    """Keeps the gauges of the outbox."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def measure(self) -> None:
        lag = await self._parts.drainer.lag()
        self._parts.metrics.outbox_length.set(lag.entries)
        self._parts.metrics.outbox_lag_seconds.set(lag.oldest_age_ms / 1000)


@contextlib.asynccontextmanager
async def _metrics(settings: Settings, parts: Parts) -> AsyncIterator[None]:
    """Serve /metrics on loopback (or where the settings say) beside the block."""
    if not settings.metrics_port:
        yield
        return
    try:
        server, thread = start_http_server(
            settings.metrics_port, addr=settings.metrics_host, registry=parts.metrics.registry
        )
    except OSError as error:
        raise ConfigurationError(
            f"CURB_METRICS_PORT {settings.metrics_port}: {error.strerror}; choose another port, or 0 for none"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
