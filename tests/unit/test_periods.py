"""Windows of days and months: they touch, hold their instant, and follow the local clock."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.policy.periods import Calendar, reset_ms, windows
from gateway.policy.scopes import Period

HOUR_MS = 3_600_000
UTC_ZONE = ZoneInfo("UTC")
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # clocks changed at midnight
    "Asia/Beirut",  # too
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Kathmandu",  # +05:45
    "Pacific/Apia",  # had no 2011-12-30
    "Pacific/Kiritimati",
    "Africa/Casablanca",
    "Antarctica/Troll",  # by two hours
)

zones = st.sampled_from(ZONES).map(ZoneInfo)
instants = st.integers(
    ms := int(datetime(1990, 1, 1, tzinfo=UTC).timestamp() * 1000), ms + 60 * 366 * 24 * HOUR_MS
)
periods = st.sampled_from((Period.DAY, Period.MONTH))
day_starts = st.integers(0, 86_399)


def at(text: str) -> int:
    """Unix milliseconds of an ISO time with offset."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@given(periods, instants, zones, day_starts)
@example(Period.DAY, at("2011-12-30T09:59:59+00:00"), ZoneInfo("Pacific/Apia"), 0)
@example(Period.DAY, at("2011-12-30T10:00:00+00:00"), ZoneInfo("Pacific/Apia"), 0)
@example(Period.DAY, at("2026-03-29T01:00:00+00:00"), ZoneInfo("Europe/Berlin"), 150)
def test_the_three_windows_touch_and_the_middle_one_holds_now(
    period: Period, now_ms: int, zone: ZoneInfo, day_start: int
) -> None:
    before, current, after = windows(period, now_ms, zone, day_start)
    assert before.start_ms < before.end_ms == current.start_ms <= now_ms < current.end_ms
    assert current.end_ms == after.start_ms < after.end_ms
    assert before.id < current.id < after.id


@given(periods, instants, zones, day_starts)
def test_every_instant_of_a_window_gives_the_same_window(
    period: Period, now_ms: int, zone: ZoneInfo, day_start: int
) -> None:
    current = windows(period, now_ms, zone, day_start)[1]
    for instant in (current.start_ms, current.end_ms - 1):
        assert windows(period, instant, zone, day_start)[1] == current
    assert windows(period, current.end_ms, zone, day_start)[1].id > current.id


@given(instants, zones, day_starts)
def test_a_day_is_as_long_as_the_local_day_and_lies_in_its_month(
    now_ms: int, zone: ZoneInfo, day_start: int
) -> None:
    day = windows(Period.DAY, now_ms, zone, day_start)[1]
    month = windows(Period.MONTH, now_ms, zone, day_start)[1]
    assert 22 * HOUR_MS <= day.end_ms - day.start_ms <= 26 * HOUR_MS
    assert month.start_ms <= day.start_ms < day.end_ms <= month.end_ms
    assert day.id.startswith(month.id)


@given(periods, st.lists(instants, min_size=1, max_size=20), zones, day_starts)
def test_a_calendar_remembers_without_changing_the_answer(
    period: Period, several: list[int], zone: ZoneInfo, day_start: int
) -> None:
    calendar = Calendar(zone, day_start)
    for now_ms in several:
        assert calendar.windows(period, now_ms) == windows(period, now_ms, zone, day_start)
        assert calendar.reset_ms(period, now_ms) == reset_ms(period, now_ms, zone, day_start)


def test_a_second_before_midnight_belongs_to_the_day_that_ends() -> None:
    last = windows(Period.DAY, at("2026-11-21T23:59:59+00:00"), UTC_ZONE)[1]
    first = windows(Period.DAY, at("2026-11-22T00:00:00+00:00"), UTC_ZONE)[1]
    assert (last.id, first.id) == ("2026-11-21", "2026-11-22")
    assert last.end_ms == first.start_ms == at("2026-11-22T00:00:00+00:00")


def test_months_have_the_length_they_have() -> None:
    before, current, after = windows(Period.MONTH, at("2028-02-29T12:00:00+00:00"), UTC_ZONE)
    assert (before.id, current.id, after.id) == ("2028-01", "2028-02", "2028-03")
    assert current.end_ms - current.start_ms == 29 * 24 * HOUR_MS


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_days_on_which_berlin_changes_its_clocks(day: str, hours: int) -> None:
    window = windows(Period.DAY, at(f"{day}T12:00:00+01:00"), ZoneInfo("Europe/Berlin"))[1]
    assert window.id == day
    assert window.end_ms - window.start_ms == hours * HOUR_MS


def test_a_date_that_a_zone_skipped_is_no_window() -> None:
    before, current, after = windows(Period.DAY, at("2011-12-30T12:00:00+00:00"), ZoneInfo("Pacific/Apia"))
    assert (before.id, current.id, after.id) == ("2011-12-29", "2011-12-31", "2012-01-01")


def test_a_day_that_starts_at_five_still_has_yesterdays_name_at_four() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert windows(Period.DAY, at("2026-11-21T04:59:59+01:00"), berlin, 18_000)[1].id == "2026-11-20"
    assert windows(Period.DAY, at("2026-11-21T05:00:00+01:00"), berlin, 18_000)[1].id == "2026-11-21"
    assert windows(Period.MONTH, at("2026-12-01T04:00:00+01:00"), berlin, 18_000)[1].id == "2026-11"


def test_a_boundary_in_a_skipped_hour_is_read_by_the_clock_before_the_change() -> None:
    window = windows(Period.DAY, at("2026-03-29T12:00:00+02:00"), ZoneInfo("Europe/Berlin"), 9_000)[1]
    assert window.start_ms == at("2026-03-29T02:30:00+01:00")


def test_a_run_has_one_window_without_end_and_nothing_resets_it() -> None:
    assert [w.id for w in windows(Period.RUN, 0, UTC_ZONE)] == ["run"]
    assert reset_ms(Period.RUN, 0, UTC_ZONE) is None
    assert Calendar(UTC_ZONE).reset_ms(Period.RUN, 0) is None


@pytest.mark.parametrize("seconds", [-1, 86_400])
def test_a_day_start_outside_of_the_day_is_refused(seconds: int) -> None:
    with pytest.raises(ValueError, match="day_start_seconds"):
        windows(Period.DAY, 0, UTC_ZONE, seconds)


def test_the_windows_that_have_ended_touch_and_the_last_ends_at_or_before_the_instant() -> None:
    calendar = Calendar(ZoneInfo("Europe/Berlin"), 18_000)
    now_ms = at("2026-03-31T05:00:00+02:00")

    days = calendar.ended(Period.DAY, now_ms, limit=4)

    assert [day.id for day in days] == ["2026-03-27", "2026-03-28", "2026-03-29", "2026-03-30"]
    assert days[-1].end_ms == now_ms
    assert [day.end_ms for day in days[:-1]] == [day.start_ms for day in days[1:]]
    assert [month.id for month in calendar.ended(Period.MONTH, now_ms, limit=2)] == ["2026-01", "2026-02"]
    assert calendar.ended(Period.RUN, now_ms, limit=2) == ()


def test_a_window_is_found_by_a_date_in_it() -> None:
    calendar = Calendar(UTC_ZONE)

    day = calendar.window_on(Period.DAY, date(2026, 11, 21))

    assert (day.id, day.start_ms) == ("2026-11-21", at("2026-11-21T00:00:00+00:00"))
    assert calendar.window_on(Period.MONTH, date(2026, 11, 21)).id == "2026-11"
    assert calendar.window_on(Period.RUN, date(2026, 11, 21)).id == "run"
