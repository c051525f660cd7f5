"""Days and weeks that reports are about, in zones whose clocks change."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.periods import Calendar
from gateway.policy.report_periods import NoSuchDay, before, day_window, holding, last_complete, running

UTC_DAYS = Calendar(ZoneInfo("UTC"))


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_the_last_complete_day_is_yesterday_however_late_it_is_asked_for() -> None:
    early = last_complete("daily", UTC_DAYS, ms("2026-11-22T00:00"))
    late = last_complete("daily", UTC_DAYS, ms("2026-11-22T23:59"))

    assert early == late
    assert (early.name, early.starts_ms, early.ends_ms) == (
        "2026-11-21",
        ms("2026-11-21T00:00"),
        ms("2026-11-22T00:00"),
    )


@pytest.mark.parametrize("at", ["2026-11-23T00:00", "2026-11-23T00:20", "2026-11-29T23:59"])
def test_the_last_complete_week_runs_from_monday_to_sunday(at: str) -> None:
    week = last_complete("weekly", UTC_DAYS, ms(at))

    assert (week.name, week.first_day, week.last_day) == ("2026-W47", date(2026, 11, 16), date(2026, 11, 22))
    assert (week.starts_ms, week.ends_ms) == (ms("2026-11-16T00:00"), ms("2026-11-23T00:00"))


def test_a_week_of_two_years_is_named_by_its_thursday() -> None:
    assert holding("weekly", UTC_DAYS, date(2027, 1, 2)).name == "2026-W53"


def test_the_running_week_holds_today() -> None:
    assert running("weekly", UTC_DAYS, ms("2026-11-23T00:00")).name == "2026-W48"


def test_days_begin_where_the_calendar_says() -> None:
    calendar = Calendar(ZoneInfo("Asia/Kolkata"), 6 * 3600)
    window = day_window(calendar, date(2026, 11, 21))

    assert (window.start_ms, window.end_ms) == (ms("2026-11-21T00:30"), ms("2026-11-22T00:30"))


def test_a_date_that_a_zone_skipped_is_named() -> None:
    samoa = Calendar(ZoneInfo("Pacific/Apia"))

    with pytest.raises(NoSuchDay, match="2011-12-30 did not happen in Pacific/Apia"):
        day_window(samoa, date(2011, 12, 30))
    assert len(holding("weekly", samoa, date(2011, 12, 29)).days) == 6


@given(
    st.dates(date(2000, 1, 1), date(2040, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati", "Asia/Tehran"]),
    st.integers(0, 86_399),
)
def test_periods_touch(day: date, zone: str, start: int) -> None:
    calendar = Calendar(ZoneInfo(zone), start)
    for kind in ("daily", "weekly"):
        period = holding(kind, calendar, day)
        earlier = before(period, calendar)

        assert period.first_day <= day <= period.last_day
        assert earlier.ends_ms == period.starts_ms
        assert earlier.last_day == period.first_day - timedelta(days=1)
        assert last_complete(period.kind, calendar, period.ends_ms) == period
        assert running(period.kind, calendar, period.ends_ms - 1) == period
