"""curb report, and curb run --value."""

import csv
import io
from decimal import Decimal
from typing import Any

import pytest

from tests.acceptance.command import Curb


def today(curb: Curb) -> Any:
    return curb.json("report", "daily", "--date", "today")


def test_the_running_day_is_shown_as_far_as_it_has_come(curb: Curb) -> None:
    assert curb("run", "worker", "Look.", "--id", "worth-it", "--value", "2.50").status == 0
    report = curb.until(
        lambda: today(curb),
        lambda seen: seen["totals"]["cost_usd"] == curb.json("costs")["total_usd"],
    )

    assert report["state"] == "so_far"
    assert sum(Decimal(line["cost_usd"]) for line in report["agents"]) == Decimal(
        report["totals"]["cost_usd"]
    )
    worker = next(each for each in report["work"] if each["agent"] == "worker")
    assert Decimal(worker["value_usd"]) >= Decimal("2.5")
    assert Decimal(worker["profit_usd"]) == Decimal(worker["value_usd"]) - Decimal(worker["cost_usd"])
    assert report["budgets"][0]["scope"] == "global"


def test_the_running_day_can_be_closed_and_reported_with_one_command(curb: Curb) -> None:
    done = curb("report", "daily", "--close", "--json")
    again = today(curb)
    page = curb("report", "daily", "--date", "today")

    assert (done.status, done.json["state"]) == (0, "preliminary")
    assert again == done.json
    assert "**Preliminary: the day was closed early**" in page.out
    assert curb.json("report", "weekly", "--date", "today")["state"] == "so_far"


def test_a_report_is_printed_in_every_form_and_into_files(curb: Curb) -> None:
    page = curb("report", "weekly", "--date", "today", "--output", "week.html")
    table = curb("report", "weekly", "--date", "today", "--format", "csv")
    text = curb("report", "weekly", "--date", "today")

    assert (page.status, page.out) == (0, "")
    assert page.err.endswith("is in week.html\n")
    html = (curb.directory / "week.html").read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert "/namespaces/default/workflows/" in html or "Runs that were ended" not in html
    rows = list(csv.DictReader(io.StringIO(table.out)))
    assert [row["value"] for row in rows if (row["section"], row["metric"]) == ("report", "kind")] == [
        "weekly"
    ]
    assert "## Spend by day" in text.out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["daily"], 1, "nothing is on the books for"),
        (["daily", "--date", "2026-02-30"], 2, "--date '2026-02-30': write a date like"),
        (["weekly", "--date", "2999-01-01"], 2, "has not begun"),
        (["weekly", "--close"], 2, "--close closes the running day"),
        (["daily", "--json", "--format", "csv"], 2, "contradict each other"),
        (["daily", "--date", "today", "--output", "no/such/place.md"], 1, "--output no/such/place.md"),
        (["monthly"], 2, "monthly"),
    ],
)
def test_what_cannot_be_reported_is_said(curb: Curb, arguments: list[str], status: int, said: str) -> None:
    done = curb("report", *arguments)

    assert done.status == status
    assert said in done.err


def test_a_value_that_is_no_amount_is_refused(curb: Curb) -> None:
    done = curb("run", "worker", "Look.", "--value", "much")

    assert done.status == 2
    assert "--value" in done.err


def test_without_servers_it_says_what_to_do(nowhere: Curb) -> None:
    done = nowhere("report", "daily")

    assert done.status == 3
    assert "curb dev" in done.err
