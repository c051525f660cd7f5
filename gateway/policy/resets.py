"""What of curb's own switches belongs to a day, and is lifted when it is over."""

from typing import Literal

Cause = Literal["budget", "velocity", "anomaly"]
_THROTTLES: dict[str, Cause] = {
    "auto:budget:": "budget",
    "auto:velocity:": "velocity",
    "auto:anomaly:": "anomaly",
}


def day_scoped(name: str, value: str) -> Cause | None:
    """Why a switch was set that the reset of the day may lift; None: the reset leaves it alone.

    An agent's kill switch for its spent day, and curb's own throttles. Kill switches for velocity or
    an anomaly end by themselves, in minutes; what a person set ends when that person says so.
    """
    if name.startswith("kill:agent:"):
        return "budget" if value.startswith("auto:budget:") else None
    if name.startswith("throttle:agent:"):
        return next((cause for start, cause in _THROTTLES.items() if value.startswith(start)), None)
    return None


def agent_of(name: str) -> str:
    """The agent whose switch this is: `kill:agent:coder` -> `coder`."""
    return name.split(":", 2)[2]


def still_stands(
    cause: Cause,
    *,
    limit_nano_usd: int | None,
    used_nano_usd: int,
    velocity_nano_usd: int,
    alert_nano_usd: int,
) -> bool:
    """Whether the cause holds in the new day: its budget is spent again, or the agent still spends fast.

    An anomaly of a day is over with the day. alert_nano_usd: from where on velocity is a warning.
    """
    if cause == "budget":
        return limit_nano_usd is not None and used_nano_usd >= limit_nano_usd
    return cause == "velocity" and velocity_nano_usd > alert_nano_usd
