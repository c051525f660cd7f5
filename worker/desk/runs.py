"""Runs as documents for programs."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.calls import Message, ToolResult, ToolUse
from gateway.state.authority import Authority
from gateway.store import AttemptRow, Item, RunEvent, Store
from worker.client import Progress
from worker.desk.documents import at_text, usd_text

_ARGUMENTS, _RESULT = 500, 500
_LOOKS_AT_BOOKS, _LOOK_SECONDS = 40, 0.05


def run_summary(progress: Progress) -> dict[str, Any]:
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


async def run_document(
    store: Store, authority: Authority, progress: Progress, workflow_url: str = ""
) -> dict[str, Any]:
    """Everything that is known of a run. Words of the conversation are cut to 500 characters.

    workflow_url: the run in the Temporal UI, '' where none is known.
    """
    record = progress.record
    await _booked_until_now(authority)
    attempts = await store.attempts.of_run(progress.run_id)
    items = await store.conversations.load(record.conversation_id) if record else []
    events = await store.runs.events(progress.run_id)
    answer = next((i.message.text for i in items if record and i.number == record.answer_item), "")
    return {
        **run_summary(progress),
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
        "temporal_ui": workflow_url or None,
    }


async def _booked_until_now(authority: Authority) -> None:
    """What has happened is on the books a moment later; where nobody books, it is shown as it is."""
    now_ms = await authority.clock_ms()
    for _ in range(_LOOKS_AT_BOOKS):
        oldest_ms = await authority.oldest_event_ms()
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
