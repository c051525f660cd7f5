"""The cost report, as activities: made once per period, delivered once per channel.

A worker may die at any point: a report that is stored is not made again, and a delivery that is on
record is not sent again. Only between a channel's yes and its record, a moment, a crash has the
message sent twice: a channel cannot be asked whether it has a message already.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal

import structlog
from pydantic import Field
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.channels import ChannelBusy, ChannelRefused, ChannelUnavailable
from activities.dependencies import Dependencies
from activities.heartbeats import heartbeating
from activities.messages import Wire
from activities.reports.gathering import Reporter
from activities.reports.keeping import made_and_kept, stored_document
from activities.reports.letter import letter
from activities.supervision import Supervision
from gateway.policy.report_periods import ReportKind, last_complete

log = structlog.get_logger(__name__)

_LONGEST_WAIT_SECONDS = 900.0
_LOOK_AGAIN = timedelta(seconds=5)
_FAILED = "supervision_failed"
_LOOKED_BACK = 500


class MakeReport(Wire):
    """Make the report of the last period that was over at an instant."""

    kind: ReportKind
    at: datetime


class ReportMade(Wire):
    """Which period's report is there now, and to which channels it goes."""

    kind: ReportKind
    period: str
    channels: tuple[str, ...] = ()


class DeliverReport(Wire):
    """Send a stored report to one channel."""

    kind: ReportKind
    period: str
    channel: str


class ReportOutcome(Wire):
    """How it went. failed: what did not work, each with why."""

    kind: ReportKind
    at: datetime
    failed: dict[str, str] = Field(default_factory=dict)


class ReportActivities:
    """Makes, keeps and sends reports."""

    def __init__(self, dependencies: Dependencies, supervision: Supervision) -> None:
        self._store = dependencies.store
        self._authority = dependencies.authority
        self._supervision = supervision
        self._reporter = Reporter(
            dependencies.store, dependencies.authority, dependencies.gateway.calendar, supervision.reports
        )

    @activity.defn
    async def make_report(self, given: MakeReport) -> ReportMade:
        """Make and store the report, unless it is there; wait for the books to have come so far."""
        at_ms = round(given.at.timestamp() * 1000)
        period = last_complete(given.kind, self._reporter.calendar, at_ms)
        channels = self._supervision.reports.channels(given.kind, self._supervision.channels)
        made = ReportMade(kind=given.kind, period=period.name, channels=channels)
        known = await stored_document(self._store, given.kind, period.name)
        if known is not None and known.state == "final":
            return made
        if await self._authority.clock_ms() < period.ends_ms:
            raise ApplicationError(f"{period.name} is not over yet", type="TooEarly", non_retryable=True)
        async with heartbeating():
            await self._reporter.booked_until(period.ends_ms)
            report = await made_and_kept(self._reporter, self._store, period, datetime.now(UTC))
        log.info("report made", kind=report.kind, period=report.period, channels=list(channels))
        return made

    @activity.defn
    async def deliver_report(self, given: DeliverReport) -> Literal["delivered", "already"]:
        """Send the report to its channel, unless it has been; says when to try again where it fails."""
        info = activity.info()
        owner = f"{info.workflow_id}/{info.activity_id}"
        place = (given.kind, given.period, given.channel)
        if not await self._store.reports.claim(*place, owner=owner):
            return await self._not_mine(given)
        try:
            await self._send(given)
        except ChannelRefused as error:
            await self._store.reports.not_delivered(*place, str(error))
            raise ApplicationError(str(error), type="ChannelRefused", non_retryable=True) from error
        except (ChannelBusy, ChannelUnavailable) as error:
            await self._store.reports.not_delivered(*place, str(error))
            raise _again(error) from error
        await self._store.reports.delivered(*place)
        log.info("report delivered", kind=given.kind, period=given.period, channel=given.channel)
        return "delivered"

    @activity.defn
    async def note_report(self, outcome: ReportOutcome) -> None:
        """Raise an alert for what did not work; take the last one back when all did."""
        state: Literal["firing", "resolved"] = "firing" if outcome.failed else "resolved"
        scope = f"workflow:cost-report-{outcome.kind}"
        if not outcome.failed and not await self._is_failing(scope):
            return
        key = f"report:{outcome.kind}:{outcome.at.isoformat()}:{state}"
        await self._store.events.alert(_FAILED, scope, dict(outcome.failed), key=key, state=state)

    async def _is_failing(self, scope: str) -> bool:
        """Whether the newest word about these reports was that they do not work."""
        words = await self._store.events.alerts(rule=_FAILED, limit=_LOOKED_BACK)
        return next((each.state == "firing" for each in words if each.scope == scope), False)

    async def _not_mine(self, given: DeliverReport) -> Literal["already"]:
        found = await self._store.reports.delivery(given.kind, given.period, given.channel)
        if found is not None and found.delivered_at is not None:
            return "already"
        raise ApplicationError(
            "somebody else is delivering it", type="InDelivery", next_retry_delay=_LOOK_AGAIN
        )

    async def _send(self, given: DeliverReport) -> None:
        channel = self._supervision.channels.get(given.channel)
        if channel is None:  # perhaps a worker with a newer configuration has it
            raise ChannelUnavailable(f"{given.channel}: this worker has no channel of that name")
        report = await stored_document(self._store, given.kind, given.period)
        if report is None:
            raise ApplicationError(
                f"there is no report of {given.period}", type="NotFound", non_retryable=True
            )
        url = self._supervision.workflow_url
        message = letter(report, report.made_at, url, workflow_url=url(activity.info().workflow_id or ""))
        async with heartbeating():
            await channel.send(message)


def _again(error: ChannelBusy | ChannelUnavailable) -> ApplicationError:
    if isinstance(error, ChannelBusy):
        wait = timedelta(seconds=min(max(error.retry_after_seconds, 0.0), _LONGEST_WAIT_SECONDS))
        return ApplicationError(str(error), type="ChannelBusy", next_retry_delay=wait)
    return ApplicationError(str(error), type="ChannelUnavailable")
