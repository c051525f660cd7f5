"""Times and durations as people write them on the command line."""

import re
from datetime import UTC, date, datetime, timedelta

from worker.cli.errors import Misused

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LONGEST_SECONDS = 36_500 * 86_400
_YEARS = range(1970, 9_000)  # what is beyond cannot be told in every zone
_DURATION = re.compile(r"(?:\d+[smhdw])+")


def duration_seconds(text: str, option: str) -> int:
    """Seconds in `90s`, `10m`, `1h30m`, `2d`. Raises Misused that names the option."""
    if not _DURATION.fullmatch(text):
        raise Misused(f"{option} {text!r}: write a duration, for example 90s, 10m, 1h30m or 2d")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", text))
    if not seconds:
        raise Misused(f"{option} {text!r}: must be more than nothing")
    if seconds > _LONGEST_SECONDS:
        raise Misused(f"{option} {text!r}: write 100 years (36500d) or less")
    return seconds


def moment(text: str, option: str, now: datetime) -> datetime:
    """`2h` ago, or a date or time in ISO 8601 (UTC unless it says otherwise). Raises Misused."""
    if _DURATION.fullmatch(text):
        return now - timedelta(seconds=duration_seconds(text, option))
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Misused(
            f"{option} {text!r}: write a duration (24h, 7d) or a date (2026-11-21, 2026-11-21T08:00)"
        ) from None
    if found.year not in _YEARS:
        raise Misused(f"{option} {text!r}: write a date from 1970 on")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def day_of(text: str, option: str, example: date) -> date:
    """A date in ISO 8601. Raises Misused that names the option and shows the example."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = date.min
    if found.year not in _YEARS:
        raise Misused(f"{option} {text!r}: write a date like {example}, or today, or yesterday")
    return found
