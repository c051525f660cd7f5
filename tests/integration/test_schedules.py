"""Schedules in a real Temporal: applied as wanted, worked by hand, and nobody else's touched."""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    ScheduleSpec,
    ScheduleUpdate,
    WorkflowExecutionStatus,
)
from temporalio.worker import Worker

from gateway.errors import NotFound
from tests.integration.sample_schedule import ScheduledSample
from tests.integration.waiting import until
from worker.config import parse_config
from worker.schedules import At, Every, WantedSchedule, When, wanted_schedules
from worker.temporal import sandbox
from worker.temporal_schedules import ScheduleRefused, Schedules, keep_trying_to_apply

NOTE = "Says what time it works for."
HOURLY = WantedSchedule("sample", "ScheduledSample", Every(3_600), NOTE, 60, 300)


@dataclasses.dataclass
class Place:
    """A prefix and a queue of a test's own."""

    client: Client
    prefix: str
    schedules: Schedules

    @property
    def queue(self) -> str:
        return f"{self.prefix}queue"

    def handle(self, name: str) -> object:
        return self.client.get_schedule_handle(self.prefix + name)

    async def result(self, workflow_id: str) -> str:
        return str(await self.client.get_workflow_handle(workflow_id).result())


@pytest.fixture
async def place(temporal: Client) -> AsyncIterator[Place]:
    prefix = f"t{uuid.uuid4().hex[:8]}-"
    place = Place(temporal, prefix, Schedules(temporal, prefix=prefix, task_queue=f"{prefix}queue"))
    yield place
    await place.schedules.apply([])


@pytest.fixture
async def working(place: Place) -> AsyncIterator[Place]:
    """With a worker that serves the sample."""
    async with Worker(
        place.client, task_queue=place.queue, workflows=[ScheduledSample], workflow_runner=sandbox()
    ):
        yield place


def defaults() -> tuple[WantedSchedule, ...]:
    return wanted_schedules(parse_config("timezone: Europe/Berlin\nday_start: '05:30'"))


async def test_applying_twice_changes_nothing_the_second_time(place: Place) -> None:
    first = await place.schedules.apply(defaults())
    second = await place.schedules.apply(defaults())

    assert len(first.created) == 7
    assert second.unchanged == first.created
    assert not second.changed


async def test_a_schedule_says_in_temporal_what_it_does_and_when(place: Place) -> None:
    await place.schedules.apply(defaults())

    found = await place.client.get_schedule_handle(f"{place.prefix}daily-reset").describe()

    reset = next(each for each in defaults() if each.name == "daily-reset")
    assert found.schedule.state.note == reset.note
    assert found.schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert found.schedule.policy.catchup_window == timedelta(hours=12)
    following = found.info.next_action_times[0]
    assert [following] == reset.starts(following, following, limit=1)
    assert set(await found.memo()) == {"curb"}


async def test_what_is_changed_is_updated_and_what_is_off_is_deleted(place: Place) -> None:
    await place.schedules.apply(defaults())
    text = (
        "timezone: Europe/Berlin\nday_start: '05:30'\nschedules: {reconcile: off, retention: {at: '04:15'}}"
    )

    done = await place.schedules.apply(wanted_schedules(parse_config(text)))

    assert (done.updated, done.deleted, done.created) == (("retention",), ("reconcile",), ())
    assert len(done.unchanged) == 5


async def test_a_paused_schedule_stays_paused_with_its_reason_when_it_is_changed(place: Place) -> None:
    await place.schedules.apply([HOURLY])
    await place.schedules.pause("sample", "the provider is being moved")

    unchanged = await place.schedules.apply([HOURLY])
    done = await place.schedules.apply([dataclasses.replace(HOURLY, when=Every(60))])

    assert unchanged.unchanged == ("sample",)
    assert done.updated == ("sample",)
    [listed] = await place.schedules.listed([dataclasses.replace(HOURLY, when=Every(60))])
    assert (listed.paused, listed.note, listed.next_at) == (True, "the provider is being moved", None)


