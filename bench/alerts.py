"""How fast people hear of what the hot path notices: from the budget authority to Slack's door.

An alert is raised in Redis as a settlement raises it; it goes through outbox, drainer, Postgres,
dispatcher, Temporal workflow and activity, and arrives at a local HTTP server as a Slack message. The
alerts come apart, because a Slack webhook takes one message a second.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from bench.report import Figure, percentile
from bench.world import World, worker, world
from gateway.state.authority import Authority

_ALERTS = 50
_APART_SECONDS = (1.2, 1.7)  # anywhere in the rounds of drainer and dispatcher


async def measure(quick: bool) -> Sequence[Figure]:
    """Percentiles in milliseconds."""
    async with (
        world() as here,
        _slack() as (url, arrived),
        worker(here, environment={"CURB_SLACK_WEBHOOK_URL": url}),
    ):
        took = [await _hear(here, arrived, number) for number in range(_ALERTS // (5 if quick else 1))]
    return [
        Figure("alerts raised and told", len(took)),
        Figure("raised in Redis -> Slack's door, p50", percentile(took, 50), "ms"),
        Figure("raised in Redis -> Slack's door, p99", percentile(took, 99), "ms", at_most=5_000),
        Figure("raised in Redis -> Slack's door, worst", max(took), "ms"),
    ]


async def _hear(here: World, arrived: "asyncio.Queue[tuple[float, str]]", number: int) -> float:
    """Milliseconds from the alert to its message."""
    authority = await Authority.connect(here.stack.redis_url, process_id="bench", config=here.config.gateway)
    await asyncio.sleep(random.uniform(*_APART_SECONDS))
    agent = f"spender-{number}"
    started = time.perf_counter()
    await authority.alert(
        "velocity_warning", f"agent:{agent}", {"spent_nano_usd": 6 * 10**9, "window_seconds": 300}
    )
    async with asyncio.timeout(60):
        while True:
            at, title = await arrived.get()
            if f"{agent} " in title:
                break
    await authority.close()
    return (at - started) * 1000


@contextlib.asynccontextmanager
async def _slack() -> AsyncIterator[tuple[str, "asyncio.Queue[tuple[float, str]]"]]:
    """A server that takes Slack's messages; its URL, and what has come when."""
    arrived: asyncio.Queue[tuple[float, str]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        at = time.perf_counter()
        arrived.put_nowait((at, json.loads(await request.read())["text"]))
        return web.Response(text="ok")

    application = web.Application()
    application.router.add_post("/hook", take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/hook", arrived
    finally:
        await runner.cleanup()
