"""A worker process as `curb worker` runs it, with the agents of these tests.

`python -m tests.faults.worker TEMPORAL REDIS_URL DATABASE_URL PROVIDER_URL ROOT READY_FILE`
"""

import asyncio
import signal
import sys
from pathlib import Path

from tests.faults.agents import agents, gateway_config
from worker.config import Config
from worker.service import serve
from worker.settings import Settings
from worker.temporal import connect
from worker.wiring import Servers


async def work(
    temporal: str, redis_url: str, database_url: str, provider_url: str, root: Path, ready: Path
) -> None:
    """Work until SIGTERM; makes the file `ready` once it does."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(
        await connect(temporal),
        Servers(redis_url, database_url),
        Settings(metrics_port=0, shutdown_seconds=5),
        Config(gateway=gateway_config(provider_url), agents=agents(root), limits={}),
        stop=stop,
        supervise=False,
        on_ready=ready.touch,
    )


if __name__ == "__main__":
    temporal, redis_url, database_url, provider_url, root, ready = sys.argv[1:]
    asyncio.run(work(temporal, redis_url, database_url, provider_url, Path(root), Path(ready)))
