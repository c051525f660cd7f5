"""Runs over HTTP: launched, looked at, followed as they go, steered."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.responses import StreamingResponse

from gateway.errors import NotFound
from worker.api.access import Person, allowed
from worker.api.documents import (
    Approval,
    Denial,
    Done,
    Launched,
    MaxSteps,
    NewRun,
    Rating,
    Reason,
    Reply,
    Run,
    Runs,
    RunWhole,
    Steps,
    ToppedUp,
    TopUp,
)
from worker.api.office import Office
from worker.client import Launch, Progress
from worker.client import TopUp as WorkflowTopUp
from worker.desk.runs import run_document, run_summary

RunId = Annotated[str, Path(max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", description="The run's id.")]
Filter = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]
_EVERY_SECONDS = 0.25
_ALIVE_SECONDS = 15.0


def runs(office: Office) -> APIRouter:
    """The endpoints."""
    router = APIRouter(tags=["runs"])
    viewer = Depends(allowed(office, "viewer"))
    operator = Depends(allowed(office, "operator"))

    @router.post("/v1/runs", status_code=201)
    async def launch(asked: NewRun, response: Response, person: Annotated[Person, operator]) -> Launched:
        """Launch an agent run. 200 instead of 201 where a run of this id was launched before."""
        given = asked.model_dump(exclude={"id", "budget_usd"})
        wanted = Launch(run_id=asked.id, budget_usd=asked.budget_usd or "", **given)
        launched = await office.runs.launch(wanted)
        if launched.existed:
            response.status_code = 200
        else:
            await _audit(office, person, "launch", launched.run_id)
        link = office.workflow_url(launched.run_id) or None
        return Launched(id=launched.run_id, existed=launched.existed, temporal_ui=link)

    @router.get("/v1/runs", dependencies=[viewer])
    async def newest(
        agent: Filter = "",
        status: Filter = "",
        team: Filter = "",
        user: Filter = "",
        live: bool = False,
        limit: Annotated[int, Query(ge=1, le=200)] = 30,
    ) -> Runs:
        """Runs, the newest first, as they stand."""
        equal = {"agent": agent, "status": status, "team": team, "user": user}
        found = await office.runs.newest(
            limit=limit, live=True if live else None, equal={name: v for name, v in equal.items() if v}
        )
        return Runs(runs=[Run.model_validate(run_summary(each)) for each in found])

    @router.get("/v1/runs/{run}", dependencies=[viewer])
    async def one(run: RunId) -> RunWhole:
        """A run with its steps, costs, tools, and what and whom it waits for."""
        progress = await office.runs.now(run)
        document = await run_document(office.store, office.authority, progress, office.workflow_url(run))
        return RunWhole.model_validate(document)

    @router.get(
        "/v1/runs/{run}/events",
        dependencies=[viewer],
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events"}},
    )
    async def events(
        run: RunId, last_event_id: Annotated[str | None, Header(max_length=200)] = None
    ) -> StreamingResponse:
        """Follow a run: `step` for each step that is over, `run` whenever it has changed, `end` as the last.

        Who comes back with Last-Event-ID is not told those steps again.
        """
        first = await office.runs.now(run)
        stream = _told(_followed(office, run, first, _step_in(last_event_id)))
        return StreamingResponse(
            stream, media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    @router.post("/v1/runs/{run}/pause")
    async def pause(run: RunId, person: Annotated[Person, operator], asked: Reason | None = None) -> Done:
        """Have a run buy nothing more until it is resumed; the call in flight may finish."""
        await office.runs.pause(run, (asked or Reason()).reason)
        return await _done(office, person, "paused", run)

    @router.post("/v1/runs/{run}/resume")
    async def resume(run: RunId, person: Annotated[Person, operator]) -> Done:
        """Lift a pause made by hand."""
        await office.runs.resume(run)
        return await _done(office, person, "resumed", run)

    @router.post("/v1/runs/{run}/kill")
    async def kill(run: RunId, person: Annotated[Person, operator], asked: Reason | None = None) -> Done:
        """End a run; a call in flight is cut and booked."""
        await office.runs.kill(run, (asked or Reason()).reason)
        return await _done(office, person, "killed", run)

    @router.post("/v1/runs/{run}/top-up")
    async def top_up(run: RunId, asked: TopUp, person: Annotated[Person, operator]) -> ToppedUp:
        """Raise the run's budget, or another one that blocks it; the same id twice is done once."""
        given = WorkflowTopUp(usd=asked.usd, scope=asked.scope, period=asked.period)
        done = await office.runs.top_up(run, given, top_up_id=asked.id)
        await _audit(office, person, "top_up", run)
        return ToppedUp(scope=done.scope, limit_usd=done.limit_usd, note=done.note)

    @router.post("/v1/runs/{run}/steps")
    async def steps(run: RunId, asked: Steps, person: Annotated[Person, operator]) -> MaxSteps:
        """Allow so many steps more."""
        most = await office.runs.extend_steps(run, asked.steps)
        await _audit(office, person, "extend_steps", run)
        return MaxSteps(max_steps=most)

    @router.post("/v1/runs/{run}/approve")
    async def approve(run: RunId, asked: Approval, person: Annotated[Person, operator]) -> Done:
        """Allow a tool call that waits for approval."""
        await office.runs.approve(run, asked.call)
        return await _done(office, person, "approved", run)

    @router.post("/v1/runs/{run}/deny")
    async def deny(run: RunId, asked: Denial, person: Annotated[Person, operator]) -> Done:
        """Refuse a tool call that waits for approval; the model is told why."""
        await office.runs.deny(run, asked.call, asked.reason)
        return await _done(office, person, "denied", run)

    @router.post("/v1/runs/{run}/answer")
    async def answer(run: RunId, asked: Reply, person: Annotated[Person, operator]) -> Done:
        """Answer the question that a run waits for."""
        await office.runs.answer(run, asked.text, question=asked.question)
        return await _done(office, person, "answered", run)

    @router.post("/v1/runs/{run}/rate")
    async def rate(run: RunId, asked: Rating, person: Annotated[Person, operator]) -> Done:
        """Say how good a run was; saying it again replaces it."""
        await office.store.runs.rate(run, asked.name, person.name, asked.value, asked.comment)
        return await _done(office, person, "rated", run)

    return router


