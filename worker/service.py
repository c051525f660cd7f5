"""One worker process: Temporal workers of the roles asked for, and its upkeep.

To the upkeep that every process shares (worker.upkeep) it adds the enforcer (runs that wait) and, in
processes that supervise, the dispatcher (events that people are told of). Each of them may run in many
processes. Processes that supervise bring Temporal's schedules to what curb.yaml wants when they start.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

import structlog
from temporalio.client import Client

from activities.channels import Channel
from activities.runs import RunActivities
from activities.toolbox import Toolbox
from gateway.agents import Agent
from gateway.metrics import Metrics
from worker.alerting import dispatcher
from worker.batches import BatchKeeper
from worker.channels import open_channels
from worker.config import Config, gateway_config
from worker.config_teams import owners_mailboxes
from worker.enforcer import Enforcer
from worker.front_door import Beside, Place, front_door
from worker.loading import load
from worker.settings import Settings
from worker.shared_metrics import SharedState, shared_state
from worker.supervision import supervision
from worker.temporal import ROLES, build_workers, knows_search_attributes
from worker.temporal_schedules import keep_trying_to_apply
from worker.tracing import TraceDispatcher
from worker.upkeep import Work, metrics, switch_names, upkeep
from worker.wiring import Parts, Servers, dependencies, open_parts

log = structlog.get_logger(__name__)


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
    place: Place | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Work until `stop` is set, then finish or settle what is in flight and leave.

    tools: modules or files whose tools, agents, workflows and activities are served too.
    workflows: more of the user's own. supervise: whether schedules are applied and alerts told.
    temporal_ui: what messages link to, '' where no UI is known. place: of a front door, to serve it too.
    Raises ConfigurationError, StateUnavailable, StoreUnavailable when it cannot start.
    """
    async with (
        Toolbox() as toolbox,
        _channels(config, settings, roles) as channels,
        open_parts(
            gateway_config(config, settings), servers, metrics=Metrics(max_users=settings.metrics_users)
        ) as parts,
    ):
        loaded = load(toolbox, tools, dict(config.agents))
        agents = loaded.agents
        for agent in agents.values():
            toolbox.check(agent)
        known = await knows_search_attributes(client)
        deps = dependencies(parts, toolbox, agents, search_attributes=known)
        watch = supervision(config, settings, client.namespace, temporal_ui, channels)
        workers = build_workers(
            client,
            deps,
            watch,
            roles=roles,
            workflows=(*workflows, *loaded.workflows),
            activities=loaded.activities,
            max_concurrent_calls=settings.max_concurrent_calls,
            graceful_seconds=settings.shutdown_seconds,
        )
        enforcer = Enforcer(client, parts.authority, parts.store, RunActivities(deps), parts.process_id)
        more: dict[str, Work] = {"enforcer": enforcer.run}
        if "runs" in roles:
            more["batches"] = BatchKeeper(client, parts.authority, parts.store).run
        if supervise and "supervision" in roles:
            more["alerts"] = dispatcher(client, parts, agents).run
            more["schedules"] = lambda: keep_trying_to_apply(client, config)
            traces = TraceDispatcher(
                client, parts.authority, parts.store, watch.trace_targets, config.traces.every_seconds
            )
            more["traces"] = traces.run
        async with (
            upkeep(parts, switch_names(config, agents), more),
            shared_state(parts.metrics.registry, parts.authority, parts.store, config, agents) as shared,
            metrics(settings, parts),
            _door(place, parts, config, agents, settings, Beside(client, temporal_ui), shared),
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
    return open_channels({**owners_mailboxes(config.teams), **config.channels}, settings)


def _door(
    place: Place | None,
    parts: Parts,
    config: Config,
    agents: Mapping[str, Agent],
    settings: Settings,
    beside: Beside,
    shared: SharedState,
) -> contextlib.AbstractAsyncContextManager[str]:
    """The front door, where one is wanted."""
    if place is None:
        return contextlib.nullcontext("")
    return front_door(place, parts, config, agents, settings, beside, shared)
