"""Looks at providers and reconciliations that run while curb is upgraded go on (I11)."""

from pathlib import Path

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from tests.workflows.record_watch import SCENARIOS, WATCH
from tests.workflows.test_replay import history
from worker.temporal import sandbox
from workflows.provider_health import ProviderHealth
from workflows.reconcile import Reconcile

FILES = sorted(WATCH.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    replayer = Replayer(
        workflows=[ProviderHealth, Reconcile],
        data_converter=pydantic_data_converter,
        workflow_runner=sandbox(),
    )

    await replayer.replay_workflow(history(path))


def test_every_scenario_has_been_recorded() -> None:
    assert {path.stem for path in FILES} == set(SCENARIOS)
