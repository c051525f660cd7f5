"""Workflow code is deterministic (I11), and history holds no words (I12): tried on recorded histories.

They are of every kind of ending and wait; `record.py` says how they came to be and when to record.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from tests.integration import own_workflows
from tests.workflows.record import HISTORIES, WORDS
from tests.workflows.scenarios import SCENARIOS
from worker.loading import workflows_in
from worker.temporal import sandbox
from workflows.agent_run import AgentRun

FILES = sorted(HISTORIES.glob("*.json"))
WINDOW = 4  # so many words in a row are no coincidence


def replayer() -> Replayer:
    return Replayer(
        workflows=[AgentRun, *workflows_in(own_workflows)],
        data_converter=pydantic_data_converter,
        workflow_runner=sandbox(),
    )


def history(path: Path) -> WorkflowHistory:
    """The ids of child workflows come from their parent's, so it is replayed under its own."""
    text = path.read_text()
    started = json.loads(text)["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    await replayer().replay_workflow(history(path))


async def test_a_history_that_this_code_would_not_write_is_noticed() -> None:
    other = (HISTORIES / "completed.json").read_text().replace('"end_run"', '"escalate"')

    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(WorkflowHistory.from_json("replay-other", other))


def test_every_scenario_has_been_recorded() -> None:
    assert {path.stem.partition(".")[0] for path in FILES} == set(SCENARIOS)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if not name.startswith("own_workflow")])
def test_no_words_of_the_conversation_are_in_history(name: str) -> None:
    said = json.loads((WORDS / f"{name}.json").read_text())
    assert said
    for path in (path for path in FILES if path.stem.partition(".")[0] == name):
        written = _squeezed("\n".join(_texts(json.loads(path.read_text()))))
        found = [piece for text in said for piece in _pieces(text) if piece in written]
        assert not found, path


def test_words_in_a_history_would_be_found() -> None:
    """A workflow of the user's own passes its words through its history, so they are there to be found."""
    written = "\n".join(_texts(json.loads((HISTORIES / "own_workflow.json").read_text())))

    assert "Part 1, please." in written


def _texts(node: Any, key: str = "") -> Iterator[str]:
    """Every text in a history; payloads decoded."""
    match node:
        case dict():
            for name, value in node.items():
                yield from _texts(value, name)
        case list():
            for value in node:
                yield from _texts(value, key)
        case str() if key == "data":
            yield base64.b64decode(node).decode(errors="replace")
        case str():
            yield node


def _pieces(text: str) -> Iterator[str]:
    """Windows of a few words; a shorter text is one piece."""
    words = _squeezed(text).split()
    for start in range(max(len(words) - WINDOW + 1, 1)):
        yield " ".join(words[start : start + WINDOW])


def _squeezed(text: str) -> str:
    return " ".join(text.replace("\\n", " ").split())
