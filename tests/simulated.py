"""The simulated provider as a process of its own, for tests that buy something."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from gateway.config import Deployment, Provider
from gateway.providers import family
from gateway.providers.base import Family


class SimulatedProvider:
    """`python -m gateway.providers.simulator`, ready when the constructor returns."""

    def __init__(self, data: Path | None = None, *arguments: str) -> None:
        self._scratch = tempfile.TemporaryDirectory() if data is None else None
        self.data = data or Path(self._scratch.name if self._scratch else ".")
        self._arguments = arguments
        self.url = ""
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "gateway.providers.simulator", "--data", str(self.data)]
        self.process = subprocess.Popen([*command, *self._arguments], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().removeprefix("listening on ").strip()
        assert self.url, "the simulator did not start"

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self._wait()

    def stop(self) -> None:
        self.process.terminate()
        self._wait()
        if self._scratch is not None:
            self._scratch.cleanup()

    def invoice(self, client_request_id: str = "", since_ms: int = 0) -> list[dict[str, Any]]:
        """Rows of the invoice, all of them or those of one request."""
        answer = httpx.get(f"{self.url}/invoice", params={"since_ms": since_ms}, timeout=10)
        rows: list[dict[str, Any]] = answer.json()["rows"]
        return [row for row in rows if client_request_id in ("", row["client_request_id"])]

    def deployment(self, model: str) -> tuple[Family, Provider, Deployment]:
        """How to reach a model: Claude by Anthropic's wire format, the others by OpenAI's."""
        anthropic = model.startswith("claude")
        name = "anthropic" if anthropic else "openai"
        base_url = self.url if anthropic else f"{self.url}/v1"
        provider = Provider(name, "anthropic" if anthropic else "openai", base_url)
        deployment = Deployment(f"{name}/{model}", name, model, price_model=model.partition("@")[0])
        return family(provider.family), provider, deployment

    def _wait(self) -> None:
        self.process.wait(timeout=10)
        if self.process.stdout is not None:
            self.process.stdout.close()
