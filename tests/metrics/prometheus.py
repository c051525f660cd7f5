"""Prometheus as apt brings it, on a free port, for as long as a test wants."""

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from worker.stack.ports import free_port

T = TypeVar("T")
SCRAPE_SECONDS = 1
_READY_SECONDS = 30
_POLL_SECONDS = 0.1


class Prometheus:
    """Scrapes each of these every second, and answers at `url` when the constructor returns.

    targets: addresses by job, as host:port.
    """

    def __init__(self, targets: Mapping[str, Sequence[str]], directory: Path) -> None:
        path = shutil.which("prometheus")
        assert path is not None, "prometheus is missing; `make test-metrics` brings it"
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        file = directory / "prometheus.yml"
        file.write_text(yaml.safe_dump(_configuration(targets)))
        command = (
            path,
            f"--config.file={file}",
            f"--storage.tsdb.path={directory / 'prometheus'}",
            f"--web.listen-address={address}",
        )
        with (directory / "prometheus.log").open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        until(self._is_ready, bool, _READY_SECONDS)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query. An expression that it does not understand fails."""
        return self._result("query", query=expression)

    def query_range(self, expression: str, seconds: int) -> list[dict[str, Any]]:
        """The series of the last seconds, a value a second."""
        now = time.time()
        return self._result("query_range", query=expression, start=now - seconds, end=now, step=1)

    def values(self, label: str, selector: str) -> list[str]:
        """The values of a label, as `label_values(selector, label)` has them in Grafana."""
        answer = httpx.get(f"{self.url}/api/v1/label/{label}/values", params={"match[]": selector})
        found: list[str] = answer.json()["data"]
        return found

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _result(self, path: str, **asked: Any) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.url}/api/v1/{path}", data=asked, timeout=30)
        assert answer.status_code == 200, f"{asked['query']}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found


def until(look: Callable[[], T], condition: Callable[[T], object], seconds: float = 60) -> T:
    """Look again and again until it is so; returns what was seen last."""
    deadline = time.monotonic() + seconds
    while not condition(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(_POLL_SECONDS)
    return seen


def _configuration(targets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    jobs = [{"job_name": job, "static_configs": [{"targets": [*at]}]} for job, at in targets.items()]
    return {"global": {"scrape_interval": f"{SCRAPE_SECONDS}s"}, "scrape_configs": jobs}
