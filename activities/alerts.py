"""What the workflow of an alert asks of the world: decide, tell one channel, write down what people said.

All of it is decided on what Postgres holds, and done again without harm: a crash between two steps
costs nobody a second message, but where it falls between a channel's yes and writing that down.
"""

from datetime import UTC, datetime, timedelta

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.alert_messages import AlertPlan, GiveUpTask, LookTask, TellTask, WordTask
from activities.alert_text import alert_message, details
from activities.channels import ChannelBusy, ChannelRefused, ChannelUnavailable
from activities.dependencies import Dependencies
from activities.heartbeats import heartbeating
from activities.supervision import Supervision
from gateway.errors import NotFound
from gateway.policy.alert_catalogue import known_rule
from gateway.policy.alert_plan import Tell, decide
from gateway.policy.alert_words import seconds_between
from gateway.policy.alerts import AlertRecord
from gateway.store import Store

log = structlog.get_logger(__name__)

_SOONEST_LOOK_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 900.0


class AlertActivities:
    """Needs the store and the channels."""

    def __init__(self, dependencies: Dependencies, supervision: Supervision) -> None:
        self._store: Store = dependencies.store
        self._supervision = supervision

    @activity.defn
    async def look_at_alert(self, task: LookTask) -> AlertPlan:
        """Decide what is to be done now, write it down, and return what is still to be told."""
        now = datetime.fromisoformat(task.now)
        policy = self._supervision.alerts
        try:
            review = await self._store.alerts.review(
                task.alert,
                lambda alert, planned, silences: decide(alert, planned, silences, policy, now),
                now,
            )
        except NotFound:  # kept long enough
            return AlertPlan()
        decision = review.decision
        look_at = decision.look_at
        return AlertPlan(
            tells=tuple(
                TellTask(alert=task.alert, kind=tell.kind, number=tell.number, channel=tell.channel)
                for tell in review.pending
            ),
            look_in_seconds=look_at and max(_SOONEST_LOOK_SECONDS, seconds_between(now, look_at)),
            details=details(review.alert, review.deliveries, decision.held, look_at),
        )

    @activity.defn
    async def tell(self, task: TellTask) -> None:
        """Tell one channel one thing, unless it was told or there is nothing more to say.

        Fails in a way that says whether and when to try again; every try is written down.
        """
        planned = await self._store.alerts.delivery(task.alert, task.tell)
        if planned is None or planned.state != "pending":
            return
        alert = await self._store.alerts.get(task.alert)
        if _is_out_of_date(alert, task.tell):
            await self._store.alerts.supersede(task.alert, task.tell)
            return
        try:
            await self._send(alert, task.tell)
        except ChannelRefused as error:
            await self._store.alerts.tried(task.alert, task.tell, "refused", str(error))
            raise ApplicationError(str(error), type="ChannelRefused", non_retryable=True) from error
        except (ChannelBusy, ChannelUnavailable) as error:
            await self._store.alerts.tried(task.alert, task.tell, "pending", str(error))
            raise _again(error) from error
        await self._store.alerts.tried(task.alert, task.tell, "delivered")
        log.info("alert told", alert=alert.id, rule=alert.rule, kind=task.kind, channel=task.channel)

    @activity.defn
    async def give_up_telling(self, given: GiveUpTask) -> None:
        """There were enough tries; people see it in `curb alerts list`."""
        task = given.task
        await self._store.alerts.give_up(task.alert, task.tell, given.reason)
        log.error("alert not told", alert=task.alert, kind=task.kind, channel=task.channel)

    @activity.defn
    async def note_word(self, word: WordTask) -> None:
        """Somebody said in the Temporal UI that they look after it, or that it is over."""
        by, at = word.by or "somebody in the Temporal UI", datetime.fromisoformat(word.at)
        alerts, audit = self._store.alerts, self._store.events.audit
        if word.over and await alerts.end(word.alert, by, at):
            await audit(by, "alert_end", word.alert)
        elif not word.over and await alerts.acknowledge(word.alert, by, "", at):
            await audit(by, "alert_ack", word.alert)

    async def _send(self, alert: AlertRecord, tell: Tell) -> None:
        channel = self._supervision.channels.get(tell.channel)
        if channel is None:  # perhaps a worker with a newer configuration has it
            raise ChannelUnavailable(f"{tell.channel}: this worker has no channel of that name")
        message = alert_message(alert, tell, self._supervision, datetime.now(UTC))
        async with heartbeating():
            await channel.send(message)


def _is_out_of_date(alert: AlertRecord, tell: Tell) -> bool:
    """Whether something else is to be said by now."""
    match tell.kind:
        case "resolved":
            return False
        case "firing":
            told_that_it_is_over = alert.status == "resolved" and known_rule(alert.rule).says_end
            return told_that_it_is_over or tell.number < alert.told_generation
        case _:
            return alert.status != "firing"


def _again(error: ChannelBusy | ChannelUnavailable) -> ApplicationError:
    if isinstance(error, ChannelBusy):
        wait = timedelta(seconds=min(max(error.retry_after_seconds, 0.0), _LONGEST_WAIT_SECONDS))
        return ApplicationError(str(error), type="ChannelBusy", next_retry_delay=wait)
    return ApplicationError(str(error), type="ChannelUnavailable")
