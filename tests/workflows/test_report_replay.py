"""Reports that are on their way while curb is upgraded go on: recorded histories replay (I11)."""

from pathlib import Path

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from tests.workflows.record_reports import REPORTS, SCENARIOS
from tests.workflows.test_replay import history
from worker.temporal import sandbox
from workflows.cost_report import CostReport

FILES = sorted(REPORTS.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_recorded_history_of_a_report_replays(path: Path) -> None:
    replayer = Replayer(
        workflows=[CostReport], data_converter=pydantic_data_converter, workflow_runner=sandbox()
    )

    await replayer.replay_workflow(history(path))


def test_every_scenario_of_reports_has_been_recorded() -> None:
    assert {path.stem for path in FILES} == set(SCENARIOS)