async def test_a_resumed_schedule_says_again_what_it_does(place: Place) -> None:
    await place.schedules.apply([HOURLY])
    await place.schedules.pause("sample", "later")
    await place.schedules.resume("sample", HOURLY.note)

    [listed] = await place.schedules.listed([HOURLY])

    assert (listed.state, listed.paused, listed.note) == ("applied", False, NOTE)
    assert listed.next_at is not None


async def test_what_somebody_changed_in_the_ui_is_put_right(place: Place) -> None:
    await place.schedules.apply([HOURLY])

    def sometimes(given: object) -> ScheduleUpdate:
        schedule: Schedule = given.description.schedule  # type: ignore[attr-defined]
        schedule.spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(days=3))])
        return ScheduleUpdate(schedule)

    await place.client.get_schedule_handle(f"{place.prefix}sample").update(sometimes)

    assert [each.state for each in await place.schedules.listed([HOURLY])] == ["changed"]
    assert (await place.schedules.apply([HOURLY])).updated == ("sample",)
    assert (await place.schedules.apply([HOURLY])).unchanged == ("sample",)


async def test_a_schedule_without_curbs_mark_is_never_touched(place: Place) -> None:
    theirs = Schedule(
        ScheduleActionStartWorkflow("TheirWork", id="theirs", task_queue="theirs"),
        ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(days=1))]),
    )
    handle = await place.client.create_schedule(f"{place.prefix}sample", theirs)
    try:
        done = await place.schedules.apply([HOURLY])
        gone = await place.schedules.apply([])

        assert (done.foreign, gone.deleted) == (("sample",), ())
        described = (await handle.describe()).schedule.action
        assert isinstance(described, ScheduleActionStartWorkflow)
        assert described.workflow == "TheirWork"
        assert [each.state for each in await place.schedules.listed([HOURLY])] == ["foreign"]
        with pytest.raises(NotFound, match="not applied"):
            await place.schedules.pause("sample", "no")
    finally:
        await handle.delete()


async def test_schedules_of_an_earlier_version_go(place: Place) -> None:
    old = dataclasses.replace(HOURLY, name="of-old")
    await place.schedules.apply([old])

    async def is_listed() -> bool:  # Temporal's list lags behind
        return "of-old" in {each.name for each in await place.schedules.listed([])}

    await until(is_listed)

    assert (await place.schedules.apply([HOURLY])).deleted == ("of-old",)


async def test_two_that_apply_at_once_do_no_harm(place: Place) -> None:
    done = await asyncio.gather(*(place.schedules.apply(defaults()) for _ in range(3)))

    assert sum(len(each.created) for each in done) == 7
    assert not (await place.schedules.apply(defaults())).changed


async def test_a_trigger_does_the_work_for_now_and_says_which_workflow_does_it(working: Place) -> None:
    await working.schedules.apply([HOURLY])
    before = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)

    workflow_id = await working.schedules.trigger("sample")

    assert workflow_id.startswith(f"{working.prefix}sample-")
    at = datetime.fromisoformat(await working.result(workflow_id))
    assert before <= at <= datetime.now(UTC) + timedelta(seconds=1)
    [listed] = await working.schedules.listed([HOURLY])
    assert (listed.last_workflow_id, listed.last_status) == (workflow_id, "completed")
    assert listed.last_at is not None


async def test_a_paused_schedule_can_be_triggered(working: Place) -> None:
    await working.schedules.apply([HOURLY])
    await working.schedules.pause("sample", "by hand only")

    assert await working.result(await working.schedules.trigger("sample"))


async def test_a_backfill_works_for_the_times_that_are_filled_in_both_ends_included(working: Place) -> None:
    await working.schedules.apply([HOURLY])
    start = datetime(2026, 3, 1, 10, tzinfo=UTC)

    ids = await working.schedules.backfill(HOURLY, start, start + timedelta(hours=2))

    async def are_there() -> bool:
        [listed] = await working.schedules.listed([HOURLY])
        return listed.last_workflow_id == ids[-1] and listed.last_status == "completed"

    await until(are_there)
    results = [await working.result(each) for each in ids]
    assert results == [(start + timedelta(hours=n)).isoformat() for n in range(3)]


