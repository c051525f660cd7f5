"""The baseline of steps: a loop of two activities per step that does nothing else.

Queues, workers and their options are as curb's own, so what differs is the work.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    import httpx
    from httpx_aiohttp import AiohttpTransport

RUNS, MODEL, TOOLS = "bare-runs", "bare-model", "bare-tools"
_TIMEOUT = timedelta(seconds=60)
_HEARTBEATS = timedelta(seconds=0.5)


@activity.defn
async def no_model(step: int) -> int:
    """Stands where a model call stands."""
    return step


@activity.defn
async def no_tool(step: int) -> int:
    """Stands where a tool call stands."""
    return step


class PlainCall:
    """The model call that anybody would write: it streams an answer, and keeps no books."""

    def __init__(self, provider_url: str) -> None:
        self._url = f"{provider_url}/v1/chat/completions"
        self._http = httpx.AsyncClient(transport=AiohttpTransport())

    @activity.defn
    async def plain_model(self, step: int) -> int:
        """Ask the simulated provider for a short answer."""
        body = {
            "model": "gpt-5-mini@say-10",
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens": 1024,
            "messages": [{"role": "user", "content": f"Step {step}"}],
        }
        async with self._http.stream("POST", self._url, json=body) as answer:
            answer.raise_for_status()
            async for _ in answer.aiter_lines():
                pass
        return step


@workflow.defn
class BareLoop:
    """As many steps as asked for, nothing remembered."""

    @workflow.run
    async def run(self, steps: int, model: str) -> int:
        for step in range(steps):
            await workflow.execute_activity(
                model, step, task_queue=MODEL, start_to_close_timeout=_TIMEOUT, heartbeat_timeout=_TIMEOUT
            )
            if step < steps - 1:
                await workflow.execute_activity(
                    no_tool,
                    step,
                    task_queue=TOOLS,
                    start_to_close_timeout=_TIMEOUT,
                    heartbeat_timeout=_TIMEOUT,
                )
        return steps


def workers(client: Client, provider_url: str) -> Sequence[Worker]:
    """Three, with the options of worker.temporal.build_workers."""
    plain = PlainCall(provider_url)
    return (
        Worker(
            client,
            task_queue=RUNS,
            workflows=[BareLoop],
            workflow_task_executor=ThreadPoolExecutor(4),
        ),
        Worker(
            client,
            task_queue=MODEL,
            activities=[no_model, plain.plain_model],
            max_concurrent_activities=100,
            max_heartbeat_throttle_interval=_HEARTBEATS,
            default_heartbeat_throttle_interval=_HEARTBEATS,
        ),
        Worker(
            client,
            task_queue=TOOLS,
            activities=[no_tool],
            max_heartbeat_throttle_interval=_HEARTBEATS,
            default_heartbeat_throttle_interval=_HEARTBEATS,
        ),
    )
