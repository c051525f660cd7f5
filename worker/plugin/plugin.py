"""SupervisorPlugin: unmodified workers of OpenAI Agents, pydantic-ai and LangGraph under curb.

    client = await Client.connect(address, plugins=[OpenAIAgentsPlugin(), SupervisorPlugin()])
    worker = Worker(client, task_queue="research", workflows=[Research])

Their model calls go the way of every call of curb (docs/integrations.md says how each framework comes to it):
one gateway, one ledger. A workflow is a run; its id is the run's.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from temporalio.plugin import SimplePlugin
from temporalio.worker import (
    ActivityInboundInterceptor,
    Interceptor,
    Worker,
    WorkerConfig,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from gateway.agents import Agent
from gateway.errors import ConfigurationError
from worker.config import Config
from worker.plugin import pydantic_ai
from worker.plugin.activities import SupervisedActivity
from worker.plugin.launch import Launch, agent_name
from worker.plugin.supervisor import Supervisor, open_supervisor
from worker.plugin.workflows import SupervisedWorkflow
from worker.wiring import Servers

_HEARTBEATS = timedelta(seconds=0.5)
_PASSED_THROUGH = ("curb", "worker", "workflows", "activities", "gateway", "redis", "psycopg", "sqlalchemy")


class SupervisorPlugin(SimplePlugin):
    """Installed on the client, the worker or both; twice is as good as once.

    agent: whose budgets and switches hold; '' for the agent named like the workflow type. by_workflow:
    other agents by workflow type. agents: besides those of curb.yaml; one in neither has the defaults.
    budget_usd, max_steps: of each run, where neither the launch (memo `curb`) nor the agent says otherwise.

    config, servers: of curb; None: curb.yaml and the environment, else the `curb dev` that runs here.
    """

    def __init__(
        self,
        *,
        agent: str = "",
        by_workflow: Mapping[str, str] | None = None,
        agents: Sequence[Agent] = (),
        budget_usd: str = "",
        max_steps: int | None = None,
        config: Config | Path | None = None,
        servers: Servers | None = None,
    ) -> None:
        self._interceptor = _Interceptor(self)
        super().__init__(
            "curb.SupervisorPlugin", workflow_runner=_passing_through, interceptors=[self._interceptor]
        )
        self._agent = agent
        self._by_workflow = dict(by_workflow or {})
        self._agents = {each.name: each for each in agents}
        self._launch = Launch(budget_usd=budget_usd, max_steps=max_steps)
        self._config = config
        self._servers = servers
        self._supervisor: Supervisor | None = None
        self._workers = 0
        self._open = contextlib.AsyncExitStack()

    def launch(self, workflow_type: str) -> Launch:
        """What holds for runs of this workflow type that say nothing else."""
        agent = self._by_workflow.get(workflow_type) or self._agent or agent_name(workflow_type)
        return self._launch.model_copy(update={"agent": agent})

    def supervisor(self) -> Supervisor:
        """Of the worker that runs. Raises ConfigurationError where none does."""
        if self._supervisor is None:
            raise ConfigurationError(
                "SupervisorPlugin is not running: run the worker that has it in its plugins"
            )
        return self._supervisor

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """See base class. Raises ConfigurationError for models that cannot be supervised."""
        if not _installed(config):
            config = super().configure_worker(config)
        config["max_heartbeat_throttle_interval"] = _HEARTBEATS  # cancellation comes with their answers
        config["default_heartbeat_throttle_interval"] = _HEARTBEATS
        pydantic_ai.supervise(config.get("workflows", ()))
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """See base class. Raises ConfigurationError, StateUnavailable, StoreUnavailable at its start."""
        if self._interceptor not in worker.config(active_config=True).get("interceptors", ()):
            await next(worker)  # another one of us is at work there
            return
        async with self._running():
            await next(worker)

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        """What all workers of this plugin share, from the first to the last."""
        self._workers += 1
        try:
            if self._supervisor is None:
                config, servers = self._places()
                self._supervisor = await self._open.enter_async_context(
                    open_supervisor(config, servers, self._agents)
                )
            yield
        finally:
            self._workers -= 1
            if not self._workers:
                self._supervisor = None
                await self._open.aclose()

    def _places(self) -> tuple[Config, Servers]:
        if isinstance(self._config, Config) and self._servers is not None:
            return self._config, self._servers
        from worker.cli.servers import house  # what commands go by: the environment, else a `curb dev`

        known = house(self._config if isinstance(self._config, Path) else None)
        if self._servers is None:
            known.places.need("redis_url", "database_url")
        found = Servers(known.places.redis_url, known.places.database_url)
        config = self._config if isinstance(self._config, Config) else known.config
        return config, self._servers or found


class _Interceptor(Interceptor):
    def __init__(self, plugin: SupervisorPlugin) -> None:
        self._plugin = plugin

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return SupervisedActivity(next, self._plugin.supervisor, self._plugin.launch)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        launch = self._plugin.launch

        class Supervised(SupervisedWorkflow):
            launch_of = staticmethod(launch)

        return Supervised


def _installed(config: WorkerConfig) -> bool:
    return any(isinstance(each, _Interceptor) for each in config.get("interceptors") or ())


def _passing_through(runner: WorkflowRunner | None) -> WorkflowRunner:
    """curb itself is not imported again for every workflow."""
    if isinstance(runner, SandboxedWorkflowRunner):
        return replace(runner, restrictions=runner.restrictions.with_passthrough_modules(*_PASSED_THROUGH))
    if runner is None:
        raise ConfigurationError("SupervisorPlugin: the worker has no workflow runner")
    return runner
