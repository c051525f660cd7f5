"""Temporal: the client as curb uses it, and the workers of one process."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, TLSConfig
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.batches import BatchActivities
from activities.dependencies import Dependencies
from activities.llm import LlmActivities
from activities.runs import RunActivities
from activities.supervision import Supervision
from activities.tools import ToolActivities
from worker import supervision as watch
from worker.stack.temporal import SEARCH_ATTRIBUTES
from workflows.agent_run import AgentRun
from workflows.batch import Batch
from workflows.queues import GATEWAY, RUNS, SUPERVISION, TOOLS

ROLES = ("runs", "gateway", "tools", "supervision")
_HEARTBEATS = timedelta(seconds=0.5)
# How long a run waits for the worker that has it in its cache, before another replays it: 10 s by
# custom, which every run of a worker that was killed would stand still.
_STICKY = timedelta(seconds=3)

_HAVE_FINALIZERS = ("redis", "aiohttp", "httpx", "psycopg", "psycopg_pool", "sqlalchemy", "mcp", "anyio")


async def connect(
    address: str,
    *,
    namespace: str = "default",
    api_key: str | None = None,
    tls: bool | TLSConfig = False,
) -> Client:
    """Connect with the data converter that curb's messages need. Raises RuntimeError when unreachable."""
    return await Client.connect(
        address,
        namespace=namespace,
        api_key=api_key,
        tls=tls,
        data_converter=pydantic_data_converter,
    )


async def knows_search_attributes(client: Client) -> bool:
    """Whether this server has all of curb's search attributes; runs do without them otherwise."""
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError:
        return False
    return set(SEARCH_ATTRIBUTES) <= set(known.custom_attributes)


def build_workers(
    client: Client,
    dependencies: Dependencies,
    supervision: Supervision,
    *,
    roles: Sequence[str] = ROLES,
    workflows: Sequence[type] = (),
    activities: Sequence[Callable[..., Any]] = (),
    max_concurrent_calls: int = 200,
    graceful_seconds: float = 20.0,
) -> list[Worker]:
    """One worker per role; `workflows` and `activities` are the user's own, served beside AgentRun."""
    grace = timedelta(seconds=graceful_seconds)
    makers: dict[str, Callable[[], Worker]] = {
        "runs": lambda: _runs(client, RunActivities(dependencies), workflows, activities, grace),
        "gateway": lambda: _gateway(client, dependencies, max_concurrent_calls, grace),
        "tools": lambda: _tools(client, ToolActivities(dependencies), grace),
        "supervision": lambda: _supervision(client, watch.activities(dependencies, supervision), grace),
    }
    return [make() for role, make in makers.items() if role in roles]


def _runs(
    client: Client,
    runs: RunActivities,
    workflows: Sequence[type],
    activities: Sequence[Callable[..., Any]],
    grace: timedelta,
) -> Worker:
    return Worker(
        client,
        task_queue=RUNS,
        workflows=[AgentRun, Batch, *workflows],
        activities=[
            runs.open_run,
            runs.open_child,
            runs.say,
            runs.escalate,
            runs.top_up,
            runs.end_run,
            *activities,
        ],
        workflow_runner=sandbox(),
        graceful_shutdown_timeout=grace,
        sticky_queue_schedule_to_start_timeout=_STICKY,
        workflow_task_executor=ThreadPoolExecutor(4, thread_name_prefix="curb-workflow"),
    )


def _gateway(
    client: Client, dependencies: Dependencies, max_concurrent_calls: int, grace: timedelta
) -> Worker:
    llm, batches = LlmActivities(dependencies), BatchActivities(dependencies)
    return Worker(
        client,
        task_queue=GATEWAY,
        activities=[
            llm.call_model,
            batches.submit_batch,
            batches.follow_batch,
            batches.settle_batch,
            batches.cancel_batch,
        ],
        max_concurrent_activities=max_concurrent_calls,
        max_heartbeat_throttle_interval=_HEARTBEATS,
        default_heartbeat_throttle_interval=_HEARTBEATS,
        graceful_shutdown_timeout=grace,
    )


def _tools(client: Client, tools: ToolActivities, grace: timedelta) -> Worker:
    return Worker(
        client,
        task_queue=TOOLS,
        activities=[tools.run_tool, tools.answer_tool],
        max_heartbeat_throttle_interval=_HEARTBEATS,
        default_heartbeat_throttle_interval=_HEARTBEATS,
        graceful_shutdown_timeout=grace,
    )


def _supervision(client: Client, activities: Sequence[Callable[..., Any]], grace: timedelta) -> Worker:
    return Worker(
        client,
        task_queue=SUPERVISION,
        workflows=watch.WORKFLOWS,
        activities=activities,
        workflow_runner=sandbox(),
        sticky_queue_schedule_to_start_timeout=_STICKY,
        max_heartbeat_throttle_interval=_HEARTBEATS,
        default_heartbeat_throttle_interval=_HEARTBEATS,
        graceful_shutdown_timeout=grace,
        workflow_task_executor=ThreadPoolExecutor(2, thread_name_prefix="curb-supervision"),
    )


def sandbox() -> SandboxedWorkflowRunner:
    """Temporal's own, with two exceptions.

    A user's workflow may say `from curb import ...` without ceremony. And the process's clients are
    not imported a second time: their finalizers import lazily, and the garbage collector runs them in
    whatever thread it pleases, that of a workflow too.
    """
    restrictions = SandboxRestrictions.default.with_passthrough_modules("curb", *_HAVE_FINALIZERS)
    return SandboxedWorkflowRunner(restrictions=restrictions)
