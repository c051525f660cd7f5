"""curb schedules."""

import pytest

from tests.acceptance.command import Curb


def test_curb_dev_has_every_schedule_with_what_it_does_and_when(curb: Curb) -> None:
    rows = curb.until(
        lambda: curb.json("schedules", "list")["schedules"],
        lambda found: {each["state"] for each in found} == {"applied"},
    )

    assert [each["name"] for each in rows] == [
        "daily-reset",
        "anomaly-sweep",
        "provider-health",
        "cost-report-daily",
        "cost-report-weekly",
        "reconcile",
        "retention",
    ]
    reset = rows[0]
    assert (reset["id"], reset["when"]) == ("curb-daily-reset", "every day at 00:00 (UTC)")
    assert reset["note"].startswith("Closes the accounting day")
    assert reset["next_at"] is not None
    assert "daily-reset" in curb("schedules", "list").out


def test_applying_what_is_applied_changes_nothing_and_says_so(curb: Curb) -> None:
    curb.json("schedules", "apply")

    again = curb("schedules", "apply")

    assert (again.status, again.out) == (0, "")
    assert again.err == "nothing to change: 7 schedules are as wanted\n"


def test_a_reset_can_be_triggered_and_its_end_is_listed(curb: Curb) -> None:
    [started] = curb.json("schedules", "trigger", "daily-reset")["workflows"]

    assert started["workflow_id"].startswith("curb-daily-reset-")
    assert started["url"].endswith(f"/workflows/{started['workflow_id']}")
    reset = curb.until(
        lambda: curb.json("schedules", "list")["schedules"][0],
        lambda reset: reset["last_status"] == "completed",
    )
    assert reset["last_workflow_id"] == started["workflow_id"]


def test_a_schedule_is_paused_with_a_reason_and_resumed(curb: Curb) -> None:
    paused = curb.json("schedules", "pause", "retention", "--reason", "moving house")
    shown = curb.json("schedules", "list")["schedules"][6]
    resumed = curb.json("schedules", "resume", "retention")
    after = curb.json("schedules", "list")["schedules"][6]

    assert (paused["paused"], resumed["paused"]) == (True, False)
    assert (shown["paused"], shown["next_at"]) == (True, None)
    assert shown["note"].endswith(": moving house")
    assert (after["paused"], after["state"]) == (False, "applied")


def test_days_that_are_over_can_be_filled_in(curb: Curb) -> None:
    done = curb.json("schedules", "backfill", "daily-reset", "--from", "2026-03-01", "--to", "2026-03-02")

    assert [each["workflow_id"] for each in done["workflows"]] == [
        "curb-daily-reset-2026-03-01T00:00:00Z",
        "curb-daily-reset-2026-03-02T00:00:00Z",
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["trigger", "daily-rest"], 2, "there is no schedule daily-rest; did you mean daily-reset?"),
        (["pause", "x"], 2, "there is no schedule x; there are: daily-reset, "),
        (["backfill", "reconcile", "--from", "400d"], 1, "more than 500 times"),
        (["backfill", "daily-reset", "--from", "2026-03-02", "--to", "2026-03-01"], 2, "is after"),
        (["backfill", "daily-reset", "--from", "1d", "--to", "2099-01-01"], 2, "in the future"),
        (["backfill", "daily-reset", "--from", "soon"], 2, "--from 'soon'"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(
    curb: Curb, arguments: list[str], status: int, said: str
) -> None:
    done = curb("schedules", *arguments)

    assert done.status == status
    assert said in done.err


def test_without_a_server_it_says_what_is_missing(nowhere: Curb) -> None:
    done = nowhere("schedules", "list")

    assert done.status == 3
    assert "CURB_TEMPORAL_ADDRESS" in done.err
