"""Times and durations as people write them on the command line."""

import re
from datetime import UTC, datetime, timedelta

from worker.cli.errors import Misused

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d+[smhdw])+")


def duration_seconds(text: str, option: str) -> int:
    """Seconds in `90s`, `10m`, `1h30m`, `2d`. Raises Misused that names the option."""
    if not _DURATION.fullmatch(text):
        raise Misused(f"{option} {text!r}: write a duration, for example 90s, 10m, 1h30m or 2d")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", text))
    if not seconds:
        raise Misused(f"{option} {text!r}: must be more than nothing")
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
    return found if found.tzinfo else found.replace(tzinfo=UTC)
