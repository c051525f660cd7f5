"""A client of runs, for the command line and for programs: start, look at, steer, wait.

    runs = Runs(temporal, store, authority, agents=config.agents)
    launched = await runs.launch(Launch(agent="coder", task="Fix the bug"))
    async for progress in runs.follow(launched.run_id):
        print(progress.status, progress.steps, progress.cost_nano_usd)

Errors:

CurbError
├── NotFound            there is no such run
├── RunClosed           the run has ended; nothing can be told to it any more
├── RunRefused          the run looked at the message and said no; says why
├── NobodyAnswers       the run is there, but no worker serves it
└── TemporalUnavailable Temporal cannot be reached
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.messages import TopUp, TopUpDone
from gateway.calls import Message, Text
from gateway.errors import ConfigurationError, CurbError, NotFound
from gateway.policy.money import decimal_usd, usd
from gateway.state.authority import Authority
from gateway.store import Run, Store
from worker.plugin.top_ups import is_of_framework, top_up_run
from workflows.messages import Answer, Deny, RunInput, RunResult, RunStatus
from workflows.queues import RUNS

_T = TypeVar("_T")
_ANSWER_SECONDS = timedelta(seconds=15)
_QUERY_SECONDS = timedelta(seconds=2)
_TASK_KEY = "task"
_RUN_ID = "run ids are 1 to 200 letters, digits, and - _ . : without spaces"


class RunClosed(CurbError):
    """The run has ended; the message says how."""


class RunRefused(CurbError):
    """The run looked at the message and refused it; the message says why."""


class NobodyAnswers(CurbError):
    """The run is there, but no worker serves it."""


class TemporalUnavailable(CurbError):
    """Temporal cannot be reached."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start. run_id '' makes one up; budget_usd is dollars as text, '' for the agent's own.
    traceparent: the trace that the run is to be part of (W3C Trace Context)."""

    agent: str
    task: str
    run_id: str = ""
    budget_usd: str = ""
    max_steps: int | None = None
    mode: Literal["", "live", "shadow"] = ""
    user: str = ""
    team: str = ""
    session: str = ""
    application: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Launched:
    """The run. existed: it had been launched before under this id, and is still that one."""

    run_id: str
    existed: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """A run at this moment. Amounts in nano-dollars; held and in doubt come on top of the cost.

    status: starting, running, paused, completed, failed, killed, stopped or expired. answered: a
    worker told us; otherwise these are the last numbers on record.
    """

    run_id: str
    agent: str
    status: str
    reason: str = ""
    steps: int = 0
    max_steps: int = 0
    cost_nano_usd: int = 0
    held_nano_usd: int = 0
    in_doubt_nano_usd: int = 0
    budget_nano_usd: int | None = None
    waiting_for: Mapping[str, str] = field(default_factory=dict)
    mode: str = "live"
    answered: bool = False
    record: Run | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


ENDED = frozenset({"completed", "failed", "killed", "stopped", "expired"})
_CLOSED_AS = {
    WorkflowExecutionStatus.TERMINATED: ("killed", "terminated from Temporal"),
    WorkflowExecutionStatus.CANCELED: ("killed", "cancelled from Temporal"),
    WorkflowExecutionStatus.TIMED_OUT: ("expired", "the workflow timed out"),
    WorkflowExecutionStatus.FAILED: ("failed", "the workflow failed; its history says why"),
}


class Runs:
    """Runs, as those who start and watch them see them.

    agents: names that may be launched, None for any (the worker then says which it does not know).
    """

    def __init__(
        self,
        temporal: Client,
        store: Store,
        authority: Authority,
        *,
        agents: Mapping[str, object] | None = None,
    ) -> None:
        self._temporal = temporal
        self._store = store
        self._authority = authority
        self._agents = agents

    # -- starting ------------------------------------------------------------------------------

    async def launch(self, launch: Launch) -> Launched:
        """Start a run; the same run_id launched twice is one run.

        The task goes into Postgres first, so that workflow history holds no words (I12). Raises
        ConfigurationError for an agent, an amount or an id that cannot be, and RunRefused for the id of
        another agent's run.
        """
        _check(launch, self._agents)
        run_id = launch.run_id or f"{launch.agent}-{uuid.uuid4().hex[:10]}"
        conversation_id = f"c-{uuid.uuid5(uuid.NAMESPACE_OID, run_id)}"
        await self._store.conversations.create(run_id, launch.agent, id=conversation_id)
        await self._store.conversations.append(conversation_id, _TASK_KEY, _user(launch.task))
        if await self._start(launch, run_id, conversation_id):
            return Launched(run_id, existed=False)
        before = await self.record(run_id)
        if before is not None and before.agent != launch.agent:
            raise RunRefused(f"run {run_id} is one of agent {before.agent}; choose another --id")
        return Launched(run_id, existed=True)

    async def _start(self, launch: Launch, run_id: str, conversation_id: str) -> bool:
        """Whether this call started it. A token in the memo tells our start from another's."""
        token = uuid.uuid4().hex
        given = RunInput(
            agent=launch.agent,
            conversation_id=conversation_id,
            budget_usd=launch.budget_usd,
            max_steps=launch.max_steps,
            mode=launch.mode,
            user=launch.user,
            team=launch.team,
            session=launch.session,
            application=launch.application,
            tags=launch.tags,
            traceparent=launch.traceparent,
        )
        with _temporal_errors(run_id):
            try:
                handle = await self._temporal.start_workflow(
                    "AgentRun",
                    given,
                    id=run_id,
                    task_queue=RUNS,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    memo={"launch": token, "agent": launch.agent},
                    static_summary=f"{launch.agent} run",
                )
            except WorkflowAlreadyStartedError:
                return False
            return bool(await (await handle.describe()).memo_value("launch", "") == token)

    # -- looking -------------------------------------------------------------------------------

    async def newest(
        self, *, limit: int = 50, live: bool | None = None, equal: Mapping[str, Any] | None = None
    ) -> tuple[Progress, ...]:
        """Runs, newest first, as they stand now. equal: agent, status, team, user, session, mode."""
        records = await self._store.runs.list(live=live, limit=limit, **(equal or {}))
        return tuple(await asyncio.gather(*(self._now(record.id, record) for record in records)))

    async def now(self, run_id: str) -> Progress:
        """The run as it stands. Raises NotFound."""
        return await self._now(run_id, await self.record(run_id))

    async def record(self, run_id: str) -> Run | None:
        """What is on record; None before a worker has opened the run."""
        try:
            return await self._store.runs.get(run_id)
        except NotFound:
            return None

    async def _now(self, run_id: str, record: Run | None) -> Progress:
        if record is not None and record.status in ENDED:
            return await self._with_money(_recorded(record))
        described = await self._describe(run_id)
        if described is None:
            if record is None:
                raise NotFound(f"there is no run {run_id}; `curb runs` lists them")
            return await self._with_money(_recorded(record))
        known = _recorded(record) if record else Progress(run_id, await _agent_of(described), "starting")
        closed = _CLOSED_AS.get(described.status) if described.status else None
        if closed is not None:
            return await self._with_money(replace(known, status=closed[0], reason=closed[1], waiting_for={}))
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return await self._with_money(await self._finished(known))
        return await self._with_money(await self._asked(known))

    async def _finished(self, known: Progress) -> Progress:
        """The workflow is over, so its record is too; we had read it a moment too early.

        A run that failed before it could be opened never gets a record.
        """
        newest = await self.record(known.run_id)
        if newest is not None:
            return _recorded(newest)
        handle: WorkflowHandle[Any, RunResult] = self._temporal.get_workflow_handle(
            known.run_id, result_type=RunResult
        )
        result = await handle.result()
        return replace(known, status=result.status, reason=result.reason)

    async def _asked(self, known: Progress) -> Progress:
        """Ask the running workflow; what is known already, when no worker answers."""
        try:
            status = await self._temporal.get_workflow_handle(known.run_id).query(
                "status", result_type=RunStatus, rpc_timeout=_QUERY_SECONDS
            )
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
            return known
        return replace(
            known,
            agent=status.agent,
            # One that is about to end has not written down how: it ends when its record says so.
            status=known.status if status.status in ENDED else status.status,
            steps=status.step,
            max_steps=status.max_steps,
            cost_nano_usd=usd(status.cost_usd),
            budget_nano_usd=usd(status.budget_usd) if status.budget_usd else None,
            waiting_for=status.waiting_for,
            mode=status.mode,
            answered=True,
        )

    async def _with_money(self, progress: Progress) -> Progress:
        """The authority's numbers are newer than the workflow's, and know what is held."""
        counter = f"run:{progress.run_id}|run|run"
        for state in await self._authority.counters([counter]):
            return replace(
                progress,
                cost_nano_usd=state.spent_nano_usd,
                held_nano_usd=state.held_nano_usd,
                in_doubt_nano_usd=state.in_doubt_nano_usd,
                budget_nano_usd=state.limit_nano_usd
                if state.limit_nano_usd is not None
                else progress.budget_nano_usd,
            )
        return progress

    async def _describe(self, run_id: str) -> WorkflowExecutionDescription | None:
        try:
            with _temporal_errors(run_id):
                return await self._temporal.get_workflow_handle(run_id).describe()
        except (NotFound, RunClosed):
            return None

    async def follow(self, run_id: str, *, every_seconds: float = 0.25) -> AsyncIterator[Progress]:
        """Yield the run whenever it has changed, until it has ended; the last one is its end."""
        last: Progress | None = None
        while last is None or not last.ended:
            progress = await self.now(run_id)
            if progress != last:
                yield progress
            last = progress
            if not progress.ended:
                await asyncio.sleep(every_seconds)

    async def answer_text(self, run_id: str) -> str:
        """The run's final answer; '' while there is none."""
        record = await self.record(run_id)
        if record is None or record.answer_item is None or record.answer_item < 0:
            return ""
        items = await self._store.conversations.load(record.conversation_id)
        found = [item for item in items if item.number == record.answer_item]
        return found[0].message.text if found and found[0].message.role == "assistant" else ""

    # -- steering ------------------------------------------------------------------------------

    async def pause(self, run_id: str, reason: str = "") -> None:
        """Buy nothing more until `resume`; the call in flight may finish."""
        await self._signal(run_id, "pause", reason or "paused by hand")

    async def resume(self, run_id: str) -> None:
        """Lift a pause made by hand."""
        await self._signal(run_id, "resume")

    async def kill(self, run_id: str, reason: str = "") -> None:
        """End the run; a call in flight is cut and booked."""
        await self._signal(run_id, "kill", reason or "killed by hand")

    async def kill_agent(self, agent: str, value: str, reason: str) -> list[str]:
        """Set the agent's kill switch to `value` and end its live runs; returns their ids."""
        await self._authority.set_switch(f"kill:agent:{agent}", value)
        live = await self._store.runs.list(live=True, limit=5_000, agent=agent)
        ended = await asyncio.gather(*(self._kill_if_live(run.id, reason) for run in live))
        return [run.id for run, was_live in zip(live, ended, strict=True) if was_live]

    async def _kill_if_live(self, run_id: str, reason: str) -> bool:
        try:
            await self.kill(run_id, reason)
        except (NotFound, RunClosed):
            return False
        return True

    async def top_up(self, run_id: str, top_up: TopUp, *, top_up_id: str = "") -> TopUpDone:
        """Raise a budget; the same top_up_id twice is done once."""
        record = await self.record(run_id)
        if record is not None and is_of_framework(record):
            return await top_up_run(self._authority, record, top_up, top_up_id or uuid.uuid4().hex)
        return await self._update(run_id, "top_up", top_up, TopUpDone, id=top_up_id)

    async def approve(self, run_id: str, call: str) -> None:
        """Allow a tool call that waits for approval."""
        await self._update(run_id, "approve", call, str)

    async def deny(self, run_id: str, call: str, reason: str = "") -> None:
        """Refuse a tool call that waits for approval; the model is told why."""
        await self._update(run_id, "deny", Deny(call=call, reason=reason), str)

    async def extend_steps(self, run_id: str, steps: int) -> int:
        """Allow that many steps more; returns the new maximum."""
        return await self._update(run_id, "extend_steps", steps, int)

    async def answer(self, run_id: str, text: str, *, question: str = "") -> None:
        """Answer the run's open question. The words go into Postgres, and only a reference into history."""
        record = await self.record(run_id)
        if record is None:
            raise NotFound(f"there is no run {run_id}; `curb runs` lists them")
        side = await self._store.conversations.create(
            "", record.agent, id=f"c-{uuid.uuid5(uuid.NAMESPACE_OID, f'{run_id}/answers')}"
        )
        number = await self._store.conversations.append(side, f"answer:{uuid.uuid4()}", _user(text))
        await self._update(run_id, "answer", Answer(ref=f"{side}:{number}", question=question), str)

    async def _signal(self, run_id: str, signal: str, *arguments: str) -> None:
        try:
            with _temporal_errors(run_id):
                await self._temporal.get_workflow_handle(run_id).signal(signal, args=list(arguments))
        except RunClosed as error:
            raise await self._closed(run_id) from error

    async def _update(self, run_id: str, update: str, argument: Any, result: type[_T], *, id: str = "") -> _T:
        handle: WorkflowHandle[Any, Any] = self._temporal.get_workflow_handle(run_id)
        try:
            with _temporal_errors(run_id):
                done = await handle.execute_update(
                    update, argument, id=id or None, result_type=result, rpc_timeout=_ANSWER_SECONDS
                )
        except RunClosed as error:
            raise await self._closed(run_id) from error
        return _typed(done, result)

    async def _closed(self, run_id: str) -> CurbError:
        """What to say about a run that Temporal says has ended, or never was."""
        described = await self._describe(run_id)
        record = await self.record(run_id)
        if described is None and record is None:
            return NotFound(f"there is no run {run_id}; `curb runs` lists them")
        if record is None or record.status not in ENDED:
            return RunClosed(f"run {run_id} has ended")
        because = f" ({record.reason})" if record.reason else ""
        return RunClosed(f"run {run_id} has ended: {record.status}{because}")


