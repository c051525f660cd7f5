"""What is to be done about an alert now: tell, tell again, escalate, hold back, end.

A pure decision over what is written down about it, so that it may be made again at any time: what
was planned already is not planned anew. `number` tells the messages of one kind apart: the
generation of a firing, the step of an escalation within its generation, the count of a repetition.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from gateway.policy.alert_catalogue import known_rule
from gateway.policy.alert_routes import AlertPolicy, Silence, silence_of
from gateway.policy.alert_words import clock
from gateway.policy.alerts import AlertRecord

TellKind = Literal["firing", "repeated", "escalated", "resolved"]
DeliveryState = Literal["pending", "delivered", "refused", "failed", "superseded"]
MAX_ESCALATIONS = 10
_REACHED = ("pending", "delivered")


@dataclass(frozen=True, slots=True)
class Tell:
    """One message to one channel."""

    kind: TellKind
    number: int
    channel: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that was planned, and what became of it."""

    kind: TellKind
    number: int
    channel: str
    state: DeliveryState
    planned_at: datetime
    tries: int = 0
    error: str = ""
    delivered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """tells: to be planned now. resolution: why it is over ('' while it is not). told: people are told
    of the newest generation with this. quiet_until: new when somebody is told. look_at: when to decide
    again at the latest, None when there is nothing more to decide. held: why nobody is told.
    """

    tells: tuple[Tell, ...] = ()
    resolution: str = ""
    told: bool = False
    quiet_until: datetime | None = None
    look_at: datetime | None = None
    held: str = ""


def decide(
    alert: AlertRecord,
    deliveries: Sequence[Delivery],
    silences: Sequence[Silence],
    policy: AlertPolicy,
    now: datetime,
) -> Decision:
    """What to do about an alert at `now`."""
    quiet = policy.quiet_until(alert, now)
    if alert.status == "resolved":
        return _end(alert, deliveries, alert.resolution, quiet, now)
    silence = silence_of(alert, silences, now)
    ends, resolution = _end_by_itself(alert, policy)
    waits = silence is None and _is_untold_moment(alert)
    if now >= ends and not waits:
        return _end(alert, deliveries, resolution, quiet, now)
    if silence is not None or quiet is not None:
        until = max(each for each in (silence.until if silence else None, quiet) if each is not None)
        why = f"silenced by {silence.by}" if silence is not None else "quiet hours"
        return Decision(look_at=until if waits else min(until, ends), held=f"{why} until {clock(until, now)}")
    return _tell(alert, deliveries, policy, now, ends)


def _tell(
    alert: AlertRecord, deliveries: Sequence[Delivery], policy: AlertPolicy, now: datetime, ends: datetime
) -> Decision:
    repeat_after = timedelta(seconds=policy.repeat_seconds(alert.rule))
    channels = policy.channels(alert)
    if alert.told_generation < alert.generation:
        tells = tuple(Tell("firing", alert.generation, name) for name in channels)
        firsts = (now + timedelta(seconds=step.after_seconds) for step in policy.escalations_of(alert))
        looks = [ends, now + repeat_after, *firsts]
        return Decision(tells, told=True, quiet_until=now + repeat_after, look_at=min(looks))
    if alert.status == "acknowledged":
        return Decision(look_at=ends)
    escalated = list(_escalations(alert, deliveries, policy, now))
    tells = tuple(tell for due, tell in escalated if due <= now)
    looks = [ends, *(due for due, _ in escalated if due > now)]
    due = alert.quiet_until or now
    if due > now:
        looks.append(due)
    elif alert.last_seen > (alert.last_told_at or now):
        number = 1 + max((each.number for each in deliveries if each.kind == "repeated"), default=0)
        already = {tell.channel for tell in tells}
        tells += tuple(Tell("repeated", number, name) for name in channels if name not in already)
        return Decision(tells, quiet_until=now + repeat_after, look_at=min(*looks, now + repeat_after))
    return Decision(tells, look_at=min(looks))


def _escalations(
    alert: AlertRecord, deliveries: Sequence[Delivery], policy: AlertPolicy, now: datetime
) -> Iterator[tuple[datetime, Tell]]:
    """What was not yet planned, with the time when it is due."""
    planned = {(each.number, each.channel) for each in deliveries if each.kind == "escalated"}
    told_at = alert.told_at or now
    for step, escalation in enumerate(policy.escalations_of(alert)[:MAX_ESCALATIONS]):
        number = alert.generation * MAX_ESCALATIONS + step
        due = told_at + timedelta(seconds=escalation.after_seconds)
        for name in dict.fromkeys(escalation.to):
            if (number, name) not in planned:
                yield due, Tell("escalated", number, name)


def _end(
    alert: AlertRecord,
    deliveries: Sequence[Delivery],
    resolution: str,
    quiet: datetime | None,
    now: datetime,
) -> Decision:
    """Tell those who know of it, when the quiet hours are over, that it is over."""
    if not known_rule(alert.rule).says_end:
        return Decision(resolution=resolution)
    planned = {each.channel for each in deliveries if each.kind == "resolved"}
    owed = [name for name in _who_know(deliveries) if name not in planned]
    if owed and quiet is not None:
        return Decision(resolution=resolution, look_at=quiet, held=f"quiet hours until {clock(quiet, now)}")
    return Decision(tuple(Tell("resolved", 0, name) for name in owed), resolution=resolution)


def _end_by_itself(alert: AlertRecord, policy: AlertPolicy) -> tuple[datetime, str]:
    """When the alert is over if nothing more is seen, and why."""
    if alert.ends_at is not None:
        return alert.ends_at, "window"
    return alert.last_seen + timedelta(seconds=policy.resolve_after_seconds(alert.rule)), "quiet"


def _is_untold_moment(alert: AlertRecord) -> bool:
    """What happened has happened: it waits to be told for as long as it takes, unless it is silenced."""
    return not known_rule(alert.rule).says_end and alert.told_generation < alert.generation


def _who_know(deliveries: Iterable[Delivery]) -> list[str]:
    """The channels that were told, or are about to be, in the order in which they were."""
    return list(dict.fromkeys(each.channel for each in deliveries if each.state in _REACHED))
