"""Temporal's schedules: brought to what is wanted, looked at, and worked by hand.

A schedule of curb's carries a mark in its memo; whatever has none is never touched, whatever it is
called. What a schedule should look like is written on the workflows it starts, as a digest.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from gateway.errors import CurbError, NotFound
from worker.config import Config
from worker.config_schedules import NAMES, WEEKDAYS
from worker.schedules import Every, WantedSchedule, When, wanted_schedules
from workflows.queues import SUPERVISION

PREFIX = "curb-"
MARK = "curb"
BACKFILL_AT_MOST = 500
_RPC = timedelta(seconds=10)
_STARTED_WITHIN_SECONDS = (2.0, 8.0)
_LISTED_AT_MOST = 1_000

log = structlog.get_logger(__name__)

State = Literal["applied", "changed", "missing", "off", "foreign"]


class ScheduleRefused(CurbError):
    """What was asked of a schedule cannot be; the message says why."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying did, by name. foreign: ids that somebody else uses; they were left alone."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.created or self.updated or self.deleted)


@dataclass(frozen=True, slots=True)
class Listed:
    """A schedule as it stands. last_status: of the workflow that was started last.

    state: applied; changed (not what the configuration wants); missing (wanted, not there); off (there,
    not wanted); foreign (the id is somebody else's). note: what it does, or why it is paused.
    """

    name: str
    id: str
    words: str
    note: str
    state: State
    paused: bool = False
    next_at: datetime | None = None
    last_at: datetime | None = None
    last_status: str = ""
    last_workflow_id: str = ""


