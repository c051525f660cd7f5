"""Batches of every key; a client sees and cancels its own at the model endpoints."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from worker.api.access import Person, allowed
from worker.api.documents import Answer, At, Usd
from worker.api.office import Office
from worker.desk.batches import batch_documents, cancel_batch

Id = Annotated[str, Path(max_length=200, pattern=r"^[^\x00]+$")]


class Batch(Answer):
    """state: held, sending, sent; ended, failed, lost. done: requests with an answer or an error.

    held_usd: its bound while it is under way; afterwards cost_usd says what it came to.
    """

    id: str
    state: str
    agent: str
    key: str
    provider: str
    deployment: str
    endpoint: str
    requests: int
    done: int
    held_usd: Usd
    cost_usd: Usd
    cancel_asked: bool
    error: str
    created_at: At
    sent_at: At | None
    ended_at: At | None


class Batches(Answer):
    batches: list[Batch]


def batches(office: Office) -> APIRouter:
    """The endpoints."""
    router = APIRouter(tags=["batches"])
    operator = Depends(allowed(office, "operator"))

    @router.get("/api/v1/batches", dependencies=[Depends(allowed(office, "viewer"))])
    async def everyones(
        ended: Annotated[bool, Query(description="Those that are over, too.")] = False,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> Batches:
        """The batches that are under way, the latest first."""
        found = await batch_documents(office.store, ended=ended, limit=limit)
        return Batches(batches=[Batch.model_validate(each) for each in found])

    @router.post("/api/v1/batches/{batch}/cancel")
    async def cancel(batch: Id, person: Annotated[Person, operator]) -> Batch:
        """Ask for its end, which comes at the next look; what was answered by then is paid for."""
        return Batch.model_validate(await cancel_batch(office.store, batch, by=person.name))

    return router
