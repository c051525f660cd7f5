"""What an operator does from the console: by the same functions as the command line and the admin API."""

from collections.abc import Mapping

from gateway.errors import ConfigurationError
from worker.api.office import Office
from worker.client import TopUp
from worker.console.session import Visitor
from worker.desk.alerts import acknowledge
from worker.desk.batches import cancel_batch
from worker.desk.switches import NAMES, SwitchDesk, is_switch

_MOST_MINUTES = 525_600
_SAID = {
    "kill": "is told to end",
    "pause": "pauses after its step",
    "resume": "goes on",
    "approve": "the call is approved",
    "deny": "the call is denied",
    "answer": "has your answer",
}
_ON_RUNS = (*_SAID, "top_up")


async def act(office: Office, visitor: Visitor, asked: Mapping[str, str]) -> str:
    """Do it; what is said of it. Raises CurbError, MoneyError."""
    action = asked.get("action", "")
    if action in _ON_RUNS:
        said = await _on_run(office, action, asked)
        await office.store.events.audit(visitor.name, action, asked["run"], {"by": "console"})
        return said
    if action in ("set", "clear"):
        return await _on_switch(office, visitor, action, asked)
    if action == "acknowledge":
        found, _ = await acknowledge(
            office.store, office.temporal, _given(asked, "alert"), by=visitor.name, note=""
        )
        return f"{found.title}: looked after by {found.acknowledged_by or visitor.name}"
    if action == "cancel_batch":
        batch = await cancel_batch(office.store, _given(asked, "batch"), by=visitor.name)
        return f"{batch['id']}: is cancelled at the next look at its provider"
    raise ConfigurationError(f"action {action!r}: there is no such action")


async def _on_run(office: Office, action: str, asked: Mapping[str, str]) -> str:
    run, runs = _given(asked, "run"), office.runs
    match action:
        case "kill":
            await runs.kill(run, "killed from the console")
        case "pause":
            await runs.pause(run, "paused from the console")
        case "resume":
            await runs.resume(run)
        case "top_up":
            done = await runs.top_up(run, TopUp(usd=_given(asked, "usd")))
            return f"{done.scope or run}: the limit is now {done.limit_usd} USD"
        case "approve":
            await runs.approve(run, _given(asked, "call"))
        case "deny":
            await runs.deny(run, _given(asked, "call"), asked.get("reason", ""))
        case _:
            await runs.answer(run, _given(asked, "text"), question=asked.get("call", ""))
    return f"{run}: {_SAID[action]}"


async def _on_switch(office: Office, visitor: Visitor, action: str, asked: Mapping[str, str]) -> str:
    name = _given(asked, "name")
    if not is_switch(name):
        raise ConfigurationError(f"{name!r} is no switch; write {NAMES}")
    desk = SwitchDesk(office.store, office.authority, by=visitor.name)
    if action == "clear":
        return f"{name}: lifted" if await desk.clear(name) else f"{name}: was not set"
    reason = "_".join(asked.get("reason", "").split()) or "by_hand"
    minutes = asked.get("minutes", "").strip()
    if minutes and not (minutes.isascii() and minutes.isdigit() and 1 <= int(minutes[:9]) <= _MOST_MINUTES):
        raise ConfigurationError(f"minutes {minutes!r}: write a whole number from 1 to {_MOST_MINUTES}")
    await desk.set(name, reason, int(minutes) * 60 if minutes else None)
    return f"{name}: set"


def _given(asked: Mapping[str, str], field: str) -> str:
    value = asked.get(field, "").strip()
    if not value:
        raise ConfigurationError(f"{field}: is missing")
    return value
