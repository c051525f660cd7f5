"""Durations and moments as people type them."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.cli.errors import Misused
from worker.cli.times import day_of, duration_seconds, moment

_NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5_400), ("2d", 172_800), ("1w", 604_800)]
)
def test_durations_carry_units(text: str, seconds: int) -> None:
    assert duration_seconds(text, "--expires") == seconds


@pytest.mark.parametrize("text", ["", "10", "soon", "-5m", "0s", "1.5h"])
def test_what_is_no_duration_is_refused_by_the_options_name(text: str) -> None:
    with pytest.raises(Misused, match="--expires"):
        duration_seconds(text, "--expires")


def test_a_moment_is_a_duration_ago_or_a_date_in_utc() -> None:
    assert moment("24h", "--since", _NOW) == _NOW - timedelta(days=1)
    assert moment("2026-11-20", "--since", _NOW) == datetime(2026, 11, 20, tzinfo=UTC)
    assert moment("2026-11-20T08:00+01:00", "--since", _NOW) == datetime(2026, 11, 20, 7, tzinfo=UTC)
    with pytest.raises(Misused, match="--since 'yesterday': write a duration"):
        moment("yesterday", "--since", _NOW)


@pytest.mark.parametrize("text", ["99999999999d", "0001-01-01", "0001-01-01T00:00+14:00", "9999-12-31"])
def test_what_leads_out_of_the_calendar_is_refused_by_the_options_name(text: str) -> None:
    with pytest.raises(Misused, match="--from"):
        moment(text, "--from", _NOW)


@pytest.mark.parametrize("text", ["9999-12-31", "0001-01-01", "2026-02-30", "soon"])
def test_a_day_without_neighbours_is_none_that_can_be_asked_for(text: str) -> None:
    with pytest.raises(Misused, match=r"--date .* write a date like 2026-11-21"):
        day_of(text, "--date", _NOW.date())
