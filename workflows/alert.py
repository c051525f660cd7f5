"""Alert: follows one alert from its first sighting to its end, and has people told on the way.

What is to be done is decided by an activity on what Postgres holds; here are the waits: the durable
timers after which an alert is told again, escalated or over, and the signals that cut them short.
Each channel is told by itself, one message after the other, so that one that is down delays no other.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.alert_messages import (
        AlertInput,
        AlertPlan,
        GiveUpTask,
        LookTask,
        TellTask,
        WordTask,
    )
    from activities.alerts import AlertActivities
    from workflows.queues import SUPERVISION
    from workflows.retries import QUICK, RECORDS

_SENDING = timedelta(seconds=60)
_LOST = timedelta(seconds=10)  # a worker that does not beat so long is gone
_TELLING = RetryPolicy(  # two hours in all, where the channel does not say when to come again
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=2),
    maximum_attempts=65,
)


@workflow.defn(name="Alert")
class Alert:
    """See the module. The workflow id is `curb-alert-` and the alert's id."""

    @workflow.init
    def __init__(self, input: AlertInput) -> None:
        self._alert = input.alert
        self._looks_before_new = input.looks_before_new
        self._woken = False
        self._words: list[WordTask] = []
        self._at_work: dict[str, asyncio.Task[None]] = {}  # by channel

    @workflow.run
    async def run(self, input: AlertInput) -> None:
        """Look, have told, wait; until there is nothing left to decide and everybody was told."""
        looks = 0
        while True:
            await self._note_words()
            self._woken = False
            plan = await self._look()
            looks += 1
            behind = self._start_telling(plan.tells)
            if plan.look_in_seconds is None and not self._at_work:
                if not self._has_news():
                    return
                continue
            self._continue_as_new_if_due(looks)
            await self._wait(plan, behind)

    @workflow.signal
    def seen(self) -> None:
        """Something about the alert has changed."""
        self._woken = True

    @workflow.signal
    def acknowledge(self, by: str = "") -> None:
        """Somebody looks after it: it is not told again or escalated, unless it gets worse."""
        self._words.append(self._word(by, over=False))

    @workflow.signal
    def resolve(self, by: str = "") -> None:
        """Somebody says that it is over."""
        self._words.append(self._word(by, over=True))

    def _word(self, by: str, *, over: bool) -> WordTask:
        return WordTask(alert=self._alert, by=by, at=workflow.now().isoformat(), over=over)

    def _has_news(self) -> bool:
        return self._woken or bool(self._words)

    async def _note_words(self) -> None:
        while self._words:
            await workflow.execute_activity_method(
                AlertActivities.note_word,
                self._words.pop(0),
                task_queue=SUPERVISION,
                start_to_close_timeout=QUICK,
                retry_policy=RECORDS,
            )

    async def _look(self) -> AlertPlan:
        plan = await workflow.execute_activity_method(
            AlertActivities.look_at_alert,
            LookTask(alert=self._alert, now=workflow.now().isoformat()),
            task_queue=SUPERVISION,
            start_to_close_timeout=QUICK,
            retry_policy=RECORDS,
        )
        workflow.set_current_details(plan.details)
        return plan

    def _start_telling(self, tells: Sequence[TellTask]) -> bool:
        """Have every channel told that is not being told something; whether some have to wait."""
        queues: dict[str, list[TellTask]] = {}
        for each in tells:
            queues.setdefault(each.channel, []).append(each)
        busy = [channel for channel in queues if channel in self._at_work]
        for channel, queue in queues.items():
            if channel not in busy:
                self._at_work[channel] = asyncio.create_task(self._tell_all(channel, queue))
        return bool(busy)

    async def _tell_all(self, channel: str, queue: Sequence[TellTask]) -> None:
        try:
            for task in queue:
                await self._tell(task)
        finally:
            del self._at_work[channel]

    async def _tell(self, task: TellTask) -> None:
        try:
            await workflow.execute_activity_method(
                AlertActivities.tell,
                task,
                task_queue=SUPERVISION,
                start_to_close_timeout=_SENDING,
                heartbeat_timeout=_LOST,
                retry_policy=_TELLING,
                summary=f"{task.kind} → {task.channel}",
            )
        except ActivityError as error:
            await workflow.execute_activity_method(
                AlertActivities.give_up_telling,
                GiveUpTask(task=task, reason=_reason(error)),
                task_queue=SUPERVISION,
                start_to_close_timeout=QUICK,
                retry_policy=RECORDS,
            )

    async def _wait(self, plan: AlertPlan, behind: bool) -> None:
        """Until it is time to look again, somebody says something, or a channel is free for more."""
        working, over = len(self._at_work), plan.look_in_seconds is None

        def due() -> bool:
            is_free = behind and len(self._at_work) < working
            return self._has_news() or is_free or (over and not self._at_work)

        try:
            await workflow.wait_condition(due, timeout=plan.look_in_seconds)
        except TimeoutError:
            return

    def _continue_as_new_if_due(self, looks: int) -> None:
        """Between two looks, while nobody is being told: Postgres holds everything else."""
        due = workflow.info().is_continue_as_new_suggested() or (
            self._looks_before_new and looks >= self._looks_before_new
        )
        if due and not self._at_work and not self._has_news():
            workflow.continue_as_new(AlertInput(alert=self._alert, looks_before_new=self._looks_before_new))


def _reason(error: ActivityError) -> str:
    """What kind of failure the last try was; its words may be about anything."""
    cause = error.cause
    return (isinstance(cause, ApplicationError) and cause.type) or type(cause).__name__
