"""Sweeps that run while curb is upgraded go on (I11): one that works, two that fail, one that works again."""

import json
from pathlib import Path

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from tests.workflows.record_sweeps import SCENARIOS, SWEEPS
from tests.workflows.test_replay import history
from worker.temporal import sandbox
from workflows.anomaly_sweep import AnomalySweep

FILES = sorted(SWEEPS.glob("*.json"))
ASKED = {
    "swept": ["sweep"],
    "failed": ["sweep"],
    "failed_again": ["sweep", "tell_sweep_failure"],
    "works_again": ["sweep", "tell_sweep_recovery"],
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    replayer = Replayer(
        workflows=[AnomalySweep],
        data_converter=pydantic_data_converter,
        workflow_runner=sandbox(),
    )

    await replayer.replay_workflow(history(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_asks_for_what_its_scenario_says(path: Path) -> None:
    events = json.loads(path.read_text())["events"]

    scheduled = [
        event["activityTaskScheduledEventAttributes"]["activityType"]["name"]
        for event in events
        if "activityTaskScheduledEventAttributes" in event
    ]
    assert scheduled == ASKED[path.stem]


def test_every_scenario_has_been_recorded() -> None:
    assert {path.stem for path in FILES} == set(SCENARIOS)
