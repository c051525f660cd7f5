"""Every curl command of the documents that asks a front door works as it is written."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.command import Curb

DOCS = Path(__file__).parents[2] / "docs"
_COMMAND = re.compile(r"^    (curl (?:.*\\\n)*.*)$", re.MULTILINE)
COMMANDS = [
    (page.name, command)
    for page in sorted(DOCS.glob("*.md"))
    for command in _COMMAND.findall(page.read_text())
    if "$CURB" in command
]


def test_there_are_some() -> None:
    assert {page for page, _ in COMMANDS} >= {"front-door.md", "admin-api.md"}


@pytest.mark.parametrize(
    ("page", "command"), COMMANDS, ids=[f"{page}-{n}" for n, (page, _) in enumerate(COMMANDS)]
)
def test_it_is_answered(curb: Curb, page: str, command: str) -> None:
    name = f"curl-{abs(hash((page, command)))}"
    roles = ("call", "admin")
    token = curb.json("keys", "create", name, *(part for role in roles for part in ("--role", role)))["token"]
    run = "curl-run"
    curb.json("run", "worker", "Do it.", "--id", run)
    written = command.replace("/RUN/", f"/{run}/").replace('"agent": "coder"', '"agent": "worker"')
    place = curb.json("dev")["front_door"]

    done = subprocess.run(
        ("bash", "-c", f"{written} --fail-with-body --max-time 60"),
        env={**os.environ, "CURB": place, "KEY": token},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout
    if "-sN" not in command:
        assert json.loads(done.stdout)