async def test_an_absurd_backfill_is_refused(place: Place) -> None:
    await place.schedules.apply([HOURLY])
    start = datetime(2026, 3, 1, 10, tzinfo=UTC)

    with pytest.raises(ScheduleRefused, match="more than 500 times"):
        await place.schedules.backfill(HOURLY, start, start + timedelta(days=60))
    with pytest.raises(ScheduleRefused, match="was not due"):
        await place.schedules.backfill(HOURLY, start + timedelta(minutes=1), start + timedelta(minutes=50))


async def test_a_schedule_that_is_due_does_its_work(working: Place) -> None:
    every_second = dataclasses.replace(HOURLY, when=Every(1))
    await working.schedules.apply([every_second])

    async def has_worked() -> bool:
        [listed] = await working.schedules.listed([every_second])
        return listed.last_status == "completed"

    await until(has_worked)


async def test_a_time_of_the_week_is_that_of_temporal(place: Place) -> None:
    weekly = dataclasses.replace(HOURLY, when=At(5_400, "America/New_York", "sunday"))
    await place.schedules.apply([weekly])

    [listed] = await place.schedules.listed([weekly])

    assert listed.next_at is not None
    assert weekly.starts(listed.next_at, listed.next_at, limit=1) == [listed.next_at]


async def test_a_backfill_twice_and_with_jitter_works_for_the_same_times(working: Place) -> None:
    late = dataclasses.replace(HOURLY, jitter_seconds=300.0)
    await working.schedules.apply([late])
    start = datetime(2026, 3, 1, 10, tzinfo=UTC)

    for _ in range(2):
        ids = await working.schedules.backfill(late, start, start + timedelta(hours=1))
        for number, workflow_id in enumerate(ids):

            async def is_done(workflow_id: str = workflow_id) -> bool:
                found = working.client.list_workflows(f"WorkflowId = '{workflow_id}'")
                return any([each.status is WorkflowExecutionStatus.COMPLETED async for each in found])

            await until(is_done)
            assert await working.result(workflow_id) == (start + timedelta(hours=number)).isoformat()


@pytest.mark.parametrize(
    "when",
    [
        At(9_000, "Europe/Berlin"),
        At(0, "America/New_York"),
        At(1_805, "Australia/Lord_Howe", "sunday"),
        Every(7_200),
    ],
    ids=str,
)
async def test_what_is_due_is_what_temporal_thinks_across_changes_of_the_clock(
    place: Place, when: When
) -> None:
    wanted = dataclasses.replace(HOURLY, when=when)
    await place.schedules.apply([wanted])
    since, until_ = datetime(2026, 3, 20, tzinfo=UTC), datetime(2026, 4, 10, tzinfo=UTC)
    for start in (since, datetime(2026, 10, 20, tzinfo=UTC)):
        request = ListScheduleMatchingTimesRequest(
            namespace=place.client.namespace, schedule_id=f"{place.prefix}sample"
        )
        request.start_time.FromDatetime(start - timedelta(milliseconds=1))
        request.end_time.FromDatetime(start + (until_ - since))
        reply = await place.client.workflow_service.list_schedule_matching_times(request)

        theirs = [each.ToDatetime(UTC) for each in reply.start_time]

        assert wanted.starts(start, start + (until_ - since), limit=500) == theirs


async def test_a_worker_keeps_trying_while_the_schedules_cannot_be_applied(temporal_address: str) -> None:
    nowhere = await Client.connect(temporal_address, namespace="nobody-made-this-one")
    with capture_logs() as logs:
        trying = asyncio.create_task(keep_trying_to_apply(nowhere, parse_config(""), pause_seconds=0.01))

        async def has_tried_twice() -> bool:
            return len(logs) >= 2

        await until(has_tried_twice)
        still_trying = not trying.done()
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)

    assert still_trying
    assert {each["event"] for each in logs} == {"the schedules cannot be applied yet"}
