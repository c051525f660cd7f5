"""Who keeps traces, from settings and curb.yaml, and the part of a process that has them told."""

import asyncio
from collections.abc import Sequence

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from gateway.errors import ConfigurationError, CurbError, StateUnavailable
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.traces.export import Target
from gateway.traces.langfuse import LangfuseTarget
from gateway.traces.otlp import OtlpTarget
from worker.config_traces import TracesPlan
from worker.settings import Settings
from workflows.queues import SUPERVISION

log = structlog.get_logger(__name__)

_LEASE_MS = 30_000
_PATH = "/v1/traces"


def trace_targets(settings: Settings, plan: TracesPlan) -> tuple[Target, ...]:
    """Where traces go: to Langfuse where its keys are set, to a collector where its address is.

    Raises ConfigurationError for half a set of keys, and for headers that are none.
    """
    found: list[Target] = []
    public, secret = settings.langfuse_public_key, settings.langfuse_secret_key
    if (secret is None) != (not public):
        raise ConfigurationError("LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY go together: set both or none")
    if secret is not None:
        found.append(
            LangfuseTarget(settings.langfuse_host, public, secret.get_secret_value(), plan.environment)
        )
    if endpoint := settings.otlp_endpoint:
        url = endpoint if endpoint.endswith(_PATH) else endpoint.rstrip("/") + _PATH
        found.append(OtlpTarget("otlp", url, _headers(settings)))
    return tuple(found)


def _headers(settings: Settings) -> dict[str, str]:
    """`name=value,name=value`, as OpenTelemetry has it."""
    if settings.otlp_headers is None:
        return {}
    pairs = [pair.partition("=") for pair in settings.otlp_headers.get_secret_value().split(",") if pair]
    if any(not equals or not name.strip() for name, equals, _ in pairs):
        raise ConfigurationError(
            "OTEL_EXPORTER_OTLP_HEADERS: write name=value, and more of them after commas"
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


class TraceDispatcher:
    """Starts the workflow that tells a target, when something waits for it. One of all processes does it."""

    def __init__(
        self,
        client: Client,
        authority: Authority,
        store: Store,
        targets: Sequence[Target],
        every_seconds: float,
    ) -> None:
        self._client = client
        self._authority = authority
        self._store = store
        self._targets = [target.name for target in targets]
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Say whom there is to tell, then look again and again, until cancelled."""
        known = False
        while True:
            try:
                if not known:
                    await self._store.traces.aim(self._targets)
                    known = True
                if not self._targets:
                    return
                if await self._leads():
                    await self.round()
            except (CurbError, RPCError) as error:
                log.warning("traces wait", error=str(error))
            await asyncio.sleep(self._every_seconds)

    async def round(self) -> None:
        """Start what there is work for; one that is at it already goes on."""
        for backlog in await self._store.traces.backlog():
            if backlog.waiting and backlog.target in self._targets:
                await self._client.start_workflow(
                    "TraceExport",
                    backlog.target,
                    id=f"curb-traces-{backlog.target}",
                    task_queue=SUPERVISION,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    static_summary=f"traces for {backlog.target}",
                )

    async def _leads(self) -> bool:
        lease = max(_LEASE_MS, int(self._every_seconds * 2_000))
        try:
            return await self._authority.lead("traces", self._authority.process_id, lease)
        except StateUnavailable:
            return True