class Schedules:
    """The schedules of one namespace. prefix: of their ids and of their workflows' ids."""

    def __init__(self, client: Client, *, prefix: str = PREFIX, task_queue: str = SUPERVISION) -> None:
        self._client = client
        self._prefix = prefix
        self._task_queue = task_queue

    # -- applying ------------------------------------------------------------------------------

    async def apply(self, wanted: Sequence[WantedSchedule]) -> Applied:
        """Make Temporal's schedules what is wanted; what is so already is not touched.

        A paused schedule stays paused, with its note. Several may do this at once. Raises RPCError.
        """
        done: dict[str, list[str]] = {"created": [], "updated": [], "unchanged": [], "foreign": []}
        for each in wanted:
            done[await self._apply(each)].append(each.name)
        deleted = await self._delete({each.name for each in wanted})
        return Applied(**{how: tuple(names) for how, names in done.items()}, deleted=tuple(deleted))

    async def _apply(self, wanted: WantedSchedule) -> str:
        found = await self._describe(wanted.name)
        if found is None:
            try:
                await self._client.create_schedule(
                    self._id(wanted.name), self._schedule(wanted), memo={MARK: self._prefix}, rpc_timeout=_RPC
                )
            except ScheduleAlreadyRunningError:  # somebody else was faster
                found = await self._describe(wanted.name)
            else:
                return "created"
        if found is None or not await self._is_ours(found):
            log.warning("a schedule that is not curb's is in the way", id=self._id(wanted.name))
            return "foreign"
        if await self._is_as_wanted(found, wanted):
            return "unchanged"
        await self._handle(wanted.name).update(
            lambda given: ScheduleUpdate(self._kept_paused(given, wanted)), rpc_timeout=_RPC
        )
        return "updated"

    async def _delete(self, keep: set[str]) -> list[str]:
        """Those of curb's that nobody wants any more, also of versions that had others."""
        deleted = []
        for name in sorted(await self._present() - keep):
            found = await self._describe(name)
            if found is None or not await self._is_ours(found):
                continue
            try:
                await self._handle(name).delete(rpc_timeout=_RPC)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
            else:
                deleted.append(name)
        return deleted

    async def _present(self) -> set[str]:
        """Names that may be there: those known here, and those listed under our prefix.

        The list lags behind, by a second or so.
        """
        names = set(NAMES)
        async for each in await self._client.list_schedules(rpc_timeout=_RPC):
            if each.id.startswith(self._prefix):
                names.add(each.id.removeprefix(self._prefix))
            if len(names) >= _LISTED_AT_MOST:
                break
        return names

    def _schedule(self, wanted: WantedSchedule, state: ScheduleState | None = None) -> Schedule:
        return Schedule(
            action=ScheduleActionStartWorkflow(
                wanted.workflow,
                dict(wanted.argument),
                id=self._id(wanted.name),
                task_queue=self._task_queue,
                execution_timeout=timedelta(seconds=wanted.timeout_seconds),
                memo={MARK: wanted.name, "digest": wanted.digest},
                static_summary=wanted.name,
                static_details=wanted.note,
            ),
            spec=_spec(wanted),
            policy=_policy(wanted),
            state=state or ScheduleState(note=wanted.note),
        )

    def _kept_paused(self, given: ScheduleUpdateInput, wanted: WantedSchedule) -> Schedule:
        before = given.description.schedule.state
        note = before.note if before.paused else wanted.note
        state = ScheduleState(note, before.paused, before.limited_actions, before.remaining_actions)
        return self._schedule(wanted, state)

    async def _is_as_wanted(self, found: ScheduleDescription, wanted: WantedSchedule) -> bool:
        """By the digest, and by what people can change in the Temporal UI."""
        there, action = found.schedule, found.schedule.action
        return (
            isinstance(action, ScheduleActionStartWorkflow)
            and (action.workflow, action.id, action.task_queue)
            == (wanted.workflow, self._id(wanted.name), self._task_queue)
            and await self._digest(action) == wanted.digest
            and there.spec == _spec(wanted)
            and there.policy == _policy(wanted)
            and (there.state.paused or there.state.note == wanted.note)
        )

    async def _digest(self, action: ScheduleActionStartWorkflow) -> str:
        payload = (action.memo or {}).get("digest")
        if payload is None:
            return ""
        [value] = await self._client.data_converter.decode([payload])
        return str(value)

    async def _is_ours(self, found: ScheduleDescription) -> bool:
        return bool(await found.memo_value(MARK, "") == self._prefix)

    # -- looking -------------------------------------------------------------------------------

    async def listed(self, wanted: Sequence[WantedSchedule]) -> list[Listed]:
        """What is wanted and what is there, in the order of the house. Raises RPCError."""
        by_name = {each.name: each for each in wanted}
        names = [*by_name, *sorted(await self._present() - by_name.keys())]
        rows = await asyncio.gather(*(self._listed(name, by_name.get(name)) for name in names))
        return [row for row in rows if row is not None]

    async def _listed(self, name: str, wanted: WantedSchedule | None) -> Listed | None:
        found = await self._describe(name)
        if found is None:
            return _not_there(wanted, self._id(name), "missing")
        if not await self._is_ours(found):
            return _not_there(wanted, self._id(name), "foreign")
        last = found.info.recent_actions[-1] if found.info.recent_actions else None
        started = last.action if last else None
        workflow_id, status = "", ""
        if isinstance(started, ScheduleActionExecutionStartWorkflow):
            workflow_id = started.workflow_id
            status = await self._status(started)
        state: State = "off"
        if wanted is not None:
            state = "applied" if await self._is_as_wanted(found, wanted) else "changed"
        following = found.info.next_action_times
        return Listed(
            name,
            self._id(name),
            wanted.words if wanted else "not any more",
            found.schedule.state.note or "",
            state,
            paused=found.schedule.state.paused,
            next_at=following[0] if following and not found.schedule.state.paused else None,
            last_at=last.started_at if last else None,
            last_status=status,
            last_workflow_id=workflow_id,
        )

    async def _status(self, started: ScheduleActionExecutionStartWorkflow) -> str:
        """How the workflow ended, `running`, or `forgotten` by Temporal."""
        handle = self._client.get_workflow_handle(
            started.workflow_id, run_id=started.first_execution_run_id or None
        )
        try:
            status = (await handle.describe(rpc_timeout=_RPC)).status
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return "forgotten"
        return status.name.lower().replace("_", " ") if status else ""

    # -- by hand -------------------------------------------------------------------------------

    async def trigger(self, name: str) -> str:
        """Do the work now, for now; returns the workflow's id. Raises NotFound, ScheduleRefused, RPCError."""
        before = _started(await self._ours(name))
        for seconds in _STARTED_WITHIN_SECONDS:
            # Workflows are named by the second: one that has been triggered in this very second is
            # not started again, but in the next try.
            await self._handle(name).trigger(overlap=ScheduleOverlapPolicy.ALLOW_ALL, rpc_timeout=_RPC)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                new = [each for each in _started(await self._ours(name)) if each not in before]
                if new:
                    return new[-1]
                await asyncio.sleep(0.1)
        raise ScheduleRefused(
            f"{name} was triggered, but Temporal has not started it in {sum(_STARTED_WITHIN_SECONDS):.0f} s; "
            "`curb schedules list` says what came of it"
        )

    async def backfill(self, wanted: WantedSchedule, since: datetime, until: datetime) -> list[str]:
        """Do what was due with since <= t <= until, one after the other; returns the workflows' ids.

        Raises NotFound, ScheduleRefused when that is nothing or too much, RPCError.
        """
        due = wanted.starts(since, until, limit=BACKFILL_AT_MOST)
        if not due:
            raise ScheduleRefused(f"{wanted.name} ({wanted.words}) was not due in that time")
        if len(due) > BACKFILL_AT_MOST:
            raise ScheduleRefused(
                f"{wanted.name} ({wanted.words}) was due more than {BACKFILL_AT_MOST} times in that time; "
                "choose a shorter one"
            )
        await self._ours(wanted.name)
        # Temporal leaves the begin out, and compares the end with times to which jitter has been added.
        last = due[-1] + timedelta(seconds=min(wanted.jitter_seconds, wanted.when.shortest_gap_seconds - 1))
        period = ScheduleBackfill(
            due[0] - timedelta(milliseconds=1), last, overlap=ScheduleOverlapPolicy.BUFFER_ALL
        )
        await self._handle(wanted.name).backfill(period, rpc_timeout=_RPC)
        return [f"{self._id(wanted.name)}-{at:%Y-%m-%dT%H:%M:%SZ}" for at in due]

    async def pause(self, name: str, reason: str) -> None:
        """Start nothing by itself any more; triggers still work. Raises NotFound, RPCError."""
        await self._ours(name)
        await self._handle(name).pause(note=reason, rpc_timeout=_RPC)

    async def resume(self, name: str, note: str) -> None:
        """Start it again when it is due. note: what it does. Raises NotFound, RPCError."""
        await self._ours(name)
        await self._handle(name).unpause(note=note, rpc_timeout=_RPC)

    async def _ours(self, name: str) -> ScheduleDescription:
        found = await self._describe(name)
        if found is None or not await self._is_ours(found):
            raise NotFound(
                f"schedule {name} is not applied: it is switched off, or run `curb schedules apply`"
            )
        return found

    async def _describe(self, name: str) -> ScheduleDescription | None:
        try:
            return await self._handle(name).describe(rpc_timeout=_RPC)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None

    def _handle(self, name: str) -> ScheduleHandle:
        return self._client.get_schedule_handle(self._id(name))

    def _id(self, name: str) -> str:
        return self._prefix + name


