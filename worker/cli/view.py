"""A run as people read it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from worker.cli.output import (
    Document,
    bar,
    clock,
    console,
    dollars,
    print_line,
    print_text,
    shortened,
    status_text,
    table,
)
from worker.client import Progress

_NO_ATTEMPT = ("refused",)


def print_runs(found: Sequence[Progress]) -> None:
    """A table of runs."""
    out = console()
    if not found:
        out.print("no runs yet: `curb run AGENT TASK` starts one")
        return
    cells = [_cells(run) for run in found]
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]) - 1)]
    room = max(out.width - sum(widths) - 2 * len(widths), 20)
    rows = table(
        *("run", "agent", "status", "steps", "spent", "budget", "started", "why"),
        right=("steps", "spent", "budget"),
    )
    for run, *rest, why in cells:
        rows.add_row(run, *rest[:1], status_text(rest[1]), *rest[2:], shortened(why, room))
    out.print(rows)


def _cells(run: Progress) -> list[str]:
    waits = "; ".join(f"{cause}: {what}" if cause else what for cause, what in run.waiting_for.items())
    return [
        run.run_id,
        run.agent,
        run.status,
        f"{run.steps:>5}",
        dollars(run.cost_nano_usd),
        dollars(run.budget_nano_usd),
        clock(run.record.started_at) if run.record else "",
        waits or run.reason,
    ]


def print_end(ended: Progress, answer: str) -> None:
    """How a run ended, on stderr's side of things; the answer alone on stdout."""
    from worker.cli.output import say

    reason = f" ({ended.reason})" if ended.reason else ""
    steps = f"{ended.steps} step" if ended.steps == 1 else f"{ended.steps} steps"
    say(f"{ended.status}{reason} after {steps}, {dollars(ended.cost_nano_usd)}")
    if ended.in_doubt_nano_usd:
        say(f"  and up to {dollars(ended.in_doubt_nano_usd)} in doubt until `curb ledger resolve`")
    if answer and ended.status == "completed":
        print_text(answer)


def print_run(document: Document) -> None:
    """All that `curb show` says."""
    out = console()
    out.print(_head(document))
    if document["task"]:
        out.print(Text("task    ", style="bold").append(shortened(document["task"], 200), style="not bold"))
    for each in document["waiting_for"]:
        cause = f"{each['cause']}: " if each["cause"] else ""
        out.print(Text(f"waits   {cause}{each['detail']}", style="yellow"))
    if document["calls"]:
        out.print()
        _print_steps(document["calls"])
    _print_people(document)
    if document["shadow_actions"]:
        out.print("\n[bold]not done, because it runs in shadow mode[/bold]")
        for action in document["shadow_actions"]:
            out.print(f"  {action.get('would') or action['tool']}", markup=False)
    if document["answer"]:
        out.print("\n[bold]answer[/bold]")
        print_text(document["answer"])
    if document["temporal_ui"]:
        out.print(f"\n{document['temporal_ui']}")


def _head(document: Document) -> Text:
    from gateway.policy.money import usd

    text = Text(f"{document['id']}  ", style="bold").append_text(status_text(document["status"]))
    if document["reason"]:
        text.append(f" ({document['reason']})", style="not bold")
    of = f" of {document['max_steps']}" if document["max_steps"] else ""
    line = f"\nagent   {document['agent']} ({document['mode']}) · step {document['steps']}{of}"
    people = [f"{name} {document[name]}" for name in ("team", "user", "session") if document[name]]
    text.append(" · ".join([line, *people]), style="not bold default")
    used = usd(document["cost_usd"])
    text.append(f"\nspent   {dollars(used)}", style="not bold default")
    if document["budget_usd"] is not None:
        limit = usd(document["budget_usd"])
        text.append(f" of {dollars(limit)} ", style="not bold default").append_text(bar(used, limit))
    for name, words in (("held_usd", "held"), ("in_doubt_usd", "in doubt")):
        if document[name] != "0":
            text.append(f" · {words} {dollars(usd(document[name]))}", style="not bold yellow")
    return text


def _print_steps(calls: Sequence[Mapping[str, Any]]) -> None:
    """A line for every attempt and every tool call."""
    attempts = [attempt for step in calls for attempt in step["attempts"]]
    width = max(len(attempt["deployment"]) for attempt in attempts)
    for step in calls:
        for attempt in step["attempts"]:
            line = Text(f"{step['step']:>4}  {attempt['deployment']:<{width}}  ")
            if attempt["state"] not in _NO_ATTEMPT:
                tokens = f"{attempt['input_tokens']:>6} in {attempt['output_tokens']:>5} out"
                line.append(f"{tokens}  ${attempt['cost_usd']:<12} ")
            print_line(line.append_text(_attempt_text(attempt)))
        for tool in step["tools"]:
            print_line(_tool_text(tool))


def _attempt_text(attempt: Mapping[str, Any]) -> Text:
    if attempt["state"] == "settled" and not attempt["error"]:
        return Text(attempt["finish_reason"] or "settled", style="green")
    style = "yellow" if attempt["state"] in ("in_doubt", "pending", "refused") else "red"
    detail = attempt["error"] or attempt["basis"]
    state = attempt["state"].replace("_", " ")
    return Text(shortened(f"{state}: {detail}" if detail else state, 80), style=style)


def _tool_text(tool: Mapping[str, Any]) -> Text:
    text = Text(f"      └ {tool['tool']}{_compact(tool['arguments'])}", style="dim")
    if tool["result"] is None:
        return text.append(" …", style="yellow")
    return text.append(f" → {shortened(tool['result'], 200)}", style="red" if tool["is_error"] else "dim")


def _compact(arguments: str) -> str:
    try:
        values = json.loads(arguments)
    except ValueError:
        return f"({shortened(arguments, 60)})"
    if not isinstance(values, dict):
        return f"({shortened(arguments, 60)})"
    return "(" + ", ".join(f"{name}={shortened(str(value), 40)}" for name, value in values.items()) + ")"


def _print_people(document: Document) -> None:
    """What a person can do now, with the command that does it."""
    out = console()
    open_ones = [each for each in document["escalations"] if each["open"]]
    if open_ones:
        out.print("\n[bold]a person is needed[/bold]")
    for each in open_ones:
        what = f"  {each['tool']}{_compact(each['arguments'])}" if each["tool"] else f"  {each['detail']}"
        out.print(what, markup=False)
        run, call = document["id"], each["call"]
        if each["kind"] == "approval":
            out.print(f"    curb approve {run} {call}   or   curb deny {run} {call}", markup=False)
        elif each["kind"] == "question":
            out.print(f"    curb answer {run} TEXT", markup=False)
    if any(each["cause"] == "budget" for each in document["waiting_for"]):
        out.print(f"\n  curb top-up {document['id']} USD", markup=False)
