"""The Temporal dev server with its Web UI, with flags as measured in DESIGN 7."""

import signal
from collections.abc import Mapping
from pathlib import Path

from worker.stack import temporal_binary
from worker.stack.kinds import NotReady, Say
from worker.stack.ports import LOOPBACK

NAMESPACE = "default"
SEARCH_ATTRIBUTES: Mapping[str, str] = {
    "CurbAgent": "Keyword",
    "CurbTeam": "Keyword",
    "CurbUser": "Keyword",
    "CurbMode": "Keyword",
    "CurbStatus": "Keyword",
    "CurbCostMicroUsd": "Int",
}
_DYNAMIC_CONFIG = {
    # Stock settings poll queues at 20 a second: 190 ms a step instead of 17.
    "history.transferProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    "history.visibilityProcessorMaxPollRPS": "2000",
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    "system.enableActivityEagerExecution": "true",
    "matching.useNewMatcher": "true",
    "matching.enableFairness": "true",
}
_PRAGMAS = {"journal_mode": "wal", "synchronous": "normal"}  # 45 -> 140 steps a second


class Temporal:
    """A durable dev server: its database is a file."""

    name = "temporal"
    ports: Mapping[str, int] = {"temporal": 7233, "temporal_ui": 8233, "temporal_metrics": 9235}
    user: str | None = None
    stop_signal = signal.SIGTERM

    def __init__(self, data: Path) -> None:
        self._data = data
        self.marker = str(data / "temporal.db")
        self._binary: Path | None = None

    def prepare(self, say: Say) -> None:
        self._data.mkdir(parents=True, exist_ok=True)
        self._binary = self._binary or temporal_binary.find_or_install(say)

    def command(self, ports: Mapping[str, int]) -> tuple[str, ...]:
        return (
            *(str(self._binary), "server", "start-dev", "--ip", LOOPBACK, "--log-level", "warn"),
            *("--port", str(ports["temporal"]), "--ui-port", str(ports["temporal_ui"])),
            *("--metrics-port", str(ports["temporal_metrics"])),
            *("--namespace", NAMESPACE, "--db-filename", self.marker),
            *_repeated("--sqlite-pragma", _PRAGMAS),
            *_repeated("--search-attribute", SEARCH_ATTRIBUTES),
            *_repeated("--dynamic-config-value", _DYNAMIC_CONFIG),
        )

    async def ask(self, ports: Mapping[str, int]) -> None:
        # Imported here: commands that need no Temporal start 0.4 s sooner.
        from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
        from temporalio.service import ConnectConfig, RPCError, ServiceClient

        try:
            client = await ServiceClient.connect(ConnectConfig(target_host=f"{LOOPBACK}:{ports[self.name]}"))
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=NAMESPACE))
        except (RuntimeError, RPCError) as error:
            raise NotReady(str(error)) from error


def _repeated(flag: str, values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(word for key, value in values.items() for word in (flag, f"{key}={value}"))
