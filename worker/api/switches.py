"""Switches over HTTP; Redis itself works as well."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from worker.api.access import Person, allowed
from worker.api.documents import Done, Switches, SwitchOn, SwitchState
from worker.api.office import Office
from worker.api.problems import Wrong
from worker.desk.switches import NAMES, SwitchDesk, is_switch, switches_set
from worker.upkeep import switch_names

SwitchName = Annotated[
    str,
    Path(max_length=300, description="As in Redis: kill:global, kill:agent:NAME, throttle:agent:NAME, ..."),
]


def switches(office: Office) -> APIRouter:
    """The endpoints."""
    router = APIRouter(tags=["switches"])
    operator = Depends(allowed(office, "operator"))

    @router.get("/api/v1/switches", dependencies=[Depends(allowed(office, "viewer"))])
    async def everyone() -> Switches:
        """The switches that are set, and by whom."""
        configured = switch_names(office.config, office.agents)
        found = await switches_set(office.store, office.authority, configured)
        return Switches(switches=[SwitchState.model_validate(each.document()) for each in found])

    @router.put("/api/v1/switches/{name:path}")
    async def set_switch(
        name: SwitchName, person: Annotated[Person, operator], asked: SwitchOn | None = None
    ) -> SwitchState:
        """Stop buying at once: calls in flight are cut, runs wait until it is lifted."""
        wanted = asked or SwitchOn()
        reason = wanted.reason.replace(" ", "_") or "by_hand"
        desk = SwitchDesk(office.store, office.authority, by=person.name)
        made = await desk.set(_checked(name), reason, wanted.expires_seconds)
        return SwitchState.model_validate(made.document())

    @router.delete("/api/v1/switches/{name:path}")
    async def clear_switch(name: SwitchName, person: Annotated[Person, operator]) -> Done:
        """Lift a switch; `was_not_set` where it was none."""
        lifted = await SwitchDesk(office.store, office.authority, by=person.name).clear(_checked(name))
        return Done(id=name, done="lifted" if lifted else "was_not_set")

    return router


def _checked(name: str) -> str:
    if not is_switch(name):
        raise Wrong(f"is {NAMES}", "name")
    return name
