"""What `curb ledger resolve` says of usage that providers tell in sums."""

from collections import Counter

import pytest

from gateway.aggregated.follow import SumReport
from gateway.reconcile import Report
from worker.cli.book import print_report, report_document

SUMS = SumReport(
    settled=1,
    unattributed_nano_usd=1_500_000_000,
    followed=["openai"],
    undecided=Counter({"not complete yet": 2}),
    unavailable={"anthropic": "anthropic: its usage API answered 401"},
)


def test_programs_read_it_in_one_document() -> None:
    assert report_document(Report(), SUMS, resolving=True)["provider_usage"] == {
        "followed": ["openai"],
        "unavailable": {"anthropic": "anthropic: its usage API answered 401"},
        "left_in_doubt": {"not complete yet": 2},
        "unattributed_usd": "1.5",
    }


def test_people_read_it_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(Report(), SUMS, resolving=True)

    said = capsys.readouterr().out
    assert "openai: its usage was read" in said
    assert "anthropic: its usage API answered 401" in said
    assert "left in doubt, 2 times: not complete yet" in said
    assert "$1.50 of usage that no attempt explains" in said