async def _agent_of(described: WorkflowExecutionDescription) -> str:
    """The agent of a run that no worker has opened yet; '' if it was started by hand."""
    return str(await described.memo_value("agent", ""))


def _check(launch: Launch, agents: Mapping[str, object] | None) -> None:
    if agents is not None and launch.agent not in agents:
        known = ", ".join(sorted(agents)) or "none"
        raise ConfigurationError(f"agent {launch.agent!r} is not configured; known are: {known}")
    if launch.run_id and not _is_run_id(launch.run_id):
        raise ConfigurationError(f"--id {launch.run_id!r}: {_RUN_ID}")
    if launch.budget_usd:
        try:
            usd(launch.budget_usd)
        except ValueError as error:
            raise ConfigurationError(f"--budget: {error}") from error
    if not launch.task.strip():
        raise ConfigurationError("TASK is empty: say what the agent should do")


def _is_run_id(text: str) -> bool:
    return 0 < len(text) <= 200 and all(letter.isalnum() or letter in "-_.:" for letter in text)


def _user(text: str) -> Message:
    return Message(role="user", parts=(Text(text=text),))


def _recorded(run: Run) -> Progress:
    spec = run.spec or {}
    return Progress(
        run_id=run.id,
        agent=run.agent,
        status=run.status,
        reason=run.reason,
        steps=run.steps,
        max_steps=int(spec.get("max_steps") or 0),
        cost_nano_usd=run.cost_nano_usd,
        budget_nano_usd=run.budget_nano_usd,
        waiting_for={"": run.waiting_for} if run.waiting_for else {},
        mode=run.mode,
        record=run,
    )


