"""Resets and retention that run while curb is upgraded go on (I11)."""

import json
from pathlib import Path

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from tests.workflows.record_nights import NIGHTS, SCENARIOS
from tests.workflows.test_replay import history
from worker.temporal import sandbox
from workflows.daily_reset import DailyReset
from workflows.retention import Retention

FILES = sorted(NIGHTS.glob("*.json"))
CLOSINGS = {"two_days_closed": 2, "month_closed": 2, "nothing_to_close": 0, "retention": 0}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    replayer = Replayer(
        workflows=[DailyReset, Retention],
        data_converter=pydantic_data_converter,
        workflow_runner=sandbox(),
    )

    await replayer.replay_workflow(history(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_closes_what_its_scenario_says_and_writes_down_that_it_is_done(path: Path) -> None:
    asked = [
        event["activityTaskScheduledEventAttributes"]["activityType"]["name"]
        for event in json.loads(path.read_text())["events"]
        if "activityTaskScheduledEventAttributes" in event
    ]

    assert asked.count("close_books") == CLOSINGS[path.stem]
    assert asked[-1] == ("record_retention" if path.stem == "retention" else "record_reset")


def test_every_scenario_has_been_recorded() -> None:
    assert {path.stem for path in FILES} == set(SCENARIOS)
