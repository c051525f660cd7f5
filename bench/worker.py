"""A worker process of the benches: says `ready`, works until SIGTERM.

`python -m bench.worker supervised|bare TEMPORAL REDIS_URL DATABASE_URL PROVIDER_URL ROOT`
"""

import asyncio
import logging
import signal
import sys
from pathlib import Path

import structlog
import uvloop

from worker.service import serve
from worker.settings import Settings
from worker.temporal import connect
from worker.wiring import Servers


async def supervised(
    stop: asyncio.Event, temporal: str, redis_url: str, database_url: str, provider_url: str, root: str
) -> None:
    """Work as `curb worker` does."""
    from bench.world import configuration

    await serve(
        await connect(temporal),
        Servers(redis_url, database_url),
        Settings(metrics_port=0, shutdown_seconds=5),
        configuration(provider_url, Path(root)),
        stop=stop,
        on_ready=_say_ready,
    )


async def bare(stop: asyncio.Event, temporal: str, provider_url: str) -> None:
    """Work on the baseline's loops."""
    from bench.bare import workers

    started = workers(await connect(temporal), provider_url)
    await asyncio.gather(*(worker.__aenter__() for worker in started))
    _say_ready()
    await stop.wait()
    await asyncio.gather(*(worker.shutdown() for worker in started))


def _say_ready() -> None:
    print("ready", flush=True)


async def _main(
    kind: str, temporal: str, redis_url: str, database_url: str, provider_url: str, root: str
) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if kind == "supervised":
        await supervised(stop, temporal, redis_url, database_url, provider_url, root)
    else:
        await bare(stop, temporal, provider_url)


if __name__ == "__main__":
    # A call that is cut because its run is over is logged with its traceback by the SDK.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    uvloop.run(_main(*sys.argv[1:]))