def _typed(value: Any, result: type[_T]) -> _T:
    if not isinstance(value, result):
        raise TypeError(f"the workflow answered {type(value).__name__}, not {result.__name__}")
    return value


@contextmanager
def _temporal_errors(run_id: str) -> Any:
    """Turns what the Temporal client raises into our errors."""
    try:
        yield
    except WorkflowUpdateFailedError as error:
        raise RunRefused(str(error.cause)) from error
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise NobodyAnswers(_nobody(run_id)) from error
    except RPCError as error:
        raise _rpc_error(run_id, error) from error


def _rpc_error(run_id: str, error: RPCError) -> CurbError:
    if error.status is RPCStatusCode.NOT_FOUND:
        return RunClosed(f"run {run_id} has ended, or there is no such run")
    if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
        return NobodyAnswers(_nobody(run_id))
    return TemporalUnavailable(f"Temporal: {error.message}")


def _nobody(run_id: str) -> str:
    return (
        f"run {run_id}: no worker answers. Is one running? Start `curb dev`, or `curb worker` beside "
        "your own servers"
    )


__all__ = [
    "ENDED",
    "Launch",
    "Launched",
    "NobodyAnswers",
    "Progress",
    "RunClosed",
    "RunRefused",
    "Runs",
    "TemporalUnavailable",
    "TopUp",
    "decimal_usd",
]
