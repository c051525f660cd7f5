"""`curb demo`: the story comes out as it should, and the books equal the invoice."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.acceptance.command import Curb


@pytest.mark.timeout(240)
def test_the_demo_comes_out_as_it_should(tmp_path: Path) -> None:
    done = Curb(tmp_path)("demo", "--json")

    assert done.status == 0, done.err
    story = done.json
    assert {run["agent"]: run["status"] for run in story["runs"]} == {
        "steady": "completed",
        "runaway": "stopped",
        "overspender": "completed",
        "shadow": "completed",
        "talker": "completed",
        "endless": "killed",
        "survivor": "completed",
    }
    assert all(set(run) == {"id", "agent", "status", "reason", "steps", "cost_usd"} for run in story["runs"])
    assert 0 < story["kill_in_flight_ms"] < 1_000
    assert story["ledger_usd"] == story["invoice_usd"]
    assert sum(Decimal(run["cost_usd"]) for run in story["runs"]) == Decimal(story["ledger_usd"])
    assert (story["overspend_usd"], story["in_doubt_usd"]) == ("0", "0")
    assert story["temporal_ui"].startswith("http://")
    assert all(run["reason"] for run in story["runs"] if run["status"] == "stopped")
    assert story["alerts"] >= 2, "the runaway's rule and the talker's switch"
    report = Path(story["cost_report"]).read_text(encoding="utf-8")
    assert all(run["agent"] in report for run in story["runs"])
