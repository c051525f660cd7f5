"""The instant of a sweep in hours of UTC and accounting days, whatever the zone."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.periods import Calendar
from gateway.policy.sweep_moment import moment


def test_in_utc_an_hour_of_today_is_the_same_hour_of_the_days_before() -> None:
    now = moment(Calendar(ZoneInfo("UTC")), datetime(2026, 3, 2, 10, 31, tzinfo=UTC), days=2)

    assert now.hour == datetime(2026, 3, 2, 10, tzinfo=UTC)
    assert now.windows == {"hour": "2026-03-02T10:00Z", "day": "2026-03-02", "month": "2026-03"}
    assert now.month_begins == date(2026, 3, 1)
    assert now.days == {
        date(2026, 3, 1): datetime(2026, 3, 1, 10, tzinfo=UTC),
        date(2026, 2, 28): datetime(2026, 2, 28, 10, tzinfo=UTC),
    }


def test_days_begin_when_the_configuration_says() -> None:
    calendar = Calendar(ZoneInfo("Asia/Kolkata"), day_start_seconds=6 * 3600)  # 00:30 UTC
    now = moment(calendar, datetime(2026, 11, 21, 0, 10, tzinfo=UTC), days=1)

    assert now.windows["day"] == "2026-11-20"
    assert now.today == date(2026, 11, 20)
    assert list(now.days) == [date(2026, 11, 19)]


@given(
    st.integers(min_value=1_704_067_200, max_value=1_798_761_600).map(
        lambda s: datetime.fromtimestamp(s, UTC)
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
    st.integers(min_value=0, max_value=86_399),
)
def test_the_days_before_are_in_order_and_never_today(at: datetime, zone: str, start: int) -> None:
    now = moment(Calendar(ZoneInfo(zone), start), at, days=8)

    days = list(now.days)
    assert days == sorted(days, reverse=True)
    assert len(days) == 8
    assert days[0] < now.today
    assert all(hour < now.hour and hour.minute == 0 for hour in now.days.values())
