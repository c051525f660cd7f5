"""A worker process of the benches: says `ready`, works until SIGTERM.

`python -m bench.worker supervised|bare TEMPORAL REDIS_URL DATABASE_URL PROVIDER_URL ROOT`, or as a
front door, which says where it is: `python -m bench.worker door REDIS_URL DATABASE_URL PROVIDER_PORT`
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


async def door(stop: asyncio.Event, redis_url: str, database_url: str, provider_port: str) -> None:
    """Serve clients as `curb gateway` does."""
    from bench.door import configuration
    from worker.front_door import Place, serve_front_door

    await serve_front_door(
        Servers(redis_url, database_url),
        Settings(metrics_port=0, shutdown_seconds=5),
        configuration(int(provider_port)),
        Place("127.0.0.1", 0),
        stop=stop,
        on_ready=lambda url: print(url, flush=True),
    )


def _say_ready() -> None:
    print("ready", flush=True)


async def _main(kind: str, *places: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if kind == "door":
        await door(stop, *places)
    else:
        await _work(stop, kind, *places)


async def _work(
    stop: asyncio.Event, kind: str, temporal: str, redis_url: str, database_url: str, *places: str
) -> None:
    if kind == "supervised":
        await supervised(stop, temporal, redis_url, database_url, *places)
    else:
        await bare(stop, temporal, places[0])


if __name__ == "__main__":
    # A call that is cut because its run is over is logged with its traceback by the SDK.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    uvloop.run(_main(*sys.argv[1:]))
