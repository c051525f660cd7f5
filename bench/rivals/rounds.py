"""The rounds: in each, every gateway bears every load, one after the other.

What else the machine does in a minute hits all of them alike, and ratios are of one round.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from bench.gateways import Gateway, curb, upstream
from bench.report import Figure
from bench.rivals import programs
from bench.rivals.figures import Round, of_memory, of_rounds
from bench.rivals.loads import LOADS, SIXTEEN, STREAMS, bear

_ROUNDS = 3


async def measure(quick: bool) -> Sequence[Figure]:
    """Latency, requests a second, CPU and memory of each gateway, and curb's ratios to the others."""
    async with AsyncExitStack() as stack:
        port, provider = await stack.enter_async_context(upstream())
        gateways = [
            await stack.enter_async_context(start(port))
            for start in (curb, programs.portkey, programs.litellm)
        ]
        for gateway in gateways:
            await bear(gateway, STREAMS)
            await bear(gateway, SIXTEEN)
        rounds = [await _round([provider, *gateways], number) for number in range(1 if quick else _ROUNDS)]
        return [*of_rounds(rounds), *of_memory(gateways)]


async def _round(gateways: Sequence[Gateway], number: int) -> Round:
    """Who begins changes from round to round."""
    order = [*gateways[number % len(gateways) :], *gateways[: number % len(gateways)]]
    return {load.name: {each.name: await bear(each, load) for each in order} for load in LOADS}
