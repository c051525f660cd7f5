"""The simulated provider: a real HTTP server that speaks the providers' wire formats and bills."""

import importlib.util
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from worker.stack.errors import StackError
from worker.stack.kinds import NotReady, Say
from worker.stack.ports import LOOPBACK

_MODULE = "gateway.providers.simulator"


class Simulator:
    """Its invoice is durable: it lies in its data directory."""

    name = "simulator"
    ports: Mapping[str, int] = {"simulator": 8787}
    user: str | None = None
    stop_signal = signal.SIGTERM

    def __init__(self, data: Path) -> None:
        self._data = data
        self.marker = str(data)

    def prepare(self, say: Say) -> None:
        if importlib.util.find_spec(f"{_MODULE}.__main__") is None:
            raise StackError(f"simulated provider: this installation of curb has no {_MODULE}; reinstall it")
        self._data.mkdir(parents=True, exist_ok=True)

    def command(self, ports: Mapping[str, int]) -> tuple[str, ...]:
        return (sys.executable, "-m", _MODULE, "--port", str(ports[self.name]), "--data", self.marker)

    async def ask(self, ports: Mapping[str, int]) -> None:
        try:
            async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
                answer = await client.get(f"http://{LOOPBACK}:{ports[self.name]}/invoice")
                answer.raise_for_status()
        except httpx.HTTPError as error:
            raise NotReady(str(error) or type(error).__name__) from error
