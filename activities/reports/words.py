"""Numbers and names as people read them in a report. Pure."""

from collections.abc import Iterable
from datetime import date, datetime
from zoneinfo import ZoneInfo

from activities.reports.page import Cell, Tone
from gateway.policy.money import NANO_PER_USD

NOBODY = "(none)"
NOTHING = "–"

_CENT = NANO_PER_USD // 100

_SCOPES = {
    "agent": "Agent {}", "team": "Team {}", "user": "User {}", "key": "Key {}", "model": "Model {}",
    "tier": "Tier {}", "provider": "Provider {}", "deployment": "Model {}", "run": "Run {}",
}  # fmt: skip
_REFUSALS = {
    "exhausted": "Budget used up",
    "contended": "Waited for other calls' money",
    "never_fits": "Larger than its budget",
    "switched": "Switched off",
    "throttled": "Slowed down",
    "rate_limited": "Over a rate limit",
    "in_flight": "Same call already under way",
    "pressure": "Sent to a cheaper model",
    "unavailable": "No service available",
    "invalid": "Not a valid request",
}


class Amounts:
    """Writes dollars of one report: all with as many decimals, so that columns line up.

    The larger the report's total, the fewer: cents from $10 on. What is whole cents anyway (limits,
    mostly) never has more than cents.
    """

    def __init__(self, total_nano_usd: int) -> None:
        total = abs(total_nano_usd)
        self._decimals = 2 if total >= 10 * NANO_PER_USD else 4 if total >= NANO_PER_USD // 10 else 6

    def __call__(self, nano_usd: int | None) -> str:
        """`$1,234.56`, rounded half up; `–` where there is no amount."""
        if nano_usd is None:
            return NOTHING
        decimals = self._decimals if nano_usd % _CENT else 2
        unit = NANO_PER_USD // 10**decimals
        units = (2 * abs(nano_usd) + unit) // (2 * unit)
        dollars, part = divmod(units, 10**decimals)
        return f"{'−' if nano_usd < 0 and units else ''}${dollars:,}.{part:0{decimals}d}"

    def signed(self, nano_usd: int) -> str:
        """The same with a sign also above zero."""
        text = self(nano_usd)
        return text if nano_usd <= 0 or not any("1" <= digit <= "9" for digit in text) else f"+{text}"


def whole(number: int) -> str:
    """`1,234`."""
    return f"{number:,}"


def short(number: int) -> str:
    """Large counts, to three digits: `951`, `12.3k`, `4.56M`."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= unit:
            value = number / unit
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}{name}"
    return str(number)


def percent(share: float | None) -> str:
    """`12 %`, `0.4 %`; never 0 % of something, nor 100 % of less than all."""
    if share is None:
        return NOTHING
    value = share * 100
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100:
        return "> 99.9 %"
    return (
        f"{value:.1f} %" if (value < 10 and value != round(value)) or 99 <= value < 100 else f"{value:.0f} %"
    )


def change(now: int, before: int | None) -> str:
    """`+12 %`; `new` after nothing; '–' where there is nothing to compare."""
    if before is None or (before == 0 and now == 0):
        return NOTHING
    if before == 0:
        return "new"
    share = (now - before) / before
    if abs(share) >= 10:
        return f"× {now / before:.0f}"
    return f"{'+' if share > 0 else '−' if share < 0 else '±'}{abs(share) * 100:.0f} %"


def change_cell(now: int, before: int | None) -> Cell:
    """More spend is not bad by itself, but it is what a reader looks for."""
    text = change(now, before)
    tone: Tone = "muted"
    if before and now > before * 1.2:
        tone = "warn"
    elif before and now < before * 0.8:
        tone = "good"
    return Cell(text, tone)


def milliseconds(ms: float) -> str:
    """`340 ms`, `1.2 s`, `2 min`."""
    if ms < 1_000:
        return f"{ms:.0f} ms"
    return f"{ms / 1_000:.1f} s" if ms < 60_000 else f"{ms / 60_000:.1f} min"


def scope(text: str) -> str:
    """`agent:coder` as `Agent coder`."""
    if text in ("global", ""):
        return "Everything"
    if text == "run":
        return "A run's own budget"
    kind, _, name = text.partition(":")
    return _SCOPES[kind].format(name or NOBODY) if kind in _SCOPES else text


def whose(text: str) -> str:
    """`agent:coder` as it stands in a sentence: `agent coder`."""
    named = scope(text)
    return f"{named[:1].lower()}{named[1:]}"


def refusal(kind: str) -> str:
    return _REFUSALS.get(kind, humanly(kind))


def humanly(name: str) -> str:
    """`daily_budget_80` as `Daily budget 80`."""
    text = " ".join(name.replace("_", " ").split())
    return text[:1].upper() + text[1:]


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 run`, `12 runs`."""
    return f"{whole(number)} {one if number == 1 else many or one + 's'}"


def listing(names: Iterable[str]) -> str:
    """`a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def long_day(day: date) -> str:
    """`Wednesday, 11 November 2026`, whatever the locale."""
    return f"{_DAYS[day.weekday()]}, {day.day} {_MONTHS[day.month - 1]} {day.year}"


def days(first: date, last: date) -> str:
    """`9 – 15 November 2026`."""
    if first == last:
        return f"{last.day} {_MONTHS[last.month - 1]} {last.year}"
    begin = str(first.day)
    if (first.year, first.month) != (last.year, last.month):
        begin += f" {_MONTHS[first.month - 1]}"
    if first.year != last.year:
        begin += f" {first.year}"
    return f"{begin} – {last.day} {_MONTHS[last.month - 1]} {last.year}"


def short_day(day: date) -> str:
    """`Mon 9`."""
    return f"{_DAYS[day.weekday()][:3]} {day.day}"


def month(name: str) -> str:
    """`2026-11` as `November 2026`."""
    year, _, number = name.partition("-")
    return f"{_MONTHS[int(number) - 1]} {year}"


def moment(at: datetime, zone: str) -> str:
    """`12 Nov 00:10` by the clock of the report's zone."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{local.day} {_MONTHS[local.month - 1][:3]} {local:%H:%M}"


_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
