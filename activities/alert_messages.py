"""The small values between the workflow of an alert and its activities: ids, names, times, one title."""

from pydantic import Field

from activities.messages import Wire
from gateway.policy.alert_plan import Tell, TellKind


class LookTask(Wire):
    """Decide about an alert. now: the workflow's clock, ISO 8601."""

    alert: str
    now: str


class TellTask(Wire):
    """One message of an alert to one channel."""

    alert: str
    kind: TellKind
    number: int
    channel: str

    @property
    def tell(self) -> Tell:
        return Tell(self.kind, self.number, self.channel)


class AlertPlan(Wire):
    """What is to be done. tells: oldest first. look_in_seconds: when to decide again at the latest, None
    when nothing is left to decide. details: for people who look at the workflow, in Markdown.
    """

    tells: tuple[TellTask, ...] = ()
    look_in_seconds: float | None = None
    details: str = ""


class GiveUpTask(Wire):
    """A message that will not be tried again. reason: where no try said why."""

    task: TellTask
    reason: str = ""


class WordTask(Wire):
    """What somebody said about an alert: it is looked after, or it is over. at: ISO 8601."""

    alert: str
    by: str
    at: str
    over: bool = False


class AlertInput(Wire):
    """The workflow's input. looks_before_new: continue as new after so many (0: when Temporal suggests)."""

    alert: str
    looks_before_new: int = Field(default=0, ge=0)
