"""curb pause, resume, kill, top-up, answer, approve, deny, rate."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from worker.cli.launching import RunId
from worker.cli.output import Json

if TYPE_CHECKING:
    from worker.cli.servers import Desk

_LONGEST_WORD = 500

Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the run's record.")]
CallId = Annotated[str, typer.Argument(metavar="CALL", help="The tool call's id, as `curb show` prints it.")]


def pause(run: RunId, reason: Reason = "", json: Json = False) -> None:
    """Have a run buy nothing more until `curb resume`.

    The call in flight may finish.
    """
    _steer(lambda desk: desk.runs.pause(run, reason), {"id": run, "done": "paused"}, json)


def resume(run: RunId, json: Json = False) -> None:
    """Lift a pause made by hand."""
    _steer(lambda desk: desk.runs.resume(run), {"id": run, "done": "resumed"}, json)


def kill(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="The run's id.")] = None,
    agent: Annotated[str, typer.Option(help="Switch this agent off and end its live runs.")] = "",
    reason: Reason = "",
    json: Json = False,
) -> None:
    """End a run, or all of an agent's.

    A call in flight is cut and booked.
    """
    if bool(run) == bool(agent):
        raise typer.BadParameter("give a RUN, or --agent AGENT", param_hint="RUN")
    if run:
        _steer(lambda desk: desk.runs.kill(run, reason), {"id": run, "done": "killed"}, json)
    else:
        asyncio.run(_kill_agent(agent, reason, as_json=json))


async def _kill_agent(agent: str, reason: str, *, as_json: bool) -> None:
    from worker.cli import output
    from worker.cli.servers import house, open_desk, who

    name = f"kill:agent:{agent}"
    async with open_desk(house()) as desk:
        value = f"manual:{who()}:{reason or 'killed'}"
        ended = await desk.runs.kill_agent(agent, value, reason or "its agent was killed")
        await desk.store.events.audit(who(), "kill_agent", name, {"reason": reason, "runs": ended})
    if as_json:
        output.print_json({"agent": agent, "switch": name, "value": value, "runs": ended})
    else:
        output.say(f"{name} is set; {len(ended)} live runs were told to end")
        output.say(f"  the agent stays switched off until `curb switch clear agent {agent}`")


def top_up(
    run: RunId,
    usd: Annotated[str, typer.Argument(metavar="USD", help="Dollars to add, for example 0.50.")],
    scope: Annotated[str, typer.Option(help="Another budget that blocks, for example agent:coder.")] = "",
    period: Annotated[Literal["day", "month"], typer.Option(help="That budget's period.")] = "day",
    id: Annotated[str, typer.Option("--id", help="The same id twice is one top-up.")] = "",
    json: Json = False,
) -> None:
    """Raise a run's budget, or another one that blocks it."""
    from gateway.policy.money import usd as dollars

    if dollars(usd) == 0:
        raise typer.BadParameter("give more than $0", param_hint="USD")
    asyncio.run(_top_up(run, usd, scope, period, id, as_json=json))


async def _top_up(
    run: str, usd: str, scope: str, period: Literal["day", "month"], top_up_id: str, *, as_json: bool
) -> None:
    from worker.cli import output
    from worker.cli.servers import house, open_desk, who
    from worker.client import TopUp

    async with open_desk(house()) as desk:
        given = TopUp(usd=usd, scope=scope, period=period)
        done = await desk.runs.top_up(run, given, top_up_id=top_up_id)
        await desk.store.events.audit(who(), "top_up", run, given.model_dump())
    if as_json:
        output.print_json({"id": run, "scope": done.scope, "limit_usd": done.limit_usd, "note": done.note})
    else:
        output.say(f"{done.scope} may now spend ${done.limit_usd}")
        if done.note:
            output.say(f"  but {done.note}")


def answer(
    run: RunId,
    text: Annotated[str, typer.Argument(help="What to tell the run.")],
    question: Annotated[
        str, typer.Option(metavar="CALL", help="Which question, when several are open.")
    ] = "",
    json: Json = False,
) -> None:
    """Answer the question that a run waits for."""
    _steer(lambda desk: desk.runs.answer(run, text, question=question), {"id": run, "done": "answered"}, json)


def approve(run: RunId, call: CallId, json: Json = False) -> None:
    """Allow a tool call that waits for approval."""
    done = {"id": run, "call": call, "done": "approved"}
    _steer(lambda desk: desk.runs.approve(run, call), done, json)


def deny(run: RunId, call: CallId, reason: Reason = "", json: Json = False) -> None:
    """Refuse a tool call that waits for approval.

    The model is told why.
    """
    done = {"id": run, "call": call, "done": "denied"}
    _steer(lambda desk: desk.runs.deny(run, call, reason), done, json)


def rate(
    run: RunId,
    value: Annotated[str, typer.Argument(help="A number, for example 0.9, or a word.")],
    name: Annotated[str, typer.Option(help="What is rated.")] = "quality",
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    json: Json = False,
) -> None:
    """Say how good a run was; who keeps traces gets it as a score.

    Saying it again replaces it.
    """
    asyncio.run(_rate(run, _number(value), name, comment, as_json=json))


async def _rate(run: str, value: float | str, name: str, comment: str, *, as_json: bool) -> None:
    from worker.cli import output
    from worker.cli.servers import house, open_desk, who

    async with open_desk(house()) as desk:
        await desk.store.runs.rate(run, name, who(), value, comment)
        await desk.store.events.audit(who(), "rate", run, {"name": name, "value": value})
    if as_json:
        output.print_json({"id": run, "name": name, "value": value, "by": who()})
    else:
        output.say(f"run {run}: {name} {value}")


def _number(written: str) -> float | str:
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if math.isfinite(value):
        return value
    if not 1 <= len(written) <= _LONGEST_WORD:
        raise typer.BadParameter(f"a number, or 1 to {_LONGEST_WORD} characters", param_hint="VALUE")
    return written


def _steer(act: "Callable[[Desk], Awaitable[None]]", done: dict[str, Any], as_json: bool) -> None:
    """Tell a run something and say that it was told."""
    asyncio.run(_steered(act, done))
    from worker.cli import output

    if as_json:
        output.print_json(done)
    else:
        output.say(f"run {done['id']}: {done['done']}")


async def _steered(act: "Callable[[Desk], Awaitable[None]]", done: dict[str, Any]) -> None:
    from worker.cli.servers import house, open_desk, who

    async with open_desk(house()) as desk:
        await act(desk)
        await desk.store.events.audit(who(), done["done"], done["id"], {"call": done.get("call", "")})
