"""What is scheduled, from the configuration alone."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.errors import ConfigurationError
from worker.config import parse_config
from worker.config_schedules import NAMES
from worker.schedules import At, Every, WantedSchedule, duration_words, wanted_schedules


def wanted(text: str = "") -> dict[str, WantedSchedule]:
    return {each.name: each for each in wanted_schedules(parse_config(text))}


def test_without_configuration_everything_is_scheduled() -> None:
    found = wanted()

    assert tuple(found) == NAMES
    assert [each.words for each in found.values()] == [
        "every day at 00:00 (UTC)",
        "every minute, up to 5 s later",
        "every 30 s",
        "every day at 00:10 (UTC)",
        "every Monday at 00:20 (UTC)",
        "every hour, up to 5 min later",
        "every day at 03:30 (UTC), up to 5 min later",
    ]
    assert [each.workflow for each in found.values()] == [
        "DailyReset",
        "AnomalySweep",
        "ProviderHealth",
        "CostReport",
        "CostReport",
        "Reconcile",
        "Retention",
    ]
    assert found["cost-report-weekly"].argument == {"kind": "weekly"}


@pytest.mark.parametrize("name", NAMES)
def test_each_says_in_a_sentence_or_two_what_it_does(name: str) -> None:
    note = wanted()[name].note

    assert note.endswith(".")
    assert 1 <= note.count(". ") + 1 <= 3


def test_the_day_and_its_reports_follow_the_zone_and_the_start_of_the_day() -> None:
    found = wanted("timezone: Europe/Berlin\nday_start: '23:55'")

    assert found["daily-reset"].when == At(86_100, "Europe/Berlin")
    assert found["cost-report-daily"].words == "every day at 00:05 (Europe/Berlin)"
    assert found["cost-report-weekly"].words == "every Tuesday at 00:15 (Europe/Berlin)"


def test_each_can_be_changed_or_switched_off() -> None:
    found = wanted(
        """
        schedules:
          reconcile: off
          anomaly-sweep: {every: 10s}
          retention: {at: "04:15", on: sunday, jitter: 1m}
          cost-report-weekly: {at: "08:00"}
          cost-report-daily: {every: 2h}
          daily-reset: {catch_up: 30m}
        """
    )

    assert "reconcile" not in found
    assert found["anomaly-sweep"].words == "every 10 s, up to 1 s later"
    assert found["retention"].words == "every Sunday at 04:15 (UTC), up to 60 s later"
    assert found["cost-report-weekly"].words == "every Monday at 08:00 (UTC)"
    assert found["cost-report-daily"].words == "every 2 h"
    assert wanted("schedules: {reconcile: {at: '12:00'}}")["reconcile"].when == At(43_200, "UTC")
    assert found["daily-reset"].catch_up_seconds == 1_800


def test_a_digest_tells_two_that_differ_and_is_the_same_for_two_that_do_not() -> None:
    same, other = wanted(), wanted("day_start: '00:00:01'")

    assert wanted()["daily-reset"].digest == same["daily-reset"].digest
    assert other["daily-reset"].digest != same["daily-reset"].digest
    assert other["retention"].digest == same["retention"].digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schedules: {retentoin: off}", "there is no schedule retentoin; did you mean retention?"),
        ("schedules: {retention: {every: 1h, at: '03:00'}}", "one of them"),
        ("schedules: {retention: {every: 100ms}}", "once a second"),
        ("schedules: {retention: {on: sunday}}", "write `at`"),
        ("schedules: {retention: {catch_up: 1s}}", "write 10s or more"),
        ("schedules: {retention: {on: someday, at: '03:00'}}", "schedules.retention.on"),
        ("schedules: {retention: sometimes}", "write a mapping of fields"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field_and_the_remedy(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=r"curb\.yaml:1: schedules") as refused:
        parse_config(text)

    assert said in str(refused.value)


def test_due_times_include_both_ends_and_stop_one_past_the_limit() -> None:
    hourly = WantedSchedule("x", "X", Every(3_600), "", 60, 60)
    start = datetime(2026, 3, 1, 10, tzinfo=UTC)

    due = hourly.starts(start, start + timedelta(hours=2), limit=10)

    assert due == [start + timedelta(hours=n) for n in range(3)]
    assert len(hourly.starts(start, start + timedelta(days=9), limit=10)) == 11
    assert hourly.starts(start + timedelta(minutes=1), start + timedelta(minutes=59), limit=10) == []


def test_a_time_that_a_clock_change_skips_is_not_due_on_that_day() -> None:
    night = WantedSchedule("x", "X", At(9_000, "Europe/Berlin"), "", 60, 60)

    due = night.starts(datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC), limit=10)

    assert [f"{at:%d %H:%M}" for at in due] == ["28 01:30", "30 00:30"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(30, "30 s"), (90, "90 s"), (300, "5 min"), (7_200, "2 h"), (259_200, "3 days")]
)
def test_durations_are_whole_where_they_are_whole(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words
