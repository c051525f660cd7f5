"""A scheduled workflow that says for which time it works; alone here, for Temporal's sandbox."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.scheduled import Scheduled, scheduled_at


@workflow.defn(name="ScheduledSample")
class ScheduledSample:
    """Returns the time in ISO 8601."""

    @workflow.run
    async def run(self, given: Scheduled) -> str:
        return scheduled_at(given).isoformat()
