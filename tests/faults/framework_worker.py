"""A worker process of one of the agent frameworks, with SupervisorPlugin.

`python -m tests.faults.framework_worker TEMPORAL REDIS_URL DATABASE_URL PROVIDER_URL FRAMEWORK QUEUE READY`
"""

import asyncio
import sys
from pathlib import Path

from temporalio.client import Client
from temporalio.worker import Worker

from curb import SupervisorPlugin
from tests.integration.plugin_world import MODELS, WORKFLOWS, plugins
from tests.integration.world import config
from worker.config import Config
from worker.wiring import Servers


async def work(
    temporal: str, servers: Servers, provider_url: str, framework: str, queue: str, ready: Path
) -> None:
    """Work until killed; makes the file `ready` once it does."""
    gateway = config(provider_url, ("quick", MODELS))
    supervisor = SupervisorPlugin(config=Config(gateway=gateway, agents={}, limits={}), servers=servers)
    client = await Client.connect(temporal, plugins=[*plugins(framework), supervisor])
    async with Worker(client, task_queue=queue, workflows=[WORKFLOWS[framework]]):
        ready.touch()
        await asyncio.Event().wait()


if __name__ == "__main__":
    temporal, redis_url, database_url, provider_url, framework, queue, ready = sys.argv[1:]
    servers = Servers(redis_url, database_url)
    asyncio.run(work(temporal, servers, provider_url, framework, queue, Path(ready)))
