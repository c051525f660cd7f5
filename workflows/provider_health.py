"""ProviderHealth: every half minute, whether the providers are there."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.health import HealthActivities, Judged
    from workflows.retries import QUICK
    from workflows.scheduled import Scheduled, scheduled_at

_LOOK = timedelta(seconds=60)
# The next slot looks again anyway: what does not work twice is left to it.
_SOON = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=2)
_NOW = Scheduled()


@workflow.defn(name="ProviderHealth")
class ProviderHealth:
    """Look, then judge; done twice for the same slot it is done once."""

    @workflow.run
    async def run(self, given: Scheduled = _NOW) -> Judged:
        at = scheduled_at(given)
        probed = await workflow.execute_activity_method(
            HealthActivities.probe_providers, at, start_to_close_timeout=_LOOK, retry_policy=_SOON
        )
        if probed < 0:
            return Judged(slot=at.isoformat(), skipped=True)
        judged = await workflow.execute_activity_method(
            HealthActivities.judge_providers, at, start_to_close_timeout=QUICK, retry_policy=_SOON
        )
        return judged.model_copy(update={"probed": probed})
