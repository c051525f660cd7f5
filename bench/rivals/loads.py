"""What the gateways have to bear, and what one of them makes of it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from bench.asking import Heard
from bench.gateways import Gateway
from bench.world import cpu_seconds

_LOOK_SECONDS = 0.1
_QUIET_SHARE = 0.2  # of one CPU
_QUIET_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Load:
    """So many clients, each asking again as soon as it has its answer. paced: as in bench.upstream."""

    name: str
    clients: int
    seconds: float
    stream: bool = False
    paced: bool = False


ONE = Load("1 client", 1, 2.0)
SIXTEEN = Load("16 clients", 16, 3.0)
MANY = Load("64 clients", 64, 3.0)
STREAMS = Load("16 clients, streams", 16, 3.0, stream=True)
PACED = Load("1 client, paced streams", 1, 2.0, stream=True, paced=True)
LOADS = (ONE, SIXTEEN, MANY, STREAMS, PACED)


@dataclass(frozen=True, slots=True)
class Borne:
    """One load in one round. CPU seconds: of the gateway and of the servers beside it, until they rest."""

    heard: Heard
    cpu_seconds: float
    beside_cpu_seconds: float


async def bear(gateway: Gateway, load: Load) -> Borne:
    """Put the load on, and wait until the gateway rests: what it still books disturbs nobody else's turn."""
    cpu, beside = cpu_seconds(gateway.process), _sum(gateway.beside)
    heard = await gateway.asking.clients(load.clients, load.seconds, stream=load.stream, paced=load.paced)
    await _rest([gateway.process, *gateway.beside])
    return Borne(heard, cpu_seconds(gateway.process) - cpu, _sum(gateway.beside) - beside)


async def _rest(processes: Sequence[psutil.Process]) -> None:
    deadline = time.monotonic() + _QUIET_SECONDS
    while time.monotonic() < deadline:
        before = _sum(processes)
        await asyncio.sleep(_LOOK_SECONDS)
        if _sum(processes) - before < _LOOK_SECONDS * _QUIET_SHARE:
            return


def _sum(processes: Sequence[psutil.Process]) -> float:
    return sum(cpu_seconds(process) for process in processes)
