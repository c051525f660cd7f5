"""A run that has ended as spans: the agent, its steps, their tool calls; and its scores.

invoke_agent researcher
    step 1
        chat gpt-5-mini              (told when it is on the books: gateway.traces.of_attempts)
        execute_tool ask_expert
            invoke_agent expert      (a trace's runs are told one by one; this one says where it belongs)
    step 2 ...
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.digests import digest
from gateway.policy.money import NANO_PER_USD
from gateway.store.traces import RunOnRecord
from gateway.traces import ids
from gateway.traces.of_attempts import who
from gateway.traces.spans import Score, Span, Told, Value, as_json, given, nanoseconds

_OPERATION = "gen_ai.operation.name"


@dataclass(frozen=True, slots=True)
class _Tool:
    """One tool call of a run. asked: what the model asked for, as it stands in the conversation."""

    step: int
    id: str
    name: str
    digest: str
    arguments: str
    result: str
    is_error: bool
    started_at: datetime
    ended_at: datetime


def run_spans(record: RunOnRecord, *, content: bool) -> Told:
    """The spans of a run that has ended, and its scores. content: whether words are told too."""
    place = _place(record)
    run_span = ids.run_span(record.run["id"])
    tools = list(_tools(record))
    steps = [_step(record, place.trace_id, step, tools) for step in record.steps]
    calls = [_tool(record, place.trace_id, tool, content=content) for tool in tools]
    root = _root(record, place, run_span, content=content)
    return Told((root, *steps, *calls), tuple(_scores(record, place.trace_id)))


def rating(record: RunOnRecord, key: str, body: dict[str, Any]) -> Score:
    """What a person or a program said of a run."""
    name = str(body.get("name") or "quality")
    value = body["value"]
    return Score(
        id=ids.run_span(f"{record.run['id']}/{name}/{key}"),
        trace_id=_place(record).trace_id,
        name=name,
        value=value,
        kind="NUMERIC" if isinstance(value, int | float) else "CATEGORICAL",
        comment=str(body.get("comment") or ""),
    )


def _place(record: RunOnRecord) -> ids.Place:
    """Where the run belongs: what its caller said, or below the tool call that it was delegated by."""
    spec = record.run["spec"] or {}
    ancestors = spec.get("ancestors") or []
    top = ancestors[-1] if ancestors else record.run["id"]
    trace_id = spec.get("trace_id") or ids.trace_of(top)
    if ancestors:
        return ids.Place(trace_id, ids.delegated_span(record.run["id"]))
    return ids.Place(trace_id, spec.get("parent_span_id") or "")


def _root(record: RunOnRecord, place: ids.Place, span_id: str, *, content: bool) -> Span:
    run = record.run
    failed = run["status"] in ("failed", "killed", "stopped", "expired")
    words = {
        "langfuse.observation.input": record.task if content else None,
        "langfuse.observation.output": record.answer if content else None,
    }
    more = given(
        {
            "langfuse.observation.type": "agent",
            "langfuse.observation.level": "ERROR" if failed else "DEFAULT",
            "langfuse.observation.status_message": run["reason"] if failed else None,
            "langfuse.observation.metadata.status": run["status"],
            "langfuse.observation.metadata.steps": str(run["steps"]),
            **words,
        }
    )
    return Span(
        name=f"invoke_agent {run['agent']}",
        trace_id=place.trace_id,
        span_id=span_id,
        parent_id=place.span_id,
        start_ns=nanoseconds(run["started_at"], run["started_at"]),
        end_ns=nanoseconds(run["ended_at"], run["updated_at"]),
        attributes=_of_run(record, "invoke_agent")
        | given(
            {
                "curb.status": run["status"],
                "curb.steps": run["steps"],
                "curb.cost_usd": run["cost_nano_usd"] / NANO_PER_USD,
                "error.type": run["status"] if failed else None,
            }
        ),
        langfuse=who(run) | more,
        error=(run["reason"] or run["status"]) if failed else "",
    )


def _step(record: RunOnRecord, trace_id: str, step: Any, tools: Sequence[_Tool]) -> Span:
    run_id, number = record.run["id"], step["step"]
    ends = [step["ended_at"], *(tool.ended_at for tool in tools if tool.step == number)]
    return Span(
        name=f"step {number}",
        trace_id=trace_id,
        span_id=ids.step_span(run_id, number),
        parent_id=ids.run_span(run_id),
        start_ns=nanoseconds(step["started_at"], record.run["started_at"]),
        end_ns=nanoseconds(max(ends), record.run["updated_at"]),
        attributes=_of_run(record, None) | {"curb.step": number},
        langfuse=who(record.run) | {"langfuse.observation.type": "span"},
    )


def _tool(record: RunOnRecord, trace_id: str, tool: _Tool, *, content: bool) -> Span:
    run_id = record.run["id"]
    words = {
        "langfuse.observation.input": tool.arguments if content else None,
        "langfuse.observation.output": as_json(tool.result) if content else None,
    }
    return Span(
        name=f"execute_tool {tool.name}",
        trace_id=trace_id,
        span_id=ids.tool_span(run_id, tool.step, tool.digest),
        parent_id=ids.step_span(run_id, tool.step),
        start_ns=nanoseconds(tool.started_at, tool.ended_at),
        end_ns=nanoseconds(tool.ended_at, tool.ended_at),
        attributes=_of_run(record, "execute_tool")
        | given(
            {
                "gen_ai.tool.name": tool.name,
                "gen_ai.tool.call.id": tool.id,
                "gen_ai.tool.type": "function",
                "curb.step": tool.step,
                "error.type": "tool_error" if tool.is_error else None,
            }
        ),
        langfuse=who(record.run)
        | given(
            {
                "langfuse.observation.type": "tool",
                "langfuse.observation.level": "WARNING" if tool.is_error else "DEFAULT",
                **words,
            }
        ),
        error="the tool returned an error" if tool.is_error else "",
    )


def _of_run(record: RunOnRecord, operation: str | None) -> dict[str, Value]:
    run = record.run
    return given(
        {
            _OPERATION: operation,
            "gen_ai.agent.name": run["agent"],
            "gen_ai.agent.id": run["agent"],
            "gen_ai.conversation.id": run["session"] or run["id"],
            "curb.run.id": run["id"],
            "curb.team": run["team"],
            "curb.mode": run["mode"],
        }
    )


def _tools(record: RunOnRecord) -> list[_Tool]:
    """Results of tools, each with what asked for it: the key of a result names item and call."""
    asked = {(item.number, use.id): use for item in record.items.values() for use in item.message.tool_uses}
    steps = {step["call_key"]: step["step"] for step in record.steps}
    found = []
    for item in record.items.values():
        kind, _, rest = item.key.partition(":")
        number, _, call_id = rest.partition(":")
        use = asked.get((int(number), call_id)) if kind == "tool" and number.isdigit() else None
        if use is None:
            continue
        [result] = [part for part in item.message.parts if part.type == "tool_result"]
        at = record.times[item.number]
        found.append(
            _Tool(
                step=steps.get(record.items[int(number)].key, 0),
                id=use.id,
                name=use.name,
                digest=digest(use),
                arguments=use.arguments,
                result=result.content,
                is_error=result.is_error,
                started_at=at.started_at or at.ended_at,
                ended_at=at.ended_at,
            )
        )
    return found


def _scores(record: RunOnRecord, trace_id: str) -> list[Score]:
    run = record.run
    numbers = {"cost_usd": run["cost_nano_usd"] / NANO_PER_USD, "steps": run["steps"]}
    mine = [
        Score(ids.run_span(f"{run['id']}/{name}"), trace_id, name, float(value))
        for name, value in numbers.items()
    ]
    mine.append(
        Score(ids.run_span(f"{run['id']}/status"), trace_id, "status", run["status"], kind="CATEGORICAL")
    )
    return mine + [rating(record, key, body) for key, body in record.ratings]
