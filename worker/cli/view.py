"""A run as a document and as people read it."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.text import Text

from gateway.calls import Message, ToolResult, ToolUse
from gateway.store import AttemptRow, Item, RunEvent
from worker.cli.output import (
    Document,
    at_text,
    bar,
    clock,
    console,
    dollars,
    print_line,
    print_text,
    shortened,
    status_text,
    table,
    usd_text,
)
from worker.cli.servers import Desk
from worker.client import Progress

_ARGUMENTS, _RESULT = 500, 500
_NO_ATTEMPT = ("refused",)
_LOOKS_AT_BOOKS, _LOOK_SECONDS = 40, 0.05


def summary(progress: Progress) -> dict[str, Any]:
    """A run in lists."""
    record = progress.record
    return {
        "id": progress.run_id,
        "agent": progress.agent,
        "status": progress.status,
        "reason": progress.reason,
        "mode": progress.mode,
        "steps": progress.steps,
        "max_steps": progress.max_steps or None,
        "cost_usd": usd_text(progress.cost_nano_usd),
        "held_usd": usd_text(progress.held_nano_usd),
        "in_doubt_usd": usd_text(progress.in_doubt_nano_usd),
        "budget_usd": usd_text(progress.budget_nano_usd),
        "waiting_for": [{"cause": cause, "detail": what} for cause, what in progress.waiting_for.items()],
        "team": record.team if record else "",
        "user": record.user if record else "",
        "session": record.session if record else "",
        "tags": record.tags if record else {},
        "parent": record.parent if record else "",
        "started_at": at_text(record.started_at) if record else None,
        "ended_at": at_text(record.ended_at) if record else None,
    }


async def run_document(desk: Desk, progress: Progress) -> dict[str, Any]:
    """Everything that is known of a run. Words of the conversation are cut to 500 characters."""
    store, record = desk.store, progress.record
    await _booked_until_now(desk)
    attempts = await store.attempts.of_run(progress.run_id)
    items = await store.conversations.load(record.conversation_id) if record else []
    events = await store.runs.events(progress.run_id)
    answer = next((i.message.text for i in items if record and i.number == record.answer_item), "")
    return {
        **summary(progress),
        "task": next((item.message.text for item in items if item.key == "task"), ""),
        "answer": answer if progress.ended else "",
        "calls": _steps(attempts, items),
        "shadow_actions": [
            {"call": event.key.rpartition(":")[2], **event.body}
            for event in events
            if event.kind == "shadow_action"
        ],
        "escalations": [
            _escalation(event, items) for event in events if event.kind.startswith("escalation_")
        ],
        "conversation_id": record.conversation_id if record else "",
        "temporal_ui": desk.house.workflow_url(progress.run_id) or None,
    }


async def _booked_until_now(desk: Desk) -> None:
    """What has happened is on the books a moment later; where nobody books, it is shown as it is."""
    now_ms = await desk.authority.clock_ms()
    for _ in range(_LOOKS_AT_BOOKS):
        oldest_ms = await desk.authority.oldest_event_ms()
        if oldest_ms is None or oldest_ms > now_ms:
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _steps(attempts: Sequence[AttemptRow], items: Sequence[Item]) -> list[dict[str, Any]]:
    """One entry per step: its attempts, then the tools that its answer asked for."""
    results = {
        part.tool_use_id: part
        for item in items
        for part in item.message.parts
        if isinstance(part, ToolResult)
    }
    answers = {item.key: item.message for item in items if item.message.role == "assistant"}
    steps: dict[int, dict[str, Any]] = {}
    for row in attempts:
        step = steps.setdefault(row["step"], {"step": row["step"], "attempts": [], "text": "", "tools": []})
        step["attempts"].append(_attempt(row))
        message = answers.get(row["call_key"])
        if message is not None:
            step["text"] = message.text[:_RESULT]
            step["tools"] = [_tool(use, results.get(use.id)) for use in message.tool_uses]
    return [steps[number] for number in sorted(steps)]


def _attempt(row: AttemptRow) -> dict[str, Any]:
    return {
        "id": row["attempt_id"],
        "deployment": row["deployment"],
        "state": row["state"],
        "status": row["status"],
        "error": ": ".join(part for part in (row["error_type"], row["error_message"]) if part),
        "finish_reason": row["finish_reason"],
        "input_tokens": row["input_tokens"] + row["cache_read_tokens"] + row["cache_write_tokens"],
        "output_tokens": row["output_tokens"],
        "cost_usd": usd_text(row["cost_nano_usd"]),
        "reserved_usd": usd_text(row["reserved_nano_usd"]),
        "basis": row["basis"],
        "at": at_text(row["at"]),
        "done_at": at_text(row["done_at"]),
    }


def _tool(use: ToolUse, result: ToolResult | None) -> dict[str, Any]:
    return {
        "call": use.id,
        "tool": use.name,
        "arguments": use.arguments[:_ARGUMENTS],
        "result": None if result is None else result.content[:_RESULT],
        "is_error": result is not None and result.is_error,
    }


def _escalation(event: RunEvent, items: Sequence[Item]) -> dict[str, Any]:
    """What a person is asked; `open` until there is an answer."""
    call = event.body.get("call") or {}
    use = _use(items, call.get("item"), call.get("id"))
    answered = any(
        isinstance(part, ToolResult) and part.tool_use_id == call.get("id")
        for item in items
        for part in item.message.parts
    )
    return {
        "kind": event.body.get("kind", ""),
        "call": call.get("id", ""),
        "tool": call.get("name", ""),
        "arguments": use.arguments[:_ARGUMENTS] if use else "",
        "detail": event.body.get("detail", ""),
        "open": bool(call) and not answered,
        "at": at_text(event.at),
    }


def _use(items: Iterable[Item], number: int | None, call: str | None) -> ToolUse | None:
    messages: list[Message] = [item.message for item in items if item.number == number]
    return next((use for message in messages for use in message.tool_uses if use.id == call), None)


# -- for people ----------------------------------------------------------------------------------


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
