"""Every activity of a supervised worker knows its run; model activities of OpenAI Agents buy from curb."""

import asyncio
from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from gateway.errors import CurbError
from worker.plugin import openai_agents
from worker.plugin.asking import Asking, asking_as, is_asking
from worker.plugin.launch import Launch, launch_in
from worker.plugin.problems import error_of
from worker.plugin.supervisor import Supervisor
from worker.plugin.workflows import is_model_activity


class SupervisedActivity(ActivityInboundInterceptor):
    """supervisor: of this process. default: the launch of a workflow type that sent no word of its own."""

    def __init__(
        self,
        next: ActivityInboundInterceptor,
        supervisor: Callable[[], Supervisor],
        default: Callable[[str], Launch],
    ) -> None:
        super().__init__(next)
        self._supervisor = supervisor
        self._default = default

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if is_asking():  # the plugin is there twice
            return await super().execute_activity(input)
        info = activity.info()
        launch = launch_in(input.headers) or self._default(info.workflow_type or "")
        asking = Asking(self._supervisor(), info, launch, is_model_activity(info.activity_type))
        input.fn = openai_agents.supervised(input.fn)
        async with asking_as(asking):
            try:
                return await super().execute_activity(input)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                if asking.problem is None:
                    raise
                raise await _told(asking) from error


async def _told(asking: Asking) -> Exception:
    assert asking.problem is not None
    try:
        agent = (await asking.supervisor.snapshot(asking)).agent
    except CurbError:  # Postgres is away: what is known without it is enough to wait
        agent = None
    return error_of(asking.problem, asking.info, agent)
