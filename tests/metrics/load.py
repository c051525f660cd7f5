"""A curb that works: `curb dev` with agents that succeed, fail, wait and are refused, and clients who ask."""

import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.command import CURB, Curb
from worker.stack.ports import free_port

_PAUSE_SECONDS = 0.2
_FINE, _BROKEN, _STEPS = "openai/gpt-5-mini@say-20", "openai/gpt-5-mini@500", "openai/gpt-5-mini@steady-2"
_LOOPS = "openai/gpt-5-mini@loop"
_LONG, _ASKS = "openai/gpt-5-mini@say-400+slow-stream-400", "openai/gpt-5-mini@ask"
_MODELS = "".join(
    f'  "{name}": {{price_model: gpt-5-mini}}\n' for name in (_FINE, _BROKEN, _STEPS, _LONG, _ASKS, _LOOPS)
)
_CONFIG = f"""
deployments:
{_MODELS}
agents:
  coder: {{tier: "{_STEPS}", tools: [list_files, read_file], root: files, team: platform, daily_budget: 5}}
  asker: {{tier: "{_ASKS}", tools: [ask_human], team: platform}}
  slow: {{tier: "{_LONG}", team: care}}
  looper: {{tier: "{_LOOPS}", tools: [list_files], root: files}}
  idle: {{tier: "{_FINE}"}}
budgets: {{global: {{day: 50, month: 500}}, "team:platform": {{month: 50}}}}
rate_limits: {{requests: {{"agent:hasty": 1/h}}}}
provider_health: {{every: 10s, tries: 1}}
schedules: {{anomaly-sweep: {{every: 10s}}}}
"""


def furnish(directory: Path) -> None:
    """curb.yaml and files for the agents to look at."""
    (directory / "curb.yaml").write_text(_CONFIG)
    (directory / "files").mkdir()
    (directory / "files" / "one.md").write_text("# One\n")


def set_the_scene(curb: Curb) -> None:
    """What lasts: a run that waits for a person, one that is paused, switches that are set."""
    for run, agent in (("waits", "asker"), ("long", "slow")):
        assert curb("run", agent, "Do it.", "--id", run, "--no-wait").status == 0
    assert curb("switch", "set", "agent", "idle", "--reason", "look").status == 0
    assert curb("switch", "set", "throttle", "idle", "--reason", "look").status == 0


class Worker:
    """A second process of the same curb, with metrics of its own and those of Temporal's SDK."""

    def __init__(self, curb: Curb) -> None:
        ports = free_port(), free_port()
        self.metrics, self.temporal_metrics = (f"127.0.0.1:{port}" for port in ports)
        names = ("CURB_METRICS_PORT", "CURB_TEMPORAL_METRICS_PORT")
        settings = dict(zip(names, map(str, ports), strict=True))
        with (curb.directory / "worker.log").open("wb") as log:
            self._process = subprocess.Popen(
                (*CURB, "worker"),
                cwd=curb.directory,
                env=curb.environment(settings),
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(60) == 0


class Load:
    """Clients and runs, round after round in a thread of its own, until it is stopped."""

    def __init__(self, door: str) -> None:
        self._door = door
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.error: BaseException | None = None
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        try:
            with httpx.Client(base_url=self._door, timeout=60) as client:
                number = 0
                while not self._stop.wait(_PAUSE_SECONDS):
                    self._round(client, number)
                    number += 1
        except BaseException as error:
            self.error = error
            raise

    def _round(self, client: httpx.Client, number: int) -> None:
        user, team = f"user-{number % 3}", ("platform", "care")[number % 2]
        _ask(client, _FINE, f"Number {number}", 200, agent="writer", user=user, team=team)
        _ask(client, _FINE, "Always the same", 200, agent="reader", user=user, team=team)
        _ask(client, _BROKEN, f"Number {number}", None, agent="writer", user=user, team=team)
        if number:
            _ask(client, _FINE, f"Number {number}", 429, agent="hasty", user=user, team=team)
        else:
            _ask(client, _FINE, "First", 200, agent="hasty", user=user, team=team)
        if number % 5 == 0:
            for agent in ("coder", "looper"):
                asked = {"agent": agent, "task": "Look.", "user": user, "id": f"{agent}-{number}"}
                made = client.post("/v1/runs", json=asked)
                assert made.status_code == 201, made.text


def _ask(client: httpx.Client, model: str, words: str, status: int | None, **who: str) -> Mapping[str, Any]:
    """status: what must come; None: anything, the circuit breaker has a say in it."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": words}],
        "max_tokens": 30,
        "temperature": 0,
    }
    headers = {f"X-Curb-{name.title()}": value for name, value in who.items()}
    answer = client.post("/v1/chat/completions", json=body, headers=headers)
    assert status in (None, answer.status_code), answer.text
    document: Mapping[str, Any] = answer.json()
    return document
