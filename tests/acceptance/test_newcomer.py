"""A stranger's way: clone, `make demo`, and it works."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(900)
def test_a_fresh_clone_plays_the_demo(tmp_path: Path) -> None:
    clone = tmp_path / "curb"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("CURB_", "VIRTUAL_ENV"))
    }

    played = subprocess.run(
        ["make", "--silent", "demo", "ARGS=--json"],
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=850,
    )

    assert played.returncode == 0, played.stdout
    told = json.loads(played.stdout[played.stdout.index("{") :])
    assert told["ledger_usd"] == told["invoice_usd"]
    assert (told["overspend_usd"], told["in_doubt_usd"]) == ("0", "0")
    assert {run["status"] for run in told["runs"]} == {"completed", "stopped", "killed"}
