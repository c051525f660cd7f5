"""CostReport: the report of a day or a week, made and kept once, and sent to every channel once."""

import asyncio
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.report import DeliverReport, MakeReport, ReportActivities, ReportMade, ReportOutcome
    from workflows.retries import QUICK, RECORDS
    from workflows.scheduled import Scheduled, scheduled_at

_MAKING = timedelta(minutes=10)
_SENDING = timedelta(seconds=60)
_LOST = timedelta(seconds=10)
# Some hours each; the schedule gives an execution half a day.
_PATIENT = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=10),
    maximum_attempts=40,
)


class ReportTask(Scheduled):
    """Which report; a person may type `{"kind": "weekly"}` in the Temporal UI."""

    kind: Literal["daily", "weekly"] = "daily"


class ReportDone(BaseModel):
    """Which report there is now, and which channels have it; `already` those that had it before."""

    model_config = ConfigDict(frozen=True)

    kind: str
    period: str
    delivered: tuple[str, ...] = ()
    already: tuple[str, ...] = ()


_YESTERDAY = ReportTask()


@workflow.defn(name="CostReport")
class CostReport:
    """Make, then deliver; a channel that is down delays no other. Done again nothing is sent again."""

    @workflow.run
    async def run(self, given: ReportTask = _YESTERDAY) -> ReportDone:
        at = scheduled_at(given)
        try:
            made = await workflow.execute_activity_method(
                ReportActivities.make_report,
                MakeReport(kind=given.kind, at=at),
                start_to_close_timeout=_MAKING,
                heartbeat_timeout=_LOST,
                retry_policy=_PATIENT,
                summary=given.kind,
            )
        except ActivityError as error:
            await _note(given, at, {"report": _reason(error)})
            raise
        workflow.set_current_details(f"{made.kind} report of {made.period}")
        said = await asyncio.gather(*(_deliver(made, channel) for channel in made.channels))
        outcome = dict(zip(made.channels, said, strict=True))
        failed = {name: word for name, word in outcome.items() if word not in ("delivered", "already")}
        await _note(given, at, failed)
        if failed:
            raise ApplicationError(
                f"the report of {made.period} is kept, and not delivered to {', '.join(failed)}: "
                "trigger the schedule again once they work",
                type="NotDelivered",
                non_retryable=True,
            )
        return ReportDone(
            kind=made.kind,
            period=made.period,
            delivered=tuple(name for name, word in outcome.items() if word == "delivered"),
            already=tuple(name for name, word in outcome.items() if word == "already"),
        )


async def _deliver(made: ReportMade, channel: str) -> str:
    """`delivered`, `already`, or why it was given up."""
    try:
        return await workflow.execute_activity_method(
            ReportActivities.deliver_report,
            DeliverReport(kind=made.kind, period=made.period, channel=channel),
            start_to_close_timeout=_SENDING,
            heartbeat_timeout=_LOST,
            retry_policy=_PATIENT,
            summary=f"{made.period} → {channel}",
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        return _reason(error)


async def _note(given: ReportTask, at: datetime, failed: dict[str, str]) -> None:
    await workflow.execute_activity_method(
        ReportActivities.note_report,
        ReportOutcome(kind=given.kind, at=at, failed=failed),
        start_to_close_timeout=QUICK,
        retry_policy=RECORDS,
    )


def _reason(error: ActivityError) -> str:
    """What kind of failure the last try was; its words may be about anything."""
    cause = error.cause
    return (isinstance(cause, ApplicationError) and cause.type) or type(cause).__name__