async def keep_trying_to_apply(client: Client, config: Config, *, pause_seconds: float = 5.0) -> None:
    """Apply the schedules once, however long Temporal cannot be asked; a worker serves meanwhile."""
    wanted = wanted_schedules(config)
    while True:
        try:
            done = await Schedules(client).apply(wanted)
        except (RPCError, OSError) as error:
            log.warning("the schedules cannot be applied yet", error=str(error))
        else:
            log.info("schedules applied" if done.changed else "schedules are as wanted", **summary(done))
            return
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, 60.0)


def summary(done: Applied) -> Mapping[str, list[str]]:
    """What was done, without what was not."""
    parts = {how: list(getattr(done, how)) for how in ("created", "updated", "deleted", "foreign")}
    return {how: names for how, names in parts.items() if names}


def _not_there(wanted: WantedSchedule | None, id: str, state: State) -> Listed | None:
    return None if wanted is None else Listed(wanted.name, id, wanted.words, wanted.note, state)


def _started(found: ScheduleDescription) -> list[str]:
    """The ids of the workflows that were started last, oldest first."""
    actions = [each.action for each in found.info.recent_actions]
    return [each.workflow_id for each in actions if isinstance(each, ScheduleActionExecutionStartWorkflow)]


def _spec(wanted: WantedSchedule) -> ScheduleSpec:
    spec = _times(wanted.when)
    spec.jitter = timedelta(seconds=wanted.jitter_seconds) if wanted.jitter_seconds else None
    return spec


def _times(when: When) -> ScheduleSpec:
    if isinstance(when, Every):
        return ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(seconds=when.seconds))])
    clock = when.time_of_day
    # Sunday is 0 there.
    day = (ScheduleRange((WEEKDAYS.index(when.weekday) + 1) % 7),) if when.weekday else (ScheduleRange(0, 6),)
    calendar = ScheduleCalendarSpec(
        second=(ScheduleRange(clock.second),),
        minute=(ScheduleRange(clock.minute),),
        hour=(ScheduleRange(clock.hour),),
        day_of_week=day,
    )
    return ScheduleSpec(calendars=[calendar], time_zone_name=when.zone)


def _policy(wanted: WantedSchedule) -> SchedulePolicy:
    return SchedulePolicy(
        overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(seconds=wanted.catch_up_seconds)
    )
