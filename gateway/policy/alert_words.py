"""Evidence in words: the numbers of an alert as a tired person reads them.

Evidence is plain JSON whose keys say their unit: `spent_nano_usd`, `window_seconds`, `error_ratio`,
`p95_ms`, `input_tokens`. Exact amounts stand in the fields, rounded ones in titles.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from gateway.policy.money import NANO_PER_USD, format_usd

_CHARACTERS = 200
_LISTED = 10
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_SUBJECTS = {"agent": "", "run": "run ", "key": "API key ", "ledger": "the ledger"}


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of the evidence. exact: for fields. short: for titles."""

    name: str
    exact: str
    short: str


def facts(evidence: Mapping[str, Any]) -> list[Fact]:
    """The evidence in its own order, what is nested beside the rest; empty values are left out."""
    return [fact for key, value in _flat(evidence) if (fact := _fact(key, value)).exact]


def subject(scope: str) -> str:
    """A scope as people say it: `agent:coder` is coder, `team:red` team red, `global` all agents."""
    kind, _, name = scope.partition(":")
    if kind == "global":
        return "all agents"
    if not name:
        return _SUBJECTS.get(kind, kind) or "curb"
    return plain(f"{_SUBJECTS.get(kind, f'{kind} ')}{name}")


def short_usd(nano_usd: int) -> str:
    """Dollars rounded half up, to cents; two digits that tell below a dollar."""
    if abs(nano_usd) >= NANO_PER_USD:
        return format_usd(_rounded(nano_usd, NANO_PER_USD // 100))
    digits = len(str(abs(nano_usd)))
    return format_usd(_rounded(nano_usd, 10 ** max(0, min(digits - 2, 7))))


def duration(seconds: float) -> str:
    """`5 minutes`, `1 hour 30 minutes`, `0.8 seconds`; the two largest units that are not empty."""
    if seconds < 1:
        return f"{seconds:.3g} seconds"
    left, said = round(seconds), list[str]()
    for unit, length in _UNITS:
        count, left = divmod(left, length)
        if count and len(said) < 2:
            said.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(said)


def percent(share: float | Fraction) -> str:
    """A share of the whole, to a hundredth of a percent at most."""
    hundredths = Decimal(str(float(share))) * 100
    return _trimmed(f"{hundredths.quantize(Decimal('0.01'), ROUND_HALF_UP):f}") + "%"


def clock(moment: datetime, now: datetime) -> str:
    """`10:20 UTC`, with the date unless it is today's; in the zone that the moment is in."""
    pattern = "%H:%M" if moment.date() == now.astimezone(moment.tzinfo).date() else "%Y-%m-%d %H:%M"
    return f"{moment:{pattern}} {moment:%Z}".strip()


def plain(text: str) -> str:
    """One line without control characters, of bounded length."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= _CHARACTERS else f"{line[: _CHARACTERS - 1]}…"


def _flat(evidence: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in evidence.items():
        if isinstance(value, Mapping):
            yield from value.items()
        else:
            yield key, value


def _fact(key: str, value: Any) -> Fact:
    name, unit = _unit(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = f"${_text(value)}" if unit == "usd" and value not in (None, "") else _text(value)
        return Fact(name, text, text)
    match unit:
        case "nano_usd":
            return Fact(name, format_usd(round(value)), short_usd(round(value)))
        case "seconds":
            text = duration(value)
        case "ms":
            text = f"{value:,.0f} ms" if value < 1_000 else f"{_trimmed(f'{value / 1000:,.3f}')} seconds"
        case "ratio" | "share" | "rate":
            text = percent(value)
        case "bytes":
            text = f"{value:,} bytes"
        case _:
            text = _number(value)
    return Fact(name, text, text)


def _unit(key: str) -> tuple[str, str]:
    """`spent_nano_usd` as its name and its unit; a key that is nothing but a unit keeps its name."""
    for unit in ("nano_usd", "usd", "seconds", "ms", "bytes"):
        if name := key.removesuffix(f"_{unit}") if key.endswith(f"_{unit}") else "":
            return name.replace("_", " "), unit
    last = key.rpartition("_")[2]
    return key.replace("_", " "), last if last in ("ratio", "share", "rate") else ""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _trimmed(decimal: str) -> str:
    return decimal.rstrip("0").rstrip(".")


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        if any(isinstance(each, Mapping) for each in value):
            return ""  # a table; whoever wants it finds it with the alert
        shown = ", ".join(_text(each) for each in value[:_LISTED])
        return plain(f"{shown}, …" if len(value) > _LISTED else shown)
    return "" if value is None else plain(str(value))


def _rounded(amount: int, to: int) -> int:
    """Half up (away from zero), to a multiple of `to`."""
    sign = -1 if amount < 0 else 1
    return sign * ((2 * abs(amount) + to) // (2 * to)) * to


def seconds_between(earlier: datetime, later: datetime) -> float:
    return (later - earlier) / timedelta(seconds=1)
