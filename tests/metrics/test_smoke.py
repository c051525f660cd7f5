"""A breach of velocity under load reaches a webhook: by curb itself, and by Prometheus and Alertmanager."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.acceptance.command import Curb, Dev
from tests.integration.receivers import Receiver, receiver
from tests.integration.waiting import until
from tests.metrics.load import Load, furnish
from tests.metrics.programs import RULES, alertmanager, prometheus
from worker.stack.ports import free_port

DEAR = "anthropic/claude-opus-4-6@say-60000"  # an answer costs about $1.50
_ALERTMANAGER = """
route: {{receiver: hook, group_by: [alertname, agent], group_wait: 100ms}}
receivers: [{{name: hook, webhook_configs: [{{url: "{hook}/alertmanager"}}]}}]
"""
_PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}/*.yml]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{alertmanager}"]}}]}}]}}
scrape_configs:
  - {{job_name: curb-worker, static_configs: [{{targets: ["127.0.0.1:{metrics}"]}}]}}
"""


@contextlib.asynccontextmanager
async def curb_at_work(directory: Path, hook: Receiver, metrics_port: int) -> AsyncIterator[Dev]:
    """`curb dev` whose alerts go to the hook, too, with clients and runs that keep it busy."""
    furnish(directory)
    file = directory / "curb.yaml"
    written: dict[str, Any] = yaml.safe_load(file.read_text())
    written["deployments"][DEAR] = {"price_model": "claude-opus-4-6", "max_output_tokens": 64_000}
    written["alerts"] = {
        "channels": {"hook": {"type": "webhook", "url_env": "HOOK_URL", "secret_env": "HOOK_SECRET"}},
        "routes": [{"rule": "velocity_*", "channels": "hook"}],
    }
    file.write_text(yaml.safe_dump(written))
    settings = {"HOOK_URL": f"{hook.url}/curb", "HOOK_SECRET": "a secret of the smoke's"}
    dev = await asyncio.to_thread(Dev, Curb(directory, settings), metrics_port=metrics_port)
    load = Load(dev.places["front_door"])
    try:
        yield dev
    finally:
        await asyncio.to_thread(load.stop)
        assert await asyncio.to_thread(dev.stop) == 0, dev.errors.read_text()


async def overspends(door: str) -> float:
    """Calls until more than $5 are spent; when the last answer was there (monotonic seconds)."""
    asked = {"model": DEAR, "max_tokens": 62_000, "messages": [{"role": "user", "content": "Go on."}]}
    spent = 0.0
    async with httpx.AsyncClient(base_url=door, timeout=120) as client:
        while spent <= 5:
            answer = await client.post(
                "/v1/messages", json=asked, headers={"X-Curb-Agent": "spender", "X-Curb-Cache": "off"}
            )
            assert answer.status_code == 200, answer.text
            spent += float(answer.headers["x-curb-cost"])
    return time.monotonic()


async def heard(hook: Receiver, path: str, *words: str) -> float:
    """Wait for a message with all of these words; when it was there."""

    async def came() -> bool:
        bodies = [each.body.decode() for each in hook.requests if each.path == path]
        return any(all(word in body for word in words) for body in bodies)

    await until(came, seconds=60)
    return time.monotonic()


@pytest.mark.timeout(280)
async def test_a_breach_of_velocity_reaches_a_webhook(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics_port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        hook = await stack.enter_async_context(receiver())
        (tmp_path / "alertmanager.yml").write_text(_ALERTMANAGER.format(hook=hook.url))
        manager = await stack.enter_async_context(
            alertmanager(tmp_path / "alertmanager.yml", tmp_path / "alertmanager")
        )
        told = {"rules": RULES, "alertmanager": manager.url.removeprefix("http://"), "metrics": metrics_port}
        (tmp_path / "prometheus.yml").write_text(_PROMETHEUS.format(**told))
        directory = tmp_path / "curb"
        directory.mkdir()
        dev = await stack.enter_async_context(curb_at_work(directory, hook, metrics_port))
        await stack.enter_async_context(prometheus(tmp_path / "prometheus.yml", tmp_path / "prometheus"))

        breached = await overspends(dev.places["front_door"])
        by_curb, by_prometheus = await asyncio.gather(
            heard(hook, "/curb", "spender", "velocity_warning"),
            heard(hook, "/alertmanager", "spender", "AgentVelocitySpike", "firing"),
        )

    with capsys.disabled():
        sys.stdout.write(
            f"\na breach of velocity was at the webhook after {by_curb - breached:.2f} s by curb itself, "
            f"after {by_prometheus - breached:.2f} s by Prometheus and Alertmanager\n"
        )
