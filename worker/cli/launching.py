"""curb run, runs, show."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from worker.cli.servers import Desk
    from worker.client import Launch, Progress

from worker.cli.output import Json
from worker.cli.status import Status

Config = Annotated[Path | None, typer.Option("--config", help="curb.yaml to read (CURB_CONFIG).")]
Tools = Annotated[
    list[str] | None,
    typer.Option("--tools", help="Module or file with tools and agents; repeatable."),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


def run(
    agent: Annotated[str, typer.Argument(help="An agent of curb.yaml, or of a --tools module.")],
    task: Annotated[str, typer.Argument(help="What it should do; - reads it from stdin.")],
    id: Annotated[str, typer.Option("--id", help="The run's id; the same id twice is one run.")] = "",
    budget: Annotated[str, typer.Option(metavar="USD", help="The run's budget instead of the agent's.")] = "",
    max_steps: Annotated[int | None, typer.Option(min=1, help="Steps instead of the agent's limit.")] = None,
    mode: Annotated[Literal["live", "shadow"] | None, typer.Option(help="shadow: no side effects.")] = None,
    user: Annotated[str, typer.Option(help="Whose budget it is charged to as well.")] = "",
    team: Annotated[str, typer.Option(help="The same, for a team.")] = "",
    session: Annotated[str, typer.Option(help="A name that several runs share.")] = "",
    tag: Annotated[list[str] | None, typer.Option(metavar="K=V", help="For reports; repeatable.")] = None,
    value: Annotated[
        str, typer.Option(metavar="USD", help="What it is worth when completed, for reports.")
    ] = "",
    wait: Annotated[bool, typer.Option(help="Follow it to its end and print the answer.")] = True,
    tools: Tools = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Start a run, follow it and print its answer.

    Exit status 1 when it was waited for and did not complete.
    """
    from worker.client import Launch

    launch = Launch(
        agent=agent,
        task=sys.stdin.read() if task == "-" else task,
        run_id=id,
        budget_usd=budget,
        max_steps=max_steps,
        mode=mode or "",
        user=user,
        team=team,
        session=session,
        application="cli",
        tags=_tags(tag or []) | _value(value),
        traceparent=os.environ.get("TRACEPARENT", ""),
    )
    ended_well = asyncio.run(_run(launch, tuple(tools or ()), config, wait=wait, as_json=json))
    raise typer.Exit(Status.DONE if ended_well else Status.FAILED)


async def _run(
    launch: "Launch", tools: tuple[str, ...], config: Path | None, *, wait: bool, as_json: bool
) -> bool:
    from worker.cli import live, output, view
    from worker.cli.servers import house, open_desk

    async with open_desk(house(config), tools=tools) as desk:
        launched = await desk.runs.launch(launch)
        link = desk.house.workflow_url(launched.run_id)
        if not wait:
            document = {"id": launched.run_id, "agent": launch.agent, "existed": launched.existed}
            if as_json:
                output.print_json({**document, "temporal_ui": link or None})
            else:
                live.announce(launched, link)
            return True
        if not as_json:
            live.announce(launched, link)
        try:
            ended = await live.follow(desk.runs, launched.run_id, quiet=as_json)
        except asyncio.CancelledError:
            output.say(f"run {launched.run_id} goes on without you; `curb kill {launched.run_id}` ends it")
            raise
        if as_json:
            output.print_json({**await _document(desk, ended), "existed": launched.existed})
        else:
            view.print_end(ended, await desk.runs.answer_text(ended.run_id))
        return ended.status == "completed"


def _value(given: str) -> dict[str, str]:
    """What the run is worth, as the tag that reports read (queries/figures.sql)."""
    from gateway.policy.money import decimal_usd, usd

    if not given:
        return {}
    try:
        return {"value_usd": decimal_usd(usd(given))}
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--value") from error


def _tags(given: list[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise typer.BadParameter(f"{name!r}: write NAME=VALUE", param_hint="--tag")
    return {name: value for name, _, value in pairs}


def runs(
    agent: Annotated[str, typer.Option(help="Only this agent's.")] = "",
    status: Annotated[str, typer.Option(help="Only runs with this status on record.")] = "",
    team: Annotated[str, typer.Option(help="Only this team's.")] = "",
    user: Annotated[str, typer.Option(help="Only this user's.")] = "",
    live: Annotated[bool, typer.Option("--live", help="Only runs that have not ended.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 30,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    wanted = {"agent": agent, "status": status, "team": team, "user": user}
    asyncio.run(_runs({k: v for k, v in wanted.items() if v}, live, limit, as_json=json))


async def _runs(equal: dict[str, str], live: bool, limit: int, *, as_json: bool) -> None:
    from worker.cli import output, view
    from worker.cli.servers import house, open_desk

    async with open_desk(house()) as desk:
        found = await desk.runs.newest(limit=limit, live=True if live else None, equal=equal)
    if as_json:
        from worker.desk.runs import run_summary

        output.print_json({"runs": [run_summary(each) for each in found]})
    else:
        view.print_runs(found)


def show(run: RunId, json: Json = False) -> None:
    """Show a run: steps, costs, what and whom it waits for."""
    asyncio.run(_show(run, as_json=json))


async def _show(run_id: str, *, as_json: bool) -> None:
    from worker.cli import output, view
    from worker.cli.servers import house, open_desk

    async with open_desk(house()) as desk:
        document = await _document(desk, await desk.runs.now(run_id))
    if as_json:
        output.print_json(document)
    else:
        view.print_run(document)


async def _document(desk: "Desk", progress: "Progress") -> dict[str, Any]:
    from worker.desk.runs import run_document

    return await run_document(desk.store, desk.authority, progress, desk.house.workflow_url(progress.run_id))