async def _done(office: Office, person: Person, done: str, run: str) -> Done:
    await _audit(office, person, done, run)
    return Done(id=run, done=done)


async def _audit(office: Office, person: Person, action: str, run: str) -> None:
    await office.store.events.audit(person.name, action, run)


# -- following -----------------------------------------------------------------------------------


async def _followed(
    office: Office, run: str, first: Progress, told: int
) -> AsyncIterator[tuple[str, str, object]]:
    """(event, id, document): each step once, when it is over; the run whenever it has changed."""
    progress, last = first, None
    while True:
        if progress != last:
            whole = await run_document(office.store, office.authority, progress)
            over = [
                call for call in whole["calls"] if call["step"] > told and (progress.ended or _is_over(call))
            ]
            for call in over:
                told = call["step"]
                yield "step", str(told), call
            yield "end" if progress.ended else "run", str(told), run_summary(progress)
        if progress.ended:
            return
        last = progress
        await asyncio.sleep(_EVERY_SECONDS)
        try:
            progress = await office.runs.now(run)
        except NotFound:  # retention took it while somebody looked
            return


def _is_over(call: dict[str, list[dict[str, object]]]) -> bool:
    """Whether a step's call and all of its tools are done."""
    settled = any(attempt["done_at"] for attempt in call["attempts"])
    return settled and all(tool["result"] is not None for tool in call["tools"])


async def _told(events: AsyncIterator[tuple[str, str, object]]) -> AsyncIterator[str]:
    """As server-sent events; a comment now and then, so that proxies know that it goes on."""
    upcoming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({upcoming}, timeout=_ALIVE_SECONDS)
            if not done:
                yield ": alive\n\n"
                continue
            if (found := upcoming.result()) is None:
                return
            event, number, document = found
            yield f"event: {event}\nid: {number}\ndata: {json.dumps(document, ensure_ascii=False)}\n\n"
            upcoming = asyncio.ensure_future(anext(events, None))
    finally:
        upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)


def _step_in(last_event_id: str | None) -> int:
    given = last_event_id or ""
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 0
