"""The front door: what it adds to a call, and how many calls one process carries.

Beside it the same requests straight to the provider. A client asks again as soon as it has its answer.
"""

from collections.abc import Sequence

from bench.asking import Asking, Heard
from bench.gateways import Gateway, curb, upstream
from bench.report import Figure, percentile
from bench.upstream import PIECES
from bench.world import cpu_seconds

LITELLM_PER_SECOND = 90  # measured on this machine before, at 16 clients; beside it: `python -m bench rivals`


async def measure(quick: bool) -> Sequence[Figure]:
    """Milliseconds added at 1 client; requests a second at 16 and at 64; the same for streams."""
    seconds = 2.0 if quick else 8.0
    async with upstream() as (port, provider), curb(port) as door:
        await door.asking.clients(16, 1.0)
        figures = await _latency("1 client", provider.asking, door.asking, seconds)
        what = f"1 client, stream of {PIECES} pieces"
        figures += await _latency(what, provider.asking, door.asking, seconds / 2, stream=True)
        for clients, aim in ((16, LITELLM_PER_SECOND * 12), (64, None)):
            figures += await _throughput(door, clients, seconds, aim)
        figures += await _throughput(door, 16, seconds, None, stream=True)
        figures.append(Figure("resident memory", door.process.memory_info().rss / 1e6, "MB"))
    return figures


async def _throughput(
    door: Gateway, clients: int, seconds: float, aim: float | None, *, stream: bool = False
) -> list[Figure]:
    before = cpu_seconds(door.process)
    heard = await door.asking.clients(clients, seconds, stream=stream)
    cpu = (cpu_seconds(door.process) - before) * 1_000 / len(heard.took)
    what = f"{clients} clients{', streams' if stream else ''}"
    return [
        Figure(what, heard.per_second, "requests/s", at_least=aim),
        Figure(f"{what}, p50", _ms(heard, 50), "ms"),
        Figure(f"{what}, p99", _ms(heard, 99), "ms"),
        Figure(f"{what}, CPU of the gateway process", cpu, "ms/request"),
    ]


async def _latency(
    what: str, provider: Asking, door: Asking, seconds: float, *, stream: bool = False
) -> list[Figure]:
    direct = await provider.clients(1, seconds / 2, stream=stream)
    through = await door.clients(1, seconds, stream=stream)
    straight, whole = _ms(direct, 50), _ms(through, 50)
    return [
        Figure(f"{what}, p50 straight to the provider", straight, "ms"),
        Figure(f"{what}, p50", whole, "ms"),
        Figure(f"{what}, p50 added", whole - straight, "ms", at_most=2.0),
        Figure(f"{what}, p99", _ms(through, 99), "ms"),
    ]


def _ms(heard: Heard, percent: float) -> float:
    return percentile(heard.took, percent) * 1_000
