"""Values as they stand in curb.yaml: amounts, durations, shares, names; and what a section is.

Amounts are dollars (5, 0.05, "$0.05"), durations carry a unit (90s, 10m, 1h30m), ratios are 0.8
or 80%.
"""

import re
import shlex
from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from gateway.policy.money import NanoUsd, usd

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_LONGEST_SECONDS = 36_500 * 86_400
_DURATION = re.compile(r"^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$")


def _amount(written: object) -> NanoUsd:
    if isinstance(written, bool) or not isinstance(written, str | int):
        raise ValueError("write an amount of dollars, for example 5 or 0.05")
    return usd(written)


def _amount_or_unlimited(written: object) -> NanoUsd | None:
    return None if written == "unlimited" else _amount(written)


def _seconds(written: object) -> float:
    text = str(written)
    if isinstance(written, int) and not isinstance(written, bool) and written > 0:
        return _imaginable(written)
    if not _DURATION.match(text):
        raise ValueError("write a duration, for example 90s, 10m, 1h30m or 2d")
    parts = re.findall(r"([\d.]+)(ms|s|m|h|d)", text)
    return _imaginable(sum(float(number) * _UNITS[unit] for number, unit in parts))


def _imaginable(seconds: float) -> float:
    """What is longer leads out of the calendar, hours later, where nobody knows the line any more."""
    if seconds > _LONGEST_SECONDS:
        raise ValueError("write 100 years (36500d) or less")
    return float(seconds)


def _kept(written: object) -> float | None:
    return None if written == "keep" else _seconds(written)


def _ratio(written: object) -> float:
    text = str(written)
    try:
        number = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except InvalidOperation:
        number = Decimal(-1)
    if not 0 <= number <= 1:
        raise ValueError("write a share of the whole, for example 0.8 or 80%")
    return float(number)


def _time_of_day(written: object) -> int:
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", str(written))
    if found is None:
        raise ValueError("write a time of day as HH:MM, for example 06:30")
    return int(found[1]) * 3_600 + int(found[2]) * 60 + int(found[3] or 0)


def _off_is_zero(written: object) -> object:
    return 0 if written == "off" or written is False else written


def _words(written: object) -> object:
    return tuple(shlex.split(written)) if isinstance(written, str) else written


TimeOfDay = Annotated[int, BeforeValidator(_time_of_day)]
"""A time of day, HH:MM or HH:MM:SS, as seconds after midnight."""
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
"""A list, or one line of shell words."""
Amount = Annotated[NanoUsd, BeforeValidator(_amount)]
Limit = Annotated[NanoUsd | None, BeforeValidator(_amount_or_unlimited)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
LookBack = Annotated[Seconds, Field(ge=1, le=86_400)]
"""How far a rule looks back over single calls, which is asked every minute: a second to a day."""
Kept = Annotated[float | None, BeforeValidator(_kept)]
"""For how long, in seconds; `keep` is for ever."""
Ratio = Annotated[float, BeforeValidator(_ratio)]
Threshold = Annotated[int, BeforeValidator(_off_is_zero), Field(ge=0)]
Switchable = Annotated[float, BeforeValidator(lambda written: _ratio(_off_is_zero(written)))]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]


class Section(BaseModel):
    """A mapping in curb.yaml. Which fields were written is in `model_fields_set`."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    def written(self, *leave_out: str) -> dict[str, object]:
        """The fields that stand in the file, by name, except those to leave out."""
        return {name: getattr(self, name) for name in self.model_fields_set if name not in leave_out}
